"""Whole XMPP streams as hypothesis strategies, and mutations that keep them near the grammar.

What the framer does not check yet is kept out here, and only here: two attributes of one element never have the same
name by construction (a mutation may make them so; the tests know expat's code for that), prefixes are not declared
(the tests use expat without namespaces), bytes that are not UTF-8 do not occur, and names hold only characters beyond
ASCII that are letters in every edition of XML 1.0.
"""

from hypothesis import strategies as st

from tests.unit.wire.framing import END, HEADER

LETTERS = "\u00e9\u0436\u4e00"
NAMES = st.sampled_from(["a", "b", "body", "x:y", "_", "a-1.2", "\u00e9", "message", "stream", "iq"]) | st.from_regex(
    f"[A-Za-z_:{LETTERS}][A-Za-z0-9_.:{LETTERS}-]{{0,6}}", fullmatch=True
)
SPACE = st.sampled_from([" ", "\n", "\t", "\r\n", "  "])
MAYBE_SPACE = st.just("") | SPACE
REFERENCES = st.sampled_from(
    [
        *("&lt;", "&gt;", "&amp;", "&apos;", "&quot;"),
        *("&#9;", "&#10;", "&#x41;", "&#x0000000000041;", "&#000000000000065;", "&#x10FFFF;", "&#1114111;", "&#xD7ff;"),
    ]
)
PLAIN = st.text(st.sampled_from("ab 0>\n\t'\"=/;:!?-]" + LETTERS), max_size=12)
TEXT = st.lists(PLAIN | REFERENCES, max_size=4).map("".join).map(lambda text: text.replace("]]>", "]]"))
CDATA = st.text(st.sampled_from("ab<>&]['\" \n" + LETTERS), max_size=12).map(
    lambda text: f"<![CDATA[{text.replace(']]>', '')}]]>"
)


@st.composite
def attributes(draw: st.DrawFn) -> str:
    pieces = []
    for name in draw(st.lists(NAMES, max_size=4, unique=True)):
        quote = draw(st.sampled_from("'\""))
        value = draw(TEXT).replace(quote, "")
        equals = f"{draw(MAYBE_SPACE)}={draw(MAYBE_SPACE)}"
        pieces.append(f"{draw(SPACE)}{name}{equals}{quote}{value}{quote}")
    return "".join(pieces) + draw(MAYBE_SPACE)


def element(name: str, tag: str, content: list[str], space: str) -> str:
    return f"<{name}{tag}>{''.join(content)}</{name}{space}>" if content else f"<{name}{tag}/>"


ELEMENTS = st.recursive(
    st.builds(element, NAMES, attributes(), st.lists(TEXT | CDATA, max_size=2), MAYBE_SPACE),
    lambda inner: st.builds(element, NAMES, attributes(), st.lists(TEXT | CDATA | inner, max_size=4), MAYBE_SPACE),
    max_leaves=12,
)
STANZA_NAMES = st.sampled_from(["message", "presence", "iq", "r", "success", "proceed", "stream:features", "x:iq"])
STANZAS = st.builds(
    element, STANZA_NAMES, attributes(), st.lists(TEXT | CDATA | ELEMENTS, max_size=4), MAYBE_SPACE
) | ELEMENTS.filter(lambda text: not text.startswith(("<stream", "<x:stream")))
STREAMS = st.lists(STANZAS | SPACE, max_size=6).map(lambda pieces: HEADER + "".join(pieces).encode() + END)

MARKUP = st.sampled_from(
    [
        *b"< > / ' \" = & &# &#x ; x : 0 ]]> ] </a> <a> <a/> a='1' &lt; &no;".split(),
        *b"<![CDATA[ <!-- --> <?xml <? ?> <!DOCTYPE </stream:stream> <stream:stream> \xc3\xa9".split(),
        *(b" ", b"\n", b"\x00", b"\x0c", b"<?xml version='1.0'?>"),
    ]
)


@st.composite
def mutated_streams(draw: st.DrawFn) -> bytes:
    """A stream with up to three small mistakes behind its header; always UTF-8."""
    data = draw(STREAMS)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(len(HEADER), len(data)))
        end = min(len(data), start + draw(st.integers(0, 3)))
        data = data[:start] + draw(MARKUP | st.just(b"")) + data[end:]
    return data.decode(errors="ignore").encode()

"""Whole XMPP streams as hypothesis strategies, and mutations that keep them near the grammar."""

from hypothesis import strategies as st

from tests.unit.wire.framing import END, HEADER

LOCAL_NAMES = st.sampled_from(
    ["a", "b", "body", "_", "a-1.2", "message", "stream", "iq", "xmlns_", "x" * 9]
) | st.from_regex("[A-Za-z_][A-Za-z0-9_.-]{0,6}", fullmatch=True)
PREFIXES = st.sampled_from(["x", "y", "stream", "_1", "a-b.c", "z" * 9])
URIS = st.sampled_from(
    [
        *("jabber:client", "urn:x", "urn:xmpp:ping", "http://etherx.jabber.org/streams", "vcard-temp", "u"),
        *("http://jabber.org/protocol/pubsub#owner", "http://example.org:8080/a/b.c~d?e=f#g/h", "urn:x:y:" + "z" * 70),
    ]
)
SPACE = st.sampled_from([" ", "\n", "\t", "\r\n", "  "])
MAYBE_SPACE = st.just("") | SPACE
REFERENCES = st.sampled_from(
    [
        *("&lt;", "&gt;", "&amp;", "&apos;", "&quot;"),
        *("&#9;", "&#10;", "&#x41;", "&#x000041;", "&#0000065;", "&#x10FFFF;", "&#1114111;", "&#xD7ff;"),
    ]
)
# two, three and four bytes, and the neighbours of what UTF-8 and XML leave out
LETTERS = "\x7f\x80\u00e9\u07ff\u0800\u0436\u4e00\ud7ff\ue000\ufdd0\ufffd\U00010000\U0001f600\U0001fffe\U0010ffff"
PLAIN = st.text(st.sampled_from("ab 0>\n\t'\"=/;:!?-]" + LETTERS), max_size=24)
TEXT = st.lists(PLAIN | REFERENCES, max_size=4).map("".join).map(lambda text: text.replace("]]>", "]]"))
CDATA = st.text(st.sampled_from("ab<>&]['\" \n" + LETTERS), max_size=12).map(
    lambda text: f"<![CDATA[{text.replace(']]>', '')}]]>"
)
Scope = dict[str, str]  # namespaces by prefix
STREAM_SCOPE = {"xml": "http://www.w3.org/XML/1998/namespace", "stream": "http://etherx.jabber.org/streams"}


@st.composite
def attribute(draw: st.DrawFn, name: str, value: st.SearchStrategy[str]) -> str:
    quote = draw(st.sampled_from("'\""))
    text = draw(value).replace(quote, "")
    return f"{draw(SPACE)}{name}{draw(MAYBE_SPACE)}={draw(MAYBE_SPACE)}{quote}{text}{quote}"


@st.composite
def start_tag(draw: st.DrawFn, scope: Scope, names: st.SearchStrategy[str]) -> tuple[str, str, Scope]:
    """A name, the attributes behind it with declarations among them, and the scope inside."""
    declared = draw(st.dictionaries(PREFIXES, URIS, max_size=2))
    scope = scope | declared
    pieces = [draw(attribute(f"xmlns:{prefix}", st.just(uri))) for prefix, uri in declared.items()]
    if draw(st.booleans()):
        pieces.append(draw(attribute("xmlns", URIS | st.just(""))))
    expanded = set()
    for name in draw(st.lists(LOCAL_NAMES, max_size=4)):
        prefix = draw(st.just("") | st.sampled_from(sorted(scope)))
        key = (scope[prefix] if prefix else "", name)
        if key not in expanded:
            expanded.add(key)
            pieces.append(draw(attribute(f"{prefix}:{name}" if prefix else name, TEXT)))
    prefix = draw(st.just("") | st.just("") | st.sampled_from(sorted(scope.keys() - {"xml"})))
    local = draw(names)
    return f"{prefix}:{local}" if prefix else local, "".join(draw(st.permutations(pieces))) + draw(MAYBE_SPACE), scope


@st.composite
def element(draw: st.DrawFn, scope: Scope, names: st.SearchStrategy[str], depth: int) -> str:
    """An element that holds elements to `depth` levels."""
    name, tag, inside = draw(start_tag(scope, names))
    kinds = [TEXT, CDATA] if depth == 1 else [TEXT, CDATA, element(inside, LOCAL_NAMES, depth - 1)]
    content = draw(st.lists(st.one_of(kinds), max_size=3))
    if not content and draw(st.booleans()):
        return f"<{name}{tag}/>"
    return f"<{name}{tag}>{''.join(content)}</{name}{draw(MAYBE_SPACE)}>"


STANZA_NAMES = st.sampled_from(
    ["message", "presence", "iq", "r", "success", "proceed", "features"]
) | LOCAL_NAMES.filter(
    lambda name: name != "stream"  # that would be a second root
)
STANZAS = st.integers(1, 4).flatmap(lambda depth: element(STREAM_SCOPE, STANZA_NAMES, depth))
STREAMS = st.lists(STANZAS | SPACE, max_size=5).map(lambda pieces: HEADER + "".join(pieces).encode() + END)

MARKUP = st.sampled_from(
    [
        *b"< > / ' \" = & &# &#x ; x : 0 ]]> ] </a> <a> <a/> a='1' &lt; &no; &#xD800; &#xFFFE; &#x110000; &#0;".split(),
        *b"<![CDATA[ <!-- --> <?xml <? ?> <!DOCTYPE <!ENTITY </stream:stream> <stream:stream> xmlns='' x:".split(),
        *(b" ", b"\n", b"\x00", b"\x0c", b"\x1f", b"\x7f", b"<?xml version='1.0'?>"),
        # characters in pieces, too long, surrogate, not a character, beyond the last; marks and other encodings
        *(
            b"\xc3\xa9",
            b"\xc3",
            b"\xa9",
            b"\xc0\x80",
            b"\xe0\x9f\xbf",
            b"\xed\xa0\x80",
            b"\xef\xbf\xbe",
            b"\xef\xbf\xbf",
        ),
        *(
            b"\xf0\x9f\x98\x80",
            b"\xf0\x8f\xbf\xbf",
            b"\xf4\x90\x80\x80",
            b"\xf5",
            b"\xff",
            b"\xef\xbb\xbf",
            b"\xff\xfe",
        ),
        *(b" xmlns:x='urn:x'", b" xmlns:x=''", b" xmlns:y='urn:x'", b" x:a='' y:a=''", b" xmlns:xml='urn:x'"),
        *(
            b" xmlns:p='http://www.w3.org/XML/1998/namespace'",
            b" xmlns='http://www.w3.org/2000/xmlns/'",
            b" xml:lang='en'",
        ),
        *(b" xmlns:xmlns='urn:x'", b" xmlns='a b'", b" xmlns='1:2'", b" xmlns='&amp;'", b" xml:id='1'", b" a:b:c=''"),
    ]
)


@st.composite
def mutated_streams(draw: st.DrawFn, header: bool = False) -> bytes:
    """A stream with up to three small mistakes behind its header, or anywhere."""
    data = draw(STREAMS)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0 if header else len(HEADER), len(data)))
        end = min(len(data), start + draw(st.integers(0, 3)))
        data = data[:start] + draw(MARKUP | st.just(b"")) + data[end:]
    return data

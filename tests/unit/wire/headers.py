"""Stream headers as hypothesis strategies: valid ones in every legal spelling, and what they mean."""

from collections.abc import Mapping

from hypothesis import strategies as st

STREAMS = "http://etherx.jabber.org/streams"
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.\-]{0,6}", fullmatch=True).filter(
    lambda name: not name.lower().startswith("xml")
)
XML_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\r&<>'\""),
    max_size=20,
)
SPACE = st.sampled_from([" ", "\n", "\t", "\r\n", "  \r "])
MAYBE_SPACE = st.just("") | SPACE
NAMESPACES = st.sampled_from(["urn:a", "a", "http://example.org:80/a?b=c#d", "jabber:server", "u:" + "n" * 200])
NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;"}


@st.composite
def spelled(draw: st.DrawFn, value: str, quote: str) -> str:
    """Spell `value` inside `quote`: each character plain where that is allowed, as an entity or as a reference."""
    pieces = []
    for character in value:
        ways = [f"&#{ord(character)};", f"&#x{ord(character):x};", f"&#x{ord(character):06X};"]
        if character in NAMED:
            ways.append(NAMED[character])
        if character not in "&<\t\n\r" and character != quote:
            ways.append(character)
        pieces.append(draw(st.sampled_from(ways)))
    return "".join(pieces)


@st.composite
def attribute(draw: st.DrawFn, name: str, value: str) -> str:
    """Spell one attribute, with the white space before it; the framer wants namespace names plain."""
    quote = draw(st.sampled_from("'\""))
    before, after = draw(MAYBE_SPACE), draw(MAYBE_SPACE)
    spelling = value if name.startswith("xmlns") else draw(spelled(value, quote))
    return f"{draw(SPACE)}{name}{before}={after}{quote}{spelling}{quote}"


DECLARATIONS = st.sampled_from(
    [
        "",
        "<?xml version='1.0'?>",
        '<?xml version="1.0" encoding="UTF-8"?>\n',
        "<?xml\tversion = '1.0'\r\nencoding = 'utf-8' standalone='yes' ?>",
        "<?xml version='1.0' standalone='no'?>",
        " ",
        "\r\n\t",
    ]
)


@st.composite
def start_tags(draw: st.DrawFn, name: str, attributes: Mapping[str, str]) -> bytes:
    """Spell a start tag, its attributes in any order."""
    names = draw(st.permutations(sorted(attributes)))
    spelling = "".join(draw(attribute(each, attributes[each])) for each in names)
    return f"<{name}{spelling}{draw(MAYBE_SPACE)}>".encode()


@st.composite
def stream_headers(draw: st.DrawFn) -> tuple[bytes, dict[str, str]]:
    """Draw a header of any vocabulary that the framer takes: its bytes and its attributes by raw name."""
    prefix = draw(st.just("stream") | NAMES)
    attributes = {f"xmlns:{prefix}": draw(st.just(STREAMS) | NAMESPACES)}
    optional = {
        "xmlns": st.just("jabber:client") | NAMESPACES | st.just(""),
        "to": XML_TEXT,
        "from": XML_TEXT,
        "version": st.just("1.0") | XML_TEXT,
        "id": XML_TEXT,
        "xml:lang": st.sampled_from(["en", "de-CH"]) | XML_TEXT,
        f"{prefix}:extra": XML_TEXT,
        draw(NAMES): XML_TEXT,
    }
    for name, values in optional.items():
        if draw(st.booleans()):
            attributes[name] = draw(values)
    local_name = draw(st.just("stream") | NAMES)
    tag = draw(start_tags(f"{prefix}:{local_name}" if draw(st.booleans()) else local_name, attributes))
    return draw(DECLARATIONS).encode() + tag, attributes

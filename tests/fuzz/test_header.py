"""The header reader against the model of the framer, and against expat: the same headers, with the same meaning."""

from collections.abc import Callable
from xml.parsers import expat

from hypothesis import example, given
from hypothesis import strategies as st

from megaphone.wire.framer import CONDITIONS
from megaphone.wire.header import StreamHeader, read_element, read_stream_header
from megaphone.wire.writer import STREAM_ERROR_CONDITIONS
from tests.unit.wire.headers import stream_headers
from tests.unit.wire.model import Model

USUAL = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" to='example.org' version='1.0'>"
)
SEPARATOR = "\x01"  # expat refuses a namespace that contains it, and this one no namespace can contain
# What a mutation is made of: bytes that mean something to XML, so that most mutations stay near the grammar.
MARKUP = st.sampled_from(
    [
        b"<",
        b">",
        b"/",
        b"'",
        b'"',
        b"=",
        b" ",
        b"\r\n",
        b"&",
        b"&#",
        b";",
        b"x",
        b":",
        b"xmlns",
        b"xmlns:s='u'",
        b"\xc3\xa9",
    ]
) | st.binary(min_size=1, max_size=2)


class NotOneStartTagError(Exception):
    """Expat found something that is well-formed XML but not one open start tag."""


def read_with_expat(data: bytes) -> tuple[str, dict[str, str], dict[str | None, str]]:
    """Return expat's name, attributes (expanded names) and declarations of the single start tag in `data`."""
    parser = expat.ParserCreate(namespace_separator=SEPARATOR)
    parser.namespace_prefixes = False
    tags: list[tuple[str, dict[str, str]]] = []
    declared: dict[str | None, str] = {}

    def refuse(*_: object) -> None:
        raise NotOneStartTagError

    def declare(prefix: str | None, uri: str | None) -> None:
        declared[prefix] = uri or ""

    parser.StartElementHandler = lambda name, attributes: tags.append((name, attributes))
    parser.StartNamespaceDeclHandler = declare
    parser.EndElementHandler = parser.CommentHandler = parser.StartDoctypeDeclHandler = refuse
    parser.ProcessingInstructionHandler = parser.StartCdataSectionHandler = refuse
    parser.CharacterDataHandler = lambda text: None if text.isspace() else refuse()
    parser.Parse(data + b" ", False)  # one byte more makes expat report a start tag that ends the buffer
    if len(tags) != 1:
        raise NotOneStartTagError
    return tags[0][0], tags[0][1], declared


def check_same_meaning(header: StreamHeader, data: bytes) -> None:
    name, attributes, declared = read_with_expat(data)
    assert name == (f"{header.namespace}{SEPARATOR}{header.local_name}" if header.namespace else header.local_name)
    assert (header.default_namespace or "") == declared.pop(None, "")
    assert dict(header.prefixes) == declared
    for field, attribute in [
        (header.to, "to"),
        (header.from_, "from"),
        (header.version, "version"),
        (header.id, "id"),
        (header.lang, f"http://www.w3.org/XML/1998/namespace{SEPARATOR}lang"),
    ]:
        assert field == attributes.get(attribute)


@given(stream_headers())
def test_valid_headers_mean_what_expat_says(drawn: tuple[bytes, dict[str, str]]) -> None:
    data, attributes = drawn
    header = read_stream_header(data)
    check_same_meaning(header, data)
    assert [header.to, header.from_, header.version, header.id, header.lang] == [
        attributes.get(name) for name in ("to", "from", "version", "id", "xml:lang")
    ]


def refusal_of(read: Callable[[bytes], object], data: bytes) -> str | None:
    """Return the stream error condition that answers `data`; None when `read` takes it."""
    try:
        read(data)
    except ValueError as error:
        condition, reason = error.args
        return condition if condition in STREAM_ERROR_CONDITIONS and reason else f"not a condition: {error.args}"
    return None


@given(stream_headers())
def test_every_prefix_is_refused(drawn: tuple[bytes, dict[str, str]]) -> None:
    data, _ = drawn
    for length in range(len(data)):
        assert refusal_of(read_stream_header, data[:length]) in ("not-well-formed", "restricted-xml")


@given(stream_headers() | st.just((USUAL, {})), st.data())
def test_mutated_headers_are_accepted_exactly_when_the_model_does(
    drawn: tuple[bytes, dict[str, str]], data: st.DataObject
) -> None:
    text = drawn[0]
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 2)))
        text = text[:start] + data.draw(MARKUP | st.just(b"")) + text[end:]
    condition = refusal_of(read_stream_header, text)
    assert condition == condition_of_model(text)
    if condition is None:
        check_same_meaning(read_stream_header(text), text)


def condition_of_model(text: bytes) -> str | None:
    """What the framer's model says about a header; None if it accepts it and nothing follows."""
    if len(text) > 1 and (text[0] >= 0xFE or (text[0] == 0) is not (text[1] == 0)):
        return "unsupported-encoding"
    answer = Model(text, stanza_bytes=1 << 30, attributes=255).read()
    if answer.events:
        return "bad-format" if text[answer.events[0][1] :].strip(b" \t\r\n") else None
    return "not-well-formed" if answer.error is None else CONDITIONS[answer.error]


@given(st.binary(max_size=100) | st.lists(MARKUP, max_size=20).map(b"".join).map(lambda tail: b"<a " + tail))
@example(b"<a \xc3:b='1'>")
@example(b"<a b='&#x100000000;'>")
@example(b"<?xml version='1.0' encoding='x' ?>")
def test_garbage_gets_a_stream_error_condition(data: bytes) -> None:
    for read in (read_stream_header, read_element):
        condition = refusal_of(read, data)
        assert condition is None or condition in STREAM_ERROR_CONDITIONS

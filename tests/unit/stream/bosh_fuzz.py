"""Entry point for fuzzing the bodies of BOSH: any bytes in, an AssertionError for any disagreement with expat.

| flags | body ... |      bit 0: the bytes are children of a usual body
"""

from typing import Any

from megaphone.stream.bosh_body import HTTPBIND_NAMESPACE, Body, read_body, write_body
from megaphone.wire.writer import STREAMS_NAMESPACE
from tests.unit.wire.framing import END
from tests.unit.wire.messages_fuzz import STREAM, Elements, elements

CHILDREN = 1
LIMIT_BYTES = 4096
DECLARATIONS = 48  # of which the framer takes some more: written bodies have others
BEGIN, BODY_END = b"<body rid='7' xmlns='http://jabber.org/protocol/httpbind'>", b"</body>"
# What a child that names no namespace of its own may be said to be in: on a stream all mean the second one.
INHERITED = {HTTPBIND_NAMESPACE, "jabber:client", ""}


def on_stream(found: Elements | None) -> list[list[Any]] | None:
    """The same elements, where it does not matter which of INHERITED they are in."""
    return found if found is None else [[_renamed(happening) for happening in element] for element in found]


def _renamed(happening: Any) -> Any:
    if not isinstance(happening, tuple):
        return happening
    name, attributes = happening
    namespace, _, local = name.rpartition("\x01")
    return (local if namespace in INHERITED else name), attributes


def fuzz_bosh_body(data: bytes) -> None:
    """Read one input; what is taken is what expat sees, and written again it is read the same."""
    if not data:
        return
    text = data[1 : 1 + LIMIT_BYTES]
    if data[0] & CHILDREN:
        text = BEGIN + text + BODY_END
    try:
        body = read_body(text)
    except ValueError as error:
        if error.args[0] != "bad-request":
            raise
        return
    children = elements(text.strip(b" \t\r\n"), 1)
    assert children is not None, "expat refuses the body"
    assert on_stream(elements(STREAM + body.elements + END, 1)) == on_stream(children)
    if body.elements.count(b"xmlns") > DECLARATIONS:
        return
    written = write_body([("rid", str(body.rid)), ("xmlns:stream", STREAMS_NAMESPACE)], body.elements)
    assert read_body(written, attributes=255) == Body(body.rid, elements=body.elements)  # it has declared more

"""What namespace-aware XML says about streams and about messages: the same elements, whatever declares their names."""

from collections.abc import Iterable

from lxml import etree

from megaphone.wire.from_messages import StreamFromMessages, Taken
from megaphone.wire.to_messages import StreamToMessages

Element = tuple[str, tuple[tuple[str, str], ...], tuple[object, ...]]


def tree(element: etree._Element) -> Element:
    """Expanded names, attributes and text of an element and all that is in it; prefixes do not matter."""
    attributes = tuple(sorted((str(name), str(value)) for name, value in element.attrib.items()))
    content: list[object] = [element.text or ""]
    for child in element:
        content += [tree(child), child.tail or ""]
    return str(element.tag), attributes, tuple(content)


def elements_of_stream(stream: bytes) -> list[Element]:
    """The first-level elements of a whole stream."""
    return [tree(child) for child in etree.fromstring(stream)]


def elements_of_messages(messages: Iterable[bytes]) -> list[Element]:
    """The elements of messages, each a document of its own."""
    return [tree(etree.fromstring(message)) for message in messages]


def split_frames(data: bytes) -> list[bytes]:
    """The payloads of a server's text messages; every fragment belongs to one, and none is masked."""
    messages: list[bytes] = []
    under_way: bytes | None = None
    at = 0
    while at < len(data):
        final, opcode, length = data[at] & 0x80, data[at] & 0x7F, data[at + 1]
        at += 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        assert opcode == (1 if under_way is None else 0)
        assert at + length <= len(data)
        under_way = (under_way or b"") + data[at : at + length]
        at += length
        if final:
            messages.append(under_way)
            under_way = None
    assert under_way is None
    return messages


def to_messages(pieces: Iterable[bytes]) -> list[bytes]:
    """The messages that a server's stream becomes when it comes in these pieces."""
    writer = StreamToMessages()
    return split_frames(b"".join([writer.put(piece) for piece in pieces]))


def from_messages(messages: Iterable[Iterable[bytes]], reader: StreamFromMessages | None = None) -> bytes:
    """The stream that a client's messages become, each in slices."""
    reader = reader or StreamFromMessages()
    stream = b""
    for message in messages:
        slices = [piece for piece in message if piece] or [b""]
        for index, piece in enumerate(slices):
            taken, said = reader.take(piece, index == len(slices) - 1)
            assert (taken is Taken.KEPT) == (not said) or not piece
            stream += said
    return stream

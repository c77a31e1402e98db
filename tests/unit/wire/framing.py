"""What a framer says about a stream given in pieces, and the same asked of expat, one byte at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from megaphone.wire.framer import Error, Event, StreamFramer

HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" to='example.org' version='1.0'>"
)
END = b"</stream:stream>"
OPENED = b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams'>"
MESSAGE = b"<message to='romeo@example.net'><body>hi</body></message>"


@dataclass(slots=True)
class Reading:
    """Everything a framer said, with offsets counted from the first byte of the stream."""

    events: list[tuple[str, int]] = field(default_factory=list)  # event or element name, where it ended
    counts: tuple[int, ...] = (0, 0, 0, 0)
    error: Error | None = None
    error_offset: int = -1
    boundary: int = -1  # the last one named
    rests: bool = False

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]


def read(
    pieces: Iterable[bytes], *, framer: StreamFramer | None = None, stop: bool = True, restarts: bool = False
) -> Reading:
    """Feeds the pieces in turn; `restarts` allows a new header whenever there was an event."""
    framer = framer or StreamFramer()
    reading = Reading()
    base = 0
    for piece in pieces:
        offset = 0
        while offset < len(piece):
            if restarts:
                framer.allow_restart()
            event, consumed, detail, boundary, counts = framer.scan(piece[offset:], stop)
            assert 0 <= consumed <= len(piece) - offset
            if boundary >= 0:
                assert boundary <= consumed
                reading.boundary = base + offset + boundary
            reading.counts = tuple(a + b for a, b in zip(reading.counts, counts, strict=True))
            offset += consumed
            if event is Event.ERROR:
                reading.error, reading.error_offset = Error(detail), base + offset
                return reading
            if event is Event.MORE:
                assert consumed, "a scan that stops for nothing must consume"
                assert offset == len(piece)
            else:
                reading.events.append((event.name if detail is None else detail.name, base + offset))
        base += len(piece)
    reading.rests = framer.rests
    return reading


def inside(data: bytes, **bounds: int) -> tuple[Error | None, int]:
    """Read `data` behind a header: the error and how many bytes of `data` came before it."""
    framer = StreamFramer(**bounds)
    reading = read([HEADER, data], framer=framer)
    return reading.error, reading.error_offset - len(HEADER)


def pieces_of(data: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    """Cuts `data` at the given offsets."""
    last = 0
    for cut in sorted({cut % (len(data) + 1) for cut in cuts}):
        yield data[last:cut]
        last = cut
    yield data[last:]


@dataclass(slots=True)
class Stanza:
    """A first-level element as expat saw it."""

    name: str
    begin: int
    end: int = 0
    depth: int = 2  # of its deepest element, the stream element being 1
    attributes: int = 0  # the most on one element


class ExpatReader:
    """A slow reader of one stream built on expat: first-level elements, with their offsets and their extent."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate(namespace_separator=" ")
        declared: list[str | None] = []  # what expat takes from the attributes it counts
        self.parser.StartNamespaceDeclHandler = lambda prefix, _: declared.append(prefix)
        self.declared = declared
        self.parser.ordered_attributes = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.depth = 0
        self.data = b""
        self.opened: list[int] = []  # where the start tags of open elements end
        self.stanzas: list[Stanza] = []
        self.stream_end: int | None = None
        self.header_end = 0

    def feed(self, data: bytes) -> None:
        """Takes the whole input, once; expat.ExpatError if something in it cannot stand where it stands.

        In one piece, because newer versions of expat put off what comes in small ones.
        """
        self.data = data
        self.parser.Parse(data, False)

    def finish(self) -> None:
        """Raises expat.ExpatError unless the stream is complete."""
        self.parser.Parse(b"", True)

    def _start(self, name: str, attributes: list[str]) -> None:
        self.depth += 1
        self.opened.append(self._tag_end())
        count = len(attributes) // 2 + len(self.declared)
        self.declared.clear()
        if self.depth == 1:
            self.header_end = self.opened[0]
        elif self.depth == 2:
            self.stanzas.append(Stanza(name, self.parser.CurrentByteIndex))
        if self.stanzas:
            stanza = self.stanzas[-1]
            stanza.depth = max(stanza.depth, self.depth)
            stanza.attributes = max(stanza.attributes, count)

    def _end(self, name: str) -> None:
        end = self.opened.pop()
        if not self.data.endswith(b"/>", 0, end):
            end = self._tag_end()  # of an end tag; an empty element has none
        if self.depth == 2:
            self.stanzas[-1].end = end
        elif self.depth == 1:
            self.stream_end = end
        self.depth -= 1

    def _tag_end(self) -> int:
        """The offset behind the tag that expat is at: the first ">" that is in no attribute value."""
        quote = None
        for offset in range(self.parser.CurrentByteIndex, len(self.data)):
            byte = self.data[offset]
            if quote is None and byte == ord(">"):
                return offset + 1
            if byte == quote:
                quote = None
            elif quote is None and byte in b"'\"":
                quote = byte
        raise AssertionError("expat reports tags that have an end")

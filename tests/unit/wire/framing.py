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
        if hasattr(self.parser, "SetReparseDeferralEnabled"):
            self.parser.SetReparseDeferralEnabled(False)
        self.parser.ordered_attributes = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.depth = self.fed = 0
        self.stanzas: list[Stanza] = []
        self.stream_end: int | None = None
        self.header_end = 0

    def feed(self, data: bytes) -> None:
        """Raises expat.ExpatError at the first byte that cannot stand where it stands."""
        for index in range(len(data)):
            self.fed += 1
            self.parser.Parse(data[index : index + 1], False)

    def finish(self) -> None:
        """Raises expat.ExpatError unless the stream is complete."""
        self.parser.Parse(b"", True)

    def _start(self, name: str, attributes: list[str]) -> None:
        self.depth += 1
        count = len(attributes) // 2 + len(self.declared)
        self.declared.clear()
        if self.depth == 1:
            self.header_end = self.fed
        elif self.depth == 2:
            self.stanzas.append(Stanza(name, self.parser.CurrentByteIndex))
        if self.stanzas:
            stanza = self.stanzas[-1]
            stanza.depth = max(stanza.depth, self.depth)
            stanza.attributes = max(stanza.attributes, count)

    def _end(self, name: str) -> None:
        if self.depth == 2:
            self.stanzas[-1].end = self.fed
        elif self.depth == 1:
            self.stream_end = self.fed
        self.depth -= 1

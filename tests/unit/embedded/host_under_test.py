"""An edge whose clients talk to embedded streams, and a host that notes what the streams tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from megaphone.embedded.stream import EmbeddedStream, Streams
from megaphone.wire.header import read_stream_header

if TYPE_CHECKING:
    from megaphone.bus.local import LocalBus
    from tests.unit.edge.edge_under_test import EdgeUnderTest
    from tests.unit.edge.peer import Peer

STREAM_NAMESPACE = "http://etherx.jabber.org/streams"
OPENED = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" id='1' from='example.org' version='1.0'>"
)


class Session:
    """What a stream sees of a session."""

    def __init__(self, stream: EmbeddedStream, *, plain_sender: bool) -> None:
        self.stream = stream
        self.plain_sender = plain_sender


class ScriptedHost:
    """Binds every stream as soon as it has begun: the first is romeo's, and so on."""

    def __init__(self, edge: EdgeUnderTest, *, bus: LocalBus | None = None, binding: bool = True) -> None:
        self.edge = edge
        self.streams = Streams(edge.poller, edge.dispatcher, edge.board, self)
        self.streams.bus = bus
        self.binding = binding
        self.plain_sender = False
        self.opened: list[EmbeddedStream] = []
        self.stanzas: list[tuple[int, bytes]] = []
        self.elements: list[bytes] = []
        self.queued: list[bytes] = []
        self.gone: list[tuple[EmbeddedStream, int]] = []
        self.ended: list[bool | None] = []  # said goodbye; None: by </stream:stream>
        self.overflows = 0
        edge.clients.domains = frozenset({"example.org"})
        edge.clients.open_uplink = self.open  # type: ignore[assignment]
        edge.references_at_first = edge.references()  # ours included
        edge.at_the_end.append(self._let_go)

    def _let_go(self) -> None:
        """Streams are none of the garbage collector's business."""
        for stream in self.opened:
            stream.session = None
        self.opened.clear()
        self.gone.clear()

    def open(self, connection: Any, domain: str) -> EmbeddedStream:
        self.opened.append(self.streams.open(connection, None))
        return self.opened[-1]

    def take_header(self, stream: EmbeddedStream, data: bytes) -> None:
        header = read_stream_header(data)
        others = [each for each in header.prefixes if each != ("stream", STREAM_NAMESPACE)]
        if others:
            stream.declare(others)
        stream.say(OPENED)
        if self.binding:
            jid = f"{('romeo', 'juliet', 'nurse')[min(len(self.opened) - 1, 2)]}@example.org/it's"
            stream.bound(Session(stream, plain_sender=self.plain_sender), jid)

    def take_stanza(self, stream: EmbeddedStream, element: int, data: bytes) -> None:
        self.stanzas.append((element, data))

    def take_element(self, stream: EmbeddedStream, data: bytes) -> None:
        self.elements.append(data)

    def take_stream_end(self, stream: EmbeddedStream) -> None:
        self.ended.append(None)

    def take_client_end(self, stream: EmbeddedStream, said_goodbye: bool) -> None:
        self.ended.append(said_goodbye)
        stream.end("", 0)

    def take_gone(self, stream: EmbeddedStream, reason: int) -> None:
        self.gone.append((stream, reason))

    def take_overflow(self, stream: EmbeddedStream) -> None:
        self.overflows += 1

    def queue(self, stream: EmbeddedStream, stanza: bytes) -> None:
        self.queued.append(stanza)

    def ping(self, stream: EmbeddedStream) -> None:
        """Nobody is silent for so long here."""

    def end_turn(self, streams: list[EmbeddedStream]) -> None:
        """Nothing waits for that."""

    def client(self, declared: bytes = b"") -> Peer:
        """A client whose header declares this, too; its stream is open."""
        peer = self.edge.connect(self.edge.listen())
        peer.send(
            b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
            b" to='example.org' version='1.0'%b>" % declared
        )
        peer.expect(OPENED)
        return peer

"""Two ends of a link wired back to back in memory: sockets that split and lose bytes, owners that check every byte."""

import random
from collections.abc import Callable
from typing import Any

from megaphone.wire.link import LinkReason, Side
from megaphone.wire.link_end import Greeting, LinkEnd
from megaphone.wire.link_open import Open, Transport
from megaphone.wire.link_session import SessionState

SECRET = bytes(range(32))
SESSION = b"S" * 16
INSTANCE = b"I" * 16
SECOND = 1_000_000_000
# What streams say: stream k's bytes in one direction are those from k on, so that no loss or swap goes unseen.
NOISE = random.Random(4).randbytes(1 << 21)


def facts(key: int) -> bytes:
    """An OPEN that names the stream."""
    return Open(Transport.TCP, server_name=f"{key}.example").encode()


def said(key: int, side: Side, begin: int, length: int) -> bytes:
    """What `side` says on the stream with this key."""
    at = 7919 * key % 1_000_000 + (500_000 if side == Side.SERVER else 0) + begin
    return NOISE[at : at + length]


class Talk:
    """One stream as one end sees it."""

    def __init__(self, key: int) -> None:
        self.key = key
        self.offered = 0  # bytes its owner has to say
        self.sent = 0  # bytes of these that the session has taken
        self.got = 0
        self.untaken = 0


class Talker:
    """One end with the owners of all its streams."""

    def __init__(self, side: Side, **settings: Any) -> None:
        self.side = side
        self.other = Side.SERVER if side == Side.EDGE else Side.EDGE
        self.end = LinkEnd(side, settings.pop("secret", SECRET), SESSION, tell=self.tell, **settings)
        self.open: dict[int, Talk] = {}  # by id
        self.ended: list[tuple[Talk, LinkReason, str]] = []  # by the peer
        self.log: list[tuple[Any, ...]] = []
        self.on: Callable[[tuple[Any, ...]], None] = lambda event: None  # what else an event shall do

    def tell(self, event: tuple[Any, ...]) -> None:
        kind, *rest = event
        if kind == "opened":
            number, who = rest
            assert number not in self.open
            self.open[number] = Talk(int(who.server_name.partition(".")[0]))
        elif kind == "data":
            number, data = rest
            talk = self.open[number]
            assert data == said(talk.key, self.other, talk.got, len(data))
            talk.got += len(data)
            talk.untaken += len(data)
        elif kind == "room":
            before = self.open[rest[0]].sent
            self.offer(rest[0])
            assert self.open[rest[0]].sent > before
        elif kind == "shutdown":
            number, reason, text = rest
            self.ended.append((self.open.pop(number), reason, text))
        if kind not in ("data", "room"):
            self.log.append(event)
        self.on(event)

    def start(self, key: int) -> int:
        """Opens a stream; its id, or 0."""
        number: int = self.end.open(facts(key))
        if number:
            assert number not in self.open
            self.open[number] = Talk(key)
        return number

    def say(self, number: int, length: int) -> None:
        """The owner has `length` more bytes to say."""
        talk = self.open[number]
        waiting = talk.sent < talk.offered
        talk.offered += length
        if not waiting:
            self.offer(number)

    def offer(self, number: int) -> None:
        talk = self.open[number]
        taken = self.end.put_data(number, said(talk.key, self.side, talk.sent, talk.offered - talk.sent))
        talk.sent += taken
        stream = self.end.stream(number)
        assert stream is not None
        assert stream[1] == talk.sent

    def take(self, number: int, length: int) -> None:
        """The owner passes on some of what has come."""
        talk = self.open[number]
        length = min(length, talk.untaken)
        talk.untaken -= length
        self.end.took(number, length)

    def close(self, number: int, reason: int = LinkReason.CLOSED, text: str = "") -> Talk:
        """The owner ends the stream."""
        talk = self.open.pop(number)
        self.end.close(number, reason, text)
        return talk


class Pair:
    """An edge and a server side, and the socket between them if there is one."""

    def __init__(self, *, edge: dict[str, Any] | None = None, server: dict[str, Any] | None = None) -> None:
        self.edge = Talker(Side.EDGE, name="edge", **(edge or {}))
        self.server_settings = server or {}
        self.server = Talker(Side.SERVER, **self.server_settings)
        self.greeting: Greeting | None = None
        self.closed = {Side.EDGE, Side.SERVER}  # those who have let go of the socket
        self.sockets = 0
        self.now = SECOND
        self.to_server = self.to_edge = b""
        self.edge.on = self.on_edge
        self.server.on = self.on_server
        self.server_attached = False

    def on_edge(self, event: tuple[Any, ...]) -> None:
        if event[0] == "disconnect":
            self.closed.add(Side.EDGE)

    def on_server(self, event: tuple[Any, ...]) -> None:
        if event[0] == "disconnect" and self.server_attached:
            self.closed.add(Side.SERVER)

    def connect(self) -> None:
        """A new socket; an old one that the server side still knows stays with it until HELLO."""
        self.sockets += 1
        self.closed = set()
        self.server_attached = False
        self.to_server = self.to_edge = b""
        self.greeting = Greeting(SECRET, self.sockets.to_bytes(16, "big"), INSTANCE, self.now)
        self.edge.end.connected((self.sockets << 64).to_bytes(16, "big"), self.now)

    def cut(self, *, server_notices: bool = True) -> None:
        """The socket breaks; what was on its way is lost."""
        self.closed = {Side.EDGE, Side.SERVER}
        self.to_server = self.to_edge = b""
        self.edge.end.disconnected(self.now)
        if server_notices:
            self.server_attached = False
            self.server.end.disconnected(self.now)

    def write(self, side: Side, length: int = 1 << 30) -> int:
        """One end's socket takes up to `length` bytes."""
        source = self.edge.end if side == Side.EDGE else self.server.end if self.server_attached else self.greeting
        if side in self.closed or source is None:
            return 0
        data = source.unsent()[:length]
        if data:
            if side == Side.EDGE:
                self.to_server += data
            else:
                self.to_edge += data
            source.wrote(len(data))
        return len(data)

    def deliver(self, side: Side, length: int = 1 << 30) -> int:
        """Up to `length` bytes of what `side` wrote arrive, and behind the last one that it has closed the socket."""
        receiver = Side.EDGE if side == Side.SERVER else Side.SERVER
        if receiver in self.closed:
            return 0
        if side in self.closed and not (self.to_edge if side == Side.SERVER else self.to_server):
            self.closed.add(receiver)
            if receiver == Side.EDGE:
                self.edge.end.disconnected(self.now)
            elif self.server_attached:
                self.server.end.disconnected(self.now)
            return 0
        if side == Side.SERVER:
            data, self.to_edge = self.to_edge[:length], self.to_edge[length:]
            self.edge.end.read(data, self.now)
            return len(data)
        data, self.to_server = self.to_server[:length], self.to_server[length:]
        used = 0
        if not self.server_attached:
            assert self.greeting is not None
            used = self.greeting.read(data)
            if self.greeting.hello is not None:
                self.accept()
        if self.server_attached:
            self.server.end.read(data[used:], self.now)
        return len(data)

    def accept(self) -> None:
        """HELLO is proven: the session it names goes on, or a new one begins if that has ended."""
        assert self.greeting is not None
        if self.server.end.state in (SessionState.CLOSING, SessionState.ENDED):
            self.server = Talker(Side.SERVER, **self.server_settings)
            self.server.on = self.on_server
        self.server_attached = False
        if self.server.end.accept(self.greeting, self.now):
            self.server_attached = True

    def pump(self) -> None:
        """Everything written arrives, until nobody has anything to say."""
        while self.write(Side.EDGE) + self.write(Side.SERVER) + self.deliver(Side.EDGE) + self.deliver(Side.SERVER):
            pass

    def attach(self) -> "Pair":
        """A socket with both greetings done."""
        self.connect()
        self.pump()
        assert self.edge.end.state == self.server.end.state == SessionState.ATTACHED
        return self

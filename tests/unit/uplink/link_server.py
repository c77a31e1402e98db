"""A server side of links in memory, in the place of a ScriptedServer: a test speaks for each of its streams."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

from megaphone.wire.link import LinkReason, Side
from megaphone.wire.link_end import Greeting, LinkEnd
from megaphone.wire.link_session import SessionState
from tests.unit.edge.edge_under_test import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from megaphone.wire.link_open import Open

SECRET = bytes(range(32))
READ_BYTES = 65_536
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class ServerStream:
    """One stream as the server sees it; `expect` and `wait` let the edge run until they are met."""

    def __init__(self, session: ServerSession, number: int, facts: Open) -> None:
        self.session = session
        self.id = number
        self.facts = facts
        self.received = bytearray()  # not yet expected
        self.total = 0
        self.taking = True  # the edge is given credit for what comes
        self.outgoing = bytearray()
        self.ended: tuple[LinkReason, str] | None = None

    def send(self, data: bytes) -> ServerStream:
        """Say this as far as credit and the link allow; the rest follows."""
        self.outgoing += data
        self.push()
        return self

    def push(self) -> None:
        del self.outgoing[: self.session.end.put_data(self.id, bytes(self.outgoing))]

    def expect(self, data: bytes) -> ServerStream:
        """These very bytes come next."""
        self.until(lambda: len(self.received) >= len(data) or self.ended, f"{data[:80]!r}, but {self.received[:80]!r}")
        assert bytes(self.received[: len(data)]) == data
        del self.received[: len(data)]
        return self

    def expect_end(self, reason: LinkReason) -> None:
        """The edge's SHUTDOWN, with nothing before it."""
        self.until(lambda: self.ended is not None, "the end of the stream")
        assert self.ended is not None
        assert self.ended[0] == reason, self.ended
        assert bytes(self.received) == b""

    def close(self, reason: LinkReason = LinkReason.CLOSED, text: str = "") -> None:
        """Say SHUTDOWN."""
        self.session.end.close(self.id, reason, text)

    def until(self, condition: Callable[[], object], what: str) -> None:
        assert self.session.server.edge is not None
        self.session.server.edge.until(condition, what)


class ServerSession:
    """One session; `socket` is that of the moment."""

    def __init__(self, server: LinkServer, session_id: bytes) -> None:
        self.server = server
        self.end = LinkEnd(Side.SERVER, server.secret, session_id, tell=self.tell, **server.settings)
        self.streams: dict[int, ServerStream] = {}
        self.over: tuple[LinkReason, str] | None = None
        self.drained = False
        self.socket: ServerSocket | None = None

    def tell(self, event: tuple[Any, ...]) -> None:
        kind, *rest = event
        match kind:
            case "opened":
                stream = ServerStream(self, *rest)
                stream.taking = self.server.taking
                self.streams[stream.id] = stream
                self.server.streams.append(stream)
            case "data":
                number, data = rest
                stream = self.streams[number]
                stream.received += data
                stream.total += len(data)
                if stream.taking:
                    self.end.took(number, len(data))
            case "room":
                self.streams[rest[0]].push()
            case "shutdown":
                number, reason, text = rest
                self.streams.pop(number).ended = (reason, text)
            case "drain":
                self.drained = True
            case "disconnect":
                if self.socket is not None:
                    self.socket.leaving = True
            case "end":
                self.over = (rest[0], rest[1])
                self.server.sessions.pop(self.end.session_id, None)


class ServerSocket:
    """One accepted socket: its greeting, then the session it belongs to."""

    def __init__(self, server: LinkServer, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.server = server
        self.socket = sock
        self.greeting: Greeting | None = Greeting(server.secret, os.urandom(16), server.instance, time.monotonic_ns())
        self.session: ServerSession | None = None
        self.reads: list[int] = []  # sizes as they came
        self.leaving = False  # closed once everything is sent
        self.lost = False

    def pump(self) -> None:
        if self.lost:
            return
        try:
            if not self.server.deaf and not self.leaving:
                with contextlib.suppress(BlockingIOError):
                    data = self.socket.recv(READ_BYTES)
                    if not data:
                        self.drop()
                        return
                    self.reads.append(len(data))
                    self.read(data)
            self.flush()
        except OSError:
            self.drop()

    def read(self, data: bytes) -> None:
        self.server.heard += len(data)
        if self.greeting is not None:
            data = data[self.greeting.read(data) :]
            hello = self.greeting.hello
            if self.greeting.refusal is not None:
                self.leaving = True
            if hello is None or self.greeting.refusal is not None:
                return
            known = self.server.sessions.get(hello.session)
            session = known or ServerSession(self.server, hello.session)
            if session.socket is not None:
                session.socket.session = None
                session.socket.drop()
            if not session.end.accept(self.greeting, time.monotonic_ns()):
                self.leaving = True
                return
            self.server.sessions[hello.session] = session
            if known is None:
                self.server.sessions_seen.append(session)
            self.greeting, self.session, session.socket = None, session, self
        if self.session is not None and data:
            self.session.end.read(data, time.monotonic_ns())

    def flush(self) -> None:
        source: Any = self.greeting if self.session is None else self.session.end
        while source is not None and (data := source.unsent()):
            data = data[: self.server.mute_after]
            if not data:
                return
            with contextlib.suppress(BlockingIOError):
                sent = self.socket.send(data)
                self.server.mute_after -= sent
                source.wrote(sent)
                continue
            return
        if self.leaving:
            self.drop()

    def drop(self, *, reset: bool = False) -> None:
        """Close the socket; the session waits for another one."""
        if self.lost:
            return
        self.lost = True
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.socket.close()
        if self.session is not None:
            self.session.socket = None
            self.session.end.disconnected(time.monotonic_ns())


class LinkServer(ScriptedServer):
    """A listening socket that takes links."""

    def __init__(self, path: Path | None = None, *, secret: bytes = SECRET, **settings: Any) -> None:
        super().__init__(path)
        self.secret = secret
        self.settings = settings
        self.instance = os.urandom(16)
        self.sockets: list[ServerSocket] = []
        self.sessions: dict[bytes, ServerSession] = {}
        self.sessions_seen: list[ServerSession] = []
        self.streams: list[ServerStream] = []  # all that were opened, in order
        self.heard = 0
        self.deaf = False  # nothing is read
        self.closed_for_new = False  # what connects is closed at once
        self.mute_after = 1 << 62  # so many more bytes are sent
        self.taking = True

    def pump(self) -> None:
        if self.socket.fileno() < 0:
            return
        with contextlib.suppress(BlockingIOError):
            sock = self.socket.accept()[0]
            if self.closed_for_new:
                sock.close()
            else:
                self.sockets.append(ServerSocket(self, sock))
        for each in self.sockets:
            each.pump()
        for session in list(self.sessions.values()) if not self.deaf else ():
            session.end.tick(time.monotonic_ns())

    def abort(self) -> None:
        """What EdgeUnderTest does to every peer at the end."""
        self.close()

    def close(self) -> None:
        for each in self.sockets:
            each.drop()
        super().close()

    def break_all(self) -> None:
        """Every socket is reset; the sessions wait."""
        for each in self.sockets:
            each.drop(reset=True)

    def forget(self) -> None:
        """As after a restart of the process: every socket breaks and no session is known."""
        self.sessions.clear()
        self.break_all()
        self.instance = os.urandom(16)

    def wait_links(self, count: int = 1) -> list[ServerSession]:
        """So many sessions have a socket."""
        assert self.edge is not None

        def attached() -> list[ServerSession]:
            return [session for session in self.sessions.values() if session.end.state == SessionState.ATTACHED]

        self.edge.until(lambda: len(attached()) == count, f"{count} links")
        return attached()

    def stream(self, number: int = 0) -> ServerStream:
        """The stream that was opened as number so and so (0: the first)."""
        assert self.edge is not None
        self.edge.until(lambda: len(self.streams) > number, f"stream {number}")
        return self.streams[number]

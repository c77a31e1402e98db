"""A reference server side: accepts links and hands each stream to a coroutine; honest unless a test makes it otherwise.

async with ReferenceServer(secret, serve=echo) as server:      # or bridge(("127.0.0.1", 5222)), or swallow
    ... connect an edge to server.address ...
    session = await server.wait_session()
    session.credit_withheld = True            # never a GET_DATA
    session.wire.stop_reading()               # the kernel's buffers fill
    session.wire.cut()                        # the socket breaks; `session.fail(...)` ends the session
    session.put_raw(raw(0x7f, 0))             # garbage
    session.streams[1].put_data(b"x" * 99)    # whether there is credit or not
    session.streams[1].give_credit(3)         # a limit that lies
    session.drain()                           # DRAIN
    await server.stop()                       # the process dies: sockets break, sessions are forgotten
"""

import asyncio
import contextlib
import os
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.link.frames import (
    FEATURE_BINDINGS,
    FEATURE_GOES_ON,
    GOES_ON,
    Challenge,
    Frame,
    FrameError,
    Hello,
    Open,
    Reason,
    Shutdown,
    Type,
    Welcome,
    edge_proof,
    server_proof,
)
from tests.link.serve import Serve, echo
from tests.link.session import Session, SessionEndError
from tests.link.stream import Stream
from tests.link.wire import DEADLINE_SECONDS, Address, Wire, WireClosedError

HELLO_SECONDS = 10.0
SILENCE_SECONDS = 15.0
GREETINGS_LIMIT = 64


class ServerSession(Session):
    """The server side of one link. `hello` is the edge's last one."""

    def __init__(self, server: "ReferenceServer", hello: Hello) -> None:
        super().__init__("server", server.window)
        self.server = server
        self.hello = hello
        self.peer_window = hello.window
        self.features = hello.features & server.features
        self.credit_withheld = server.credit_withheld
        self.accepted: asyncio.Queue[Stream] = asyncio.Queue()
        self.tasks: set[asyncio.Task[None]] = set()
        self.drop: asyncio.TimerHandle | None = None

    @property
    def put_raw(self) -> Callable[[bytes], None]:
        """Send any bytes."""
        return self.send_raw

    def opened(self, identifier: int, client: Open) -> None:
        if identifier in self.streams:
            self.violated(f"OPEN: stream {identifier} is in use")
        if len(self.streams) >= self.server.streams:
            self.violated(f"OPEN: stream {identifier} is one more than {self.server.streams}")
        stream = Stream(self, identifier, client)
        stream.credit_withheld = self.credit_withheld
        self.streams[identifier] = stream
        self.accepted.put_nowait(stream)
        task = asyncio.create_task(self._serve(stream))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _serve(self, stream: Stream) -> None:
        try:
            await self.server.serve(stream)
        except (Exception, asyncio.CancelledError):
            stream.put_shutdown(Reason.INTERNAL_ERROR)
            if self.failure is None:
                raise

    def fail(self, failure: Exception, told: Shutdown | None = None) -> None:
        super().fail(failure, told)
        self.server.forget(self)
        for task in self.tasks:
            task.cancel()


class ReferenceServer:
    """`address` says where it listens once it is started; sessions are kept for `grace_seconds` without a socket."""

    def __init__(
        self,
        secret: bytes,
        *,
        serve: Serve = echo,
        listen: Address = ("127.0.0.1", 0),
        tls: ssl.SSLContext | None = None,
        window: int = 65_536,
        streams: int = 4_096,
        links: int = 64,
        grace_seconds: int = 30,
        features: int = FEATURE_GOES_ON | FEATURE_BINDINGS,
        versions: tuple[int, int] = (1, 1),
        credit_withheld: bool = False,
    ) -> None:
        self.secret = secret
        self.serve = serve
        self.address = listen
        self.tls = tls
        self.window = window
        self.streams = streams
        self.links = links
        self.grace_seconds = grace_seconds
        self.features = features
        self.versions = versions
        self.credit_withheld = credit_withheld
        self.welcome: Callable[[Welcome], Welcome] = lambda honest: honest  # may lie
        self.hello_seconds = HELLO_SECONDS
        self.silence_seconds = SILENCE_SECONDS
        self.sessions: dict[bytes, ServerSession] = {}
        self.refused: list[Reason] = []
        self._wires: set[Wire] = set()
        self._greeting: dict[Wire, None] = {}  # sockets without HELLO, oldest first
        self._tasks: set[asyncio.Task[None]] = set()
        self._arrived: asyncio.Queue[ServerSession] = asyncio.Queue()
        self._listener: asyncio.Server | None = None

    async def start(self) -> Self:
        """Listen; as after a restart of a process nothing is known."""
        loop = asyncio.get_running_loop()
        self.instance = os.urandom(16)
        if isinstance(self.address, Path):
            self.address.unlink(missing_ok=True)
            self._listener = await loop.create_unix_server(self._accepted, str(self.address), ssl=self.tls)
        else:
            self._listener = await loop.create_server(self._accepted, *self.address, ssl=self.tls)
            host, port = self._listener.sockets[0].getsockname()[:2]
            self.address = (str(host), int(port))
        return self

    async def stop(self) -> None:
        """Die: every socket breaks and all is forgotten."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        tasks = set(self._tasks)
        for session in list(self.sessions.values()):
            tasks |= session.tasks
            wire, session.wire = session.wire, None
            session.fail(SessionEndError(Shutdown(0, Reason.SYSTEM_SHUTDOWN)))
            if wire is not None:
                wire.cut()
        for wire in list(self._wires):
            wire.cut()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def wait_session(self, timeout_seconds: float = DEADLINE_SECONDS) -> ServerSession:
        """The next new session."""
        async with asyncio.timeout(timeout_seconds):
            return await self._arrived.get()

    def forget(self, session: ServerSession) -> None:
        """The session is over."""
        if self.sessions.get(session.hello.session) is session:
            del self.sessions[session.hello.session]
        if session.drop is not None:
            session.drop.cancel()

    # Beginning ------------------------------------------------------------------------------------------------------

    def _accepted(self) -> Wire:
        return _AcceptedWire(self._greet)

    def _greet(self, wire: Wire) -> None:
        self._wires = {each for each in self._wires if not each.lost} | {wire}
        self._greeting[wire] = None
        if len(self._greeting) > GREETINGS_LIMIT:
            next(iter(self._greeting)).close()
        task = asyncio.create_task(self._handshake(wire))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handshake(self, wire: Wire) -> None:
        challenge = Challenge(os.urandom(16), self.instance, *self.versions).encode()
        wire.write(Frame(Type.CHALLENGE, 0, challenge).encode())
        try:
            try:
                frame = await wire.next_frame(self.hello_seconds)
            finally:
                del self._greeting[wire]
            if frame.type is not Type.HELLO:
                raise FrameError(f"{frame.type.name}: before HELLO")
            hello = Hello.decode(frame.payload)
            proof = edge_proof(self.secret, challenge, hello.without_proof())
            if hello.proof != proof:
                raise FrameError("wrong proof", Reason.NOT_AUTHORIZED)
            session, goes_on = self._session(hello)
        except FrameError as error:
            self.refused.append(error.reason)
            wire.write(Frame(Type.SHUTDOWN, 0, Shutdown(0, error.reason, str(error)).encode()).encode())
            wire.close()
            return
        except (TimeoutError, WireClosedError):
            wire.close()
            return
        welcome = Welcome(
            epoch=hello.epoch,
            received=session.received,
            window=self.window,
            streams=self.streams,
            grace_seconds=self.grace_seconds,
            flags=GOES_ON if goes_on else 0,
            features=session.features,
        )
        welcome = self.welcome(welcome)
        if not welcome.proof:
            told = server_proof(self.secret, challenge, frame.payload, welcome.without_proof())
            welcome = replace(welcome, proof=told)
        wire.write(Frame(Type.WELCOME, 0, welcome.encode()).encode())
        if session.drop is not None:
            session.drop.cancel()
        session.attach(wire, hello.received if goes_on else None)
        if not goes_on:
            self._arrived.put_nowait(session)
        await self._watch(wire)
        if session.wire is None and session.failure is None:
            self._detached(session)

    async def _watch(self, wire: Wire) -> None:
        """Until the socket has ended, or nothing was heard on it for too long."""
        loop = asyncio.get_running_loop()
        while not wire.lost:
            left = wire.heard_at + self.silence_seconds - loop.time()
            if left <= 0:
                wire.cut()
            else:
                with contextlib.suppress(TimeoutError):
                    await wire.wait_lost(left)

    def _session(self, hello: Hello) -> tuple[ServerSession, bool]:
        """The session that HELLO means, and whether it is one that goes on."""
        known = self.sessions.get(hello.session)
        if known is not None:
            if hello.epoch <= known.epoch:
                raise FrameError(f"epoch {hello.epoch} after {known.epoch}", Reason.STALE_EPOCH)
            old, known.wire = known.wire, None
            if old is not None:
                old.close()
            known.epoch = hello.epoch
            kept = known.acknowledged == hello.received or any(end == hello.received for end, _ in known.kept)
            if known.features & FEATURE_GOES_ON and hello.window == known.hello.window and kept:
                return known, True
            known.fail(SessionEndError(Shutdown(0, Reason.CONNECTION_LOST, "it cannot go on")))
        elif len(self.sessions) >= self.links:
            raise FrameError(f"there are {self.links} links", Reason.TOO_MANY_LINKS)
        session = ServerSession(self, hello)
        session.epoch = hello.epoch
        self.sessions[hello.session] = session
        return session, False

    def _detached(self, session: ServerSession) -> None:
        gone = SessionEndError(Shutdown(0, Reason.CONNECTION_LOST, "the grace time is over"))
        if not session.features & FEATURE_GOES_ON:
            session.fail(gone)
            return
        session.drop = asyncio.get_running_loop().call_later(self.grace_seconds, session.fail, gone)


class _AcceptedWire(Wire):
    def __init__(self, greet: Callable[[Wire], None]) -> None:
        super().__init__("edge")
        self._greet = greet

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._greet(self)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine; what a forgotten task raised fails it too."""
    trouble: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: trouble.append(context))
        await main

    asyncio.run(watched())
    assert not trouble, trouble

"""The reference edge: proves itself, opens streams with chosen facts, breaks its socket and comes back.

    async with Edge(address, secret) as edge:
        stream = edge.open(facts(binding=b"..."))
        stream.write(b"...")
        await stream.read()
        edge.wire.cut_sending(100)
        await edge.until(lambda: not edge.attached)
        assert await edge.reattach()

Leaving the block raises whatever the server side did wrong.
"""

import asyncio
import contextlib
import ipaddress
import itertools
import os
import ssl
from dataclasses import replace
from types import TracebackType
from typing import Self

from tests.link.frames import (
    FEATURE_BINDINGS,
    FEATURE_GOES_ON,
    GOES_ON,
    Challenge,
    Field,
    Frame,
    Hello,
    Open,
    Reason,
    Shutdown,
    Type,
    Welcome,
    edge_proof,
    server_proof,
)
from tests.link.session import Session, SessionEndError, Violation
from tests.link.stream import Stream
from tests.link.wire import DEADLINE_SECONDS, Address, Wire, WireClosedError, ignore

PING_SECONDS = 5.0
SILENCE_SECONDS = 15.0
_clients = itertools.count()


class RefusedError(Exception):
    """The server side answered HELLO with SHUTDOWN."""

    def __init__(self, end: Shutdown) -> None:
        super().__init__(f"{end.reason}: {end.text}")
        self.reason = end.reason
        self.text = end.text


def facts(
    client: tuple[str, int] | None = None,
    *,
    tls_version: int = 0x0303,
    server_name: str = "example.test",
    unique: bytes | None = None,
    exporter: bytes | None = None,
    transport: int = 3,
) -> Open:
    """What an edge says of a client: by default STARTTLS with TLS 1.2, an address of its own, no channel binding."""
    number = next(_clients)
    host, port = client or (f"192.0.{2 + number // 250 % 200}.{1 + number % 250}", 50_000 + number % 10_000)
    fields: list[tuple[int, bytes]] = []
    if tls_version:
        fields.append((Field.SERVER_NAME, server_name.encode()))
        fields.append((Field.CIPHER, b"TLS_AES_256_GCM_SHA384" if tls_version == 0x0304 else b"ECDHE-ECDSA-AES256-GCM"))
    if unique is not None:
        fields.append((Field.TLS_UNIQUE, unique))
    if exporter is not None:
        fields.append((Field.TLS_EXPORTER, exporter))
    return Open(transport, (_address(host), port), (_address("198.51.100.2"), 5_222), tls_version, tuple(fields))


def _address(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


class Edge(Session):
    """One link of an edge, over as many sockets as it takes. `welcome` is the server side's last WELCOME."""

    def __init__(
        self,
        address: Address,
        secret: bytes,
        *,
        name: str = "reference/1",
        window: int = 65_536,
        features: int = FEATURE_GOES_ON | FEATURE_BINDINGS,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        ping_seconds: float | None = PING_SECONDS,
    ) -> None:
        super().__init__("edge", window)
        self.address = address
        self.secret = secret
        self.name = name
        self.offered = features
        self.tls = tls
        self.server_name = server_name
        self.session_id = os.urandom(16)
        self.challenge: Challenge
        self.welcome: Welcome
        self.abandoned: Wire | None = None
        self._ping_seconds = ping_seconds
        self._pulse: asyncio.Task[None] | None = None
        self._ids = itertools.count(1)

    # Beginning and end ----------------------------------------------------------------------------------------------

    async def dial(self) -> Wire:
        """A socket to the server side, without a byte sent."""
        return await Wire.dial(self.address, tls=self.tls, server_name=self.server_name)

    def hello(self) -> Hello:
        """The HELLO for the next socket, without its proof."""
        return Hello(
            nonce=os.urandom(16),
            session=self.session_id,
            epoch=self.epoch + 1,
            received=self.received,
            window=self.window,
            name=self.name,
            features=self.offered,
        )

    def signed(self, hello: Hello, challenge: bytes) -> Hello:
        return replace(hello, proof=edge_proof(self.secret, challenge, hello.without_proof()))

    async def handshake(self, wire: Wire, hello: Hello | None = None) -> Welcome:
        """CHALLENGE, HELLO, WELCOME on a fresh socket, every field checked. RefusedError if the server side refuses."""
        first = await wire.next_frame()
        if first.type is not Type.CHALLENGE:
            raise Violation(f"the first frame is {first.type.name}, not CHALLENGE")
        self.challenge = Challenge.decode(first.payload)
        said = self.signed(hello or self.hello(), first.payload)
        self.epoch = said.epoch  # even if WELCOME never comes: the server side has perhaps seen it
        wire.write(Frame(Type.HELLO, 0, said.encode()).encode())
        answer = await wire.next_frame()
        if answer.type is Type.SHUTDOWN and answer.id == 0:
            end = Shutdown.decode(answer.payload)
            await wire.wait_lost()
            raise RefusedError(end)
        if answer.type is not Type.WELCOME:
            raise Violation(f"HELLO is answered with {answer.type.name}")
        welcome = Welcome.decode(answer.payload)
        proof = server_proof(self.secret, first.payload, said.encode(), welcome.without_proof())
        if welcome.proof != proof:
            raise Violation("WELCOME: wrong proof")
        if welcome.epoch != said.epoch:
            raise Violation(f"WELCOME: epoch {welcome.epoch}, HELLO had {said.epoch}")
        if welcome.features & ~said.features:
            raise Violation(f"WELCOME: features {welcome.features:#x}, offered {said.features:#x}")
        if not welcome.flags & GOES_ON and welcome.received:
            raise Violation(f"WELCOME: a new session with {welcome.received} bytes received")
        if welcome.flags & GOES_ON and said.epoch == 1:
            raise Violation("WELCOME: a session goes on that has just begun")
        if welcome.streams < 1:
            raise Violation("WELCOME: no streams allowed")
        return welcome

    async def connect(self) -> Self:
        """Begin the session."""
        wire = await self.dial()
        self._begin(wire, await self.handshake(wire))
        if self._ping_seconds is not None:
            self._pulse = asyncio.create_task(self._keep_alive(self._ping_seconds))
        return self

    def _begin(self, wire: Wire, welcome: Welcome) -> None:
        self.welcome = welcome
        self.peer_window = welcome.window
        self.features = welcome.features
        self._reset()
        self.streams.clear()
        self.attach(wire, welcome.received if welcome.flags & GOES_ON else None)

    async def reattach(self, wire: Wire | None = None) -> bool:
        """Come back on a new socket (or `wire`); whether the session goes on. If not, its streams are over."""
        self.check()
        wire = wire or await self.dial()
        welcome = await self.handshake(wire)
        self.abandon()
        if not welcome.flags & GOES_ON:
            over, self.streams = self.streams, {}
            for stream in over.values():
                stream.end = stream.own_end = Shutdown(stream.received, Reason.CONNECTION_LOST, "the session is over")
                stream.wake()
            self._begin(wire, welcome)
            return False
        if (welcome.window, welcome.features) != (self.peer_window, self.features):
            raise Violation("WELCOME: window or features have changed within the session")
        self.welcome = welcome
        self.attach(wire, welcome.received)
        return True

    async def cut_and_reattach(self) -> bool:
        """Drop the socket now and come back."""
        self.cut()
        return await self.reattach()

    def cut(self) -> None:
        """Drop the socket as a lost network does."""
        if self.wire is not None:
            self.wire.cut()

    def abandon(self) -> None:
        """Leave the socket open and have nothing to do with it any more."""
        if self.wire is not None:
            self.abandoned = self.wire
            self.wire = None
            self.abandoned.take_with(ignore)

    async def leave(self, reason: int = Reason.SYSTEM_SHUTDOWN) -> None:
        """The orderly end of the link: SHUTDOWN for id 0, then the socket's end."""
        wire = self.wire
        if self.failure is None and wire is not None:
            wire.write(Frame(Type.SHUTDOWN, 0, Shutdown(0, reason).encode()).encode())
            await wire.drain()
            wire.close()
        self.fail(SessionEndError(Shutdown(0, reason, "we have left")))
        await self.stop_pinging()

    async def stop_pinging(self) -> None:
        if self._pulse is not None:
            self._pulse.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pulse
            self._pulse = None

    async def _keep_alive(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        while self.failure is None:
            await asyncio.sleep(seconds)
            if self.wire is not None and loop.time() - self.wire.heard_at > SILENCE_SECONDS:
                self.wire.cut()
            if self.wire is not None:
                self.ping()

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failure = self.failure
        await self.leave()
        if isinstance(failure, Violation) and error is not failure:
            raise failure

    # Streams --------------------------------------------------------------------------------------------------------

    def open(self, client: Open | None = None, identifier: int | None = None) -> Stream:
        """Open a stream; an `identifier` that is in use is sent all the same."""
        self.check()
        if identifier is None:
            identifier = next(number for number in self._ids if number not in self.streams)
        stream = Stream(self, identifier, client or facts())
        self.streams[identifier] = stream
        self.send(Frame(Type.OPEN, identifier, stream.facts.encode()))
        return stream

    async def wait_link_end(self, timeout_seconds: float = DEADLINE_SECONDS) -> Shutdown:
        """Until the server side ends the link; its SHUTDOWN. WireClosedError if the socket just ends."""
        wire = self.wire
        async with asyncio.timeout(timeout_seconds):
            while self.failure is None and wire is not None and not wire.lost:
                self._changed.clear()
                await self._changed.wait()
        if isinstance(self.failure, SessionEndError):
            return self.failure.end
        if self.failure is not None:
            raise self.failure
        raise WireClosedError

"""One connection to a peer: TLS, the greeting, then frames both ways; its outbox is bounded, and silence ends it.

A peer that reads slowly hurts only itself: while its outbox is full nothing is read from it, and nothing new is told to
it (`is_full`; it hears our heads when it has caught up). After STALL_SECONDS without a byte taken it is dropped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from megaphone.errors import PeerError
from megaphone.history.entry import Origin
from megaphone.peers import frames
from megaphone.peers.hello import (
    MESSAGE_LIMIT_BYTES,
    NONCE_BYTES,
    VERSION,
    Hello,
    Proof,
    Refused,
    Welcome,
    check,
    encode,
    expect,
    signed,
)
from megaphone.peers.identity import listener_key

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from megaphone.history.ports import Verifier
    from megaphone.peers.hello import Message, Reason
    from megaphone.peers.identity import Identity

CONNECT_SECONDS: Final = 5.0
GREETING_SECONDS: Final = 10.0  # TLS included
ALIVE_SECONDS: Final = 10.0  # an empty frame after so long without another
SILENCE_SECONDS: Final = 30.0
STALL_SECONDS: Final = 30.0
READER_LIMIT_BYTES: Final = 65_536
FULL_BYTES: Final = 1_048_576  # of an outbox; beyond that nothing more is asked for
OUTBOX_LIMIT_BYTES: Final = 16_777_216

Address = tuple[str, int]
Resolve = Callable[[str], Awaitable[Sequence[str]]]


class Stream(NamedTuple):
    """A TLS connection, and who dialled it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    dialled: bool
    """By us."""


@dataclass(frozen=True, slots=True)
class Ourselves:
    """What we say in each greeting."""

    identity: Identity
    name: str
    port: int
    instance: bytes
    """Random, new at each start."""

    def hello(self) -> Hello:
        """Return a greeting with a new nonce."""
        return Hello(VERSION, self.name, self.identity.origin, os.urandom(NONCE_BYTES), self.port, self.instance)


@dataclass(frozen=True, slots=True)
class Remote:
    """Who the other is: what it has proved (`key`) and what it says."""

    key: Origin
    name: str
    port: int
    instance: bytes
    host: str
    """Where it is seen from here."""


async def dial(identity: Identity, address: Address, resolve: Resolve | None = None) -> Stream:
    """Connect to a listener; OSError (TimeoutError, ssl.SSLError included) if there is none.

    `resolve` gives the addresses of a name ".local"; for those it does not know, and for others, the system is asked.
    """
    host, port = address
    if resolve is not None and host.lower().rstrip(".").endswith(".local"):
        host = next(iter(await resolve(host)), host)
    async with asyncio.timeout(CONNECT_SECONDS):
        reader, writer = await asyncio.open_connection(
            *(host, port),
            ssl=identity.dialling,
            server_hostname="",  # none is told
            limit=READER_LIMIT_BYTES,
        )
    return Stream(reader, writer, dialled=True)


async def accept(identity: Identity, connected: socket.socket) -> Stream:
    """Do the listener's TLS on an accepted socket; OSError if it comes to nothing."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(READER_LIMIT_BYTES, loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.connect_accepted_socket(
        lambda: protocol, connected, ssl=identity.listening, ssl_handshake_timeout=CONNECT_SECONDS
    )
    return Stream(reader, asyncio.StreamWriter(transport, protocol, reader, loop), dialled=False)


async def greet(stream: Stream, us: Ourselves, verifier: Verifier, judge: Callable[[Remote], Reason | None]) -> Remote:
    """Do the greeting of a new connection. `judge` gets who has proved what, and returns why it is refused, or None.

    Returns who it is when both have said yes; PeerError otherwise, OSError or EOFError if the connection ends.
    """
    try:
        async with asyncio.timeout(GREETING_SECONDS):
            return await (_greet_listener if stream.dialled else _greet_dialler)(stream, us, verifier, judge)
    except TimeoutError:
        raise PeerError("does not greet in time") from None
    except PeerError as error:
        if error.reason and not error.told:
            _say(stream, Refused(error.reason))
        raise


async def _greet_listener(
    stream: Stream, us: Ourselves, _: Verifier, judge: Callable[[Remote], Reason | None]
) -> Remote:
    ours = _say(stream, us.hello())
    theirs, hello = await _hear_hello(stream)
    tls = stream.writer.get_extra_info("ssl_object")
    if not isinstance(tls, ssl.SSLObject) or listener_key(tls) != hello.key:
        raise PeerError("greets with another key than the one that its certificate proves")
    remote = _judged(stream, hello, judge)
    _say(stream, Proof(us.identity.sign(signed(theirs, ours))))
    expect(Welcome, await frames.read(stream.reader, MESSAGE_LIMIT_BYTES))
    return remote


async def _greet_dialler(
    stream: Stream, us: Ourselves, verifier: Verifier, judge: Callable[[Remote], Reason | None]
) -> Remote:
    ours = _say(stream, us.hello())
    theirs, hello = await _hear_hello(stream)
    proof = expect(Proof, await frames.read(stream.reader, MESSAGE_LIMIT_BYTES))
    if not verifier(hello.key, proof.signature, signed(ours, theirs)):
        raise PeerError("does not have the key that it shows")
    remote = _judged(stream, hello, judge)
    _say(stream, Welcome())
    return remote


def _say(stream: Stream, message: Message) -> bytes:
    data = encode(message)
    stream.writer.write(frames.frame(data))
    return data


async def _hear_hello(stream: Stream) -> tuple[bytes, Hello]:
    data = await frames.read(stream.reader, MESSAGE_LIMIT_BYTES)
    hello = expect(Hello, data)
    check(hello)
    return data, hello


def _judged(stream: Stream, hello: Hello, judge: Callable[[Remote], Reason | None]) -> Remote:
    host = plain_host(*stream.writer.get_extra_info("peername"))
    remote = Remote(Origin(hello.key), hello.name, hello.port, hello.instance, host)
    if (reason := judge(remote)) is not None:
        raise PeerError(f"is refused: {reason}", reason)
    return remote


def plain_host(host: str, _port: int = 0, _flow: int = 0, scope: int = 0) -> str:
    """Return the host of a socket address as one would dial it: IPv4 as such, link-local IPv6 with its interface."""
    if host.startswith("::ffff:") and "." in host:
        return host.removeprefix("::ffff:")
    return f"{host}%{scope}" if scope and "%" not in host else host


class Connection:
    """A connection after its greeting. `run` reads until its end; `send` never waits."""

    def __init__(self, stream: Stream, remote: Remote) -> None:
        self.remote = remote
        self.dialled = stream.dialled
        self.outbox_bytes = 0
        self._reader, self._writer, _ = stream
        self._outbox: deque[bytes] = deque()
        self._something_to_write = asyncio.Event()
        self._written = asyncio.Event()
        self._closing: str | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_full(self) -> bool:
        """Whether the outbox has more than the peer takes at the moment: what can wait should not be sent."""
        return self.outbox_bytes > FULL_BYTES

    def send(self, messages: Iterable[bytes]) -> None:
        """Queue messages; a peer that has let too much of them pile up is dropped."""
        for message in messages:
            data = frames.frame(message)
            self._outbox.append(data)
            self.outbox_bytes += len(data)
        if self.outbox_bytes > OUTBOX_LIMIT_BYTES:
            self.close("reads too slowly")
        self._something_to_write.set()

    def close(self, reason: str) -> None:
        """End it at once; `run` then returns this reason. What is queued is lost."""
        if self._closing is None:
            self._closing = reason
            if self._task is not None:
                self._task.cancel()

    async def run(self, receive: Callable[[bytes], Iterable[bytes]]) -> str:
        """Answer each message with those that `receive` returns; returns why it ended, and has closed it."""
        self._task = asyncio.create_task(self._run(receive))
        if self._closing is not None:
            self._task.cancel()
        try:
            await asyncio.wait({self._task})
        finally:
            self._task.cancel()
            self._writer.transport.abort()
        if self._closing is not None:
            return self._closing
        error = self._task.exception()
        if isinstance(error, PeerError):
            return str(error)
        if isinstance(error, EOFError | ConnectionError):
            return "has gone"
        if isinstance(error, OSError):
            return f"was lost: {error.strerror or error}"
        raise error or RuntimeError("reading and writing ended by themselves")

    async def _run(self, receive: Callable[[bytes], Iterable[bytes]]) -> None:
        both = {asyncio.create_task(self._read(receive)), asyncio.create_task(self._write())}
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)
        for error in [task.exception() for task in done]:
            if error is not None:
                raise error

    async def _read(self, receive: Callable[[bytes], Iterable[bytes]]) -> None:
        while True:
            try:
                async with asyncio.timeout(SILENCE_SECONDS):
                    message = await frames.read(self._reader)
            except TimeoutError:
                raise PeerError(f"was silent for {SILENCE_SECONDS:g} s") from None
            if message:
                self.send(receive(message))
            while self.is_full:
                self._written.clear()
                await self._written.wait()

    async def _write(self) -> None:
        while True:
            self._something_to_write.clear()
            while self._outbox:
                data = self._outbox.popleft()
                self._writer.write(data)
                try:
                    async with asyncio.timeout(STALL_SECONDS):
                        await self._writer.drain()
                except TimeoutError:
                    raise PeerError(f"took nothing for {STALL_SECONDS:g} s") from None
                self.outbox_bytes -= len(data)
                self._written.set()
            try:
                async with asyncio.timeout(ALIVE_SECONDS):
                    await self._something_to_write.wait()
            except TimeoutError:
                self.send([b""])

    async def leave(self, seconds: float) -> None:
        """Give what is queued to the peer, at most so long, and close."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.outbox_bytes and self._closing is None and not self._writer.transport.is_closing():
                    self._written.clear()
                    await self._written.wait()
                self._closing = self._closing or "was left"
                self._writer.close()
                with contextlib.suppress(OSError):
                    await self._writer.wait_closed()
        self._closing = self._closing or "was left"
        if self._task is not None:
            self._task.cancel()

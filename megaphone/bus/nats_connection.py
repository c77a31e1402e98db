"""One connection to a NATS cluster that comes back: servers of a list, subscriptions said again, nothing else repeated.

What was written and had not left when a connection ended is gone, as is what is published while there is none (that is
refused). Losing and getting a connection is told to `listeners`.

    dial ─► INFO ─► (TLS) ─► CONNECT, SUB ..., PING ─► PONG ─► up ─► lost ─► pause ─► dial the next of the list
                                                 -ERR ─► refused ───────────┘
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import ssl
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from megaphone import __version__
from megaphone.bus import nats_wire as wire
from megaphone.errors import BusError, BusRefusedError, BusUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.bus.nats_access import Access, Server

MINIMUM_VERSION = (2, 12, 0)
FIRST_PAUSE_SECONDS = 0.1

_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
_REFUSALS = ("authorization", "authentication", "user jwt", "account", "revoked", "nkey")


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things may take, seconds. Between two rounds of the list: 0.1 s, doubling up to `pause`, jittered."""

    connect: float = 5.0
    ping: float = 5.0  # without an answer to the one before, the connection is lost
    pause: float = 10.0


@dataclass(slots=True)
class Traffic:
    """Counters, for metrics; payload bytes. `refused`: not sent, no room or no connection."""

    messages_out: int = 0
    bytes_out: int = 0
    messages_in: int = 0
    bytes_in: int = 0
    refused: int = 0
    connects: int = 0
    losses: int = 0


class Connection:
    """A connection to one of the servers of `access`, on the running loop.

    `payload_bytes` is what a message may have, and the server must take; `waiting_bytes` bounds what has not left yet.
    `fault` is told of what subscribers raise and of what the server complains about.
    """

    def __init__(
        self,
        access: Access,
        *,
        payload_bytes: int,
        waiting_bytes: int,
        fault: Callable[[Exception], None],
        name: str = "megaphone",
        pace: Pace | None = None,
    ) -> None:
        self.payload_bytes = payload_bytes
        self.waiting_bytes = waiting_bytes
        self.traffic = Traffic()
        self.listeners: list[Callable[[bool, str], None]] = []  # told whether it is up, and the server or why not
        self.info: dict[str, Any] = {}  # the last server's INFO
        self.trouble = "not connected yet"  # why it is not up
        self.fault = fault
        self._access = access
        self._name = name
        self._pace = pace or Pace()
        self._subscriptions: dict[int, tuple[bytes, Callable[[wire.Delivery], None]]] = {}
        self._last_sid = 0
        self._line: _Line | None = None
        self._task: asyncio.Task[None] | None = None
        self.loop: asyncio.AbstractEventLoop  # since `open`

    # --- the life of it ------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether a server is there."""
        return self._line is not None

    async def open(self) -> None:
        """Connect to the first server of the list that takes us, and stay connected from then on.

        BusRefusedError if no server takes us and one of them said why; BusUnreachableError if none is there.
        """
        self.loop = asyncio.get_running_loop()
        await self._dial_any()
        self._task = asyncio.create_task(self._stay_up())

    async def close(self) -> None:
        """Say what waits, and hang up. Harmless when said twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        if self._line is not None:
            self._line.flush()
            self._line.hang_up("closed")

    def abort(self) -> None:
        """End at once, as the death of the process would; for tests."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._line is not None:
            self._line.abort()

    async def _stay_up(self) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_SECONDS
        while True:
            if self._line is not None:
                began = loop.time()
                await self._line.watch()
                if loop.time() - began > self._pace.pause:  # not one that takes us in and throws us out again
                    pause = FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - a spread, not a secret
            pause = min(2 * pause, self._pace.pause)
            try:
                await self._dial_any()
            except BusError:
                pass  # `trouble` says why
            except Exception as error:  # noqa: BLE001 - whatever a server may do to us, we come back
                self.fault(error)

    async def _dial_any(self) -> None:
        """Try each server of the list once, in any order."""
        servers = list(self._access.servers)
        random.shuffle(servers)
        refusal: BusError | None = None
        for server in servers:
            try:
                await self._dial(server)
            except BusUnreachableError as error:
                refusal = refusal or error
                self.trouble = str(error)
            except BusError as error:
                refusal = error if not isinstance(refusal, BusRefusedError) else refusal
                self.trouble = str(error)
            else:
                return
        raise refusal or BusUnreachableError("no NATS server is named")

    async def _dial(self, server: Server) -> None:
        loop = asyncio.get_running_loop()
        line = _Line(self, self._pace.ping)
        try:
            async with asyncio.timeout(self._pace.connect):
                transport, _ = await loop.create_connection(lambda: line, server.host, server.port)
                info = await line.info
                if server.tls or info.get("tls_required"):
                    if not (info.get("tls_required") or info.get("tls_available")):
                        raise BusRefusedError(f"{server} speaks no TLS")
                    await line.start_tls(transport, self._access, server.host)
                self._check(server, info)
                line.greet()
                line.write(wire.encode_connect(self._options(info)))
                said = dict(self._subscriptions)
                for sid, (subject, _) in said.items():
                    line.write(wire.encode_subscribe(subject, sid))
                await line.round_trip()
        except TimeoutError:
            line.abort()
            raise BusUnreachableError(f"{server}: no answer within {self._pace.connect:g} s") from None
        except OSError as error:
            line.abort()
            raise BusUnreachableError(f"{server}: {error.strerror or error}") from None
        except BusError as error:
            line.abort()
            raise type(error)(str(error) if str(server) in str(error) else f"{server}: {error}") from None
        except BaseException:
            line.abort()
            raise
        self.info = info
        self.trouble = ""
        self.traffic.connects += 1
        self._line = line
        for sid in said.keys() - self._subscriptions.keys():  # what has changed since
            line.write(wire.encode_unsubscribe(sid))
        for sid in self._subscriptions.keys() - said.keys():
            line.write(wire.encode_subscribe(self._subscriptions[sid][0], sid))
        self._tell(True, str(server))

    def _check(self, server: Server, info: dict[str, Any]) -> None:
        version = str(info.get("version", ""))
        found = _VERSION.match(version)
        if found is None or tuple(map(int, found.groups())) < MINIMUM_VERSION:
            least = ".".join(map(str, MINIMUM_VERSION[:2]))
            raise BusRefusedError(f"{server} is nats-server {version[:40] or '?'}, and {least} is needed at least")
        if not info.get("headers"):
            raise BusRefusedError(f"{server} takes no headers (no_header_support)")
        if int(info.get("max_payload", 0)) < self.payload_bytes:
            raise BusRefusedError(
                f"{server} takes messages of {info.get('max_payload')} bytes, and {self.payload_bytes} are needed "
                "(max_payload)"
            )

    def _options(self, info: dict[str, Any]) -> dict[str, Any]:
        return {
            "verbose": False,
            "pedantic": False,
            "lang": "megaphone",
            "version": __version__,
            "name": self._name,
            "protocol": 1,
            "echo": True,
            "headers": True,
            "no_responders": True,
            **self._access.login(str(info.get("nonce", ""))),
        }

    # --- what is said and heard ------------------------------------------------------------

    def publish(self, subject: bytes, payload: bytes, reply: bytes = b"", headers: bytes = b"") -> bool:
        """Say this; False if it is too large, there is no connection, or too much waits to leave."""
        line = self._line
        if (
            line is None
            or len(payload) > self.payload_bytes
            or line.waiting_bytes + len(payload) + wire.LINE_LIMIT_BYTES > self.waiting_bytes
        ):
            self.traffic.refused += 1
            return False
        line.write(wire.encode_publish(subject, payload, reply, headers))
        self.traffic.messages_out += 1
        self.traffic.bytes_out += len(payload)
        return True

    def subscribe(self, subject: bytes, taker: Callable[[wire.Delivery], None]) -> int:
        """Call `taker` for what is published on a subject (wildcards too) from now on; return a number for it."""
        self._last_sid += 1
        self._subscriptions[self._last_sid] = (subject, taker)
        if self._line is not None:
            self._line.must_write(wire.encode_subscribe(subject, self._last_sid))
        return self._last_sid

    def unsubscribe(self, sid: int) -> None:
        """Call that taker no more, not even for what is on its way."""
        if self._subscriptions.pop(sid, None) is not None and self._line is not None:
            self._line.must_write(wire.encode_unsubscribe(sid))

    async def round_trip(self) -> None:
        """Return when the server has done all that was said before; BusError if the connection is lost before that."""
        if self._line is None:
            raise BusUnreachableError(self.trouble)
        await self._line.round_trip()

    def take(self, delivery: wire.Delivery) -> None:
        """Take a message, from the line."""
        self.traffic.messages_in += 1
        self.traffic.bytes_in += len(delivery.payload)
        subscription = self._subscriptions.get(delivery.sid)
        if subscription is not None:
            try:
                subscription[1](delivery)
            except Exception as error:  # noqa: BLE001 - one subscriber's trouble must not cost the others
                self.fault(error)

    def lost(self, line: _Line, reason: str) -> None:
        """The line has ended."""
        if self._line is line:
            self._line = None
            self.trouble = reason
            self.traffic.losses += 1
            self._tell(False, reason)

    def _tell(self, up: bool, text: str) -> None:
        for listener in list(self.listeners):
            try:
                listener(up, text)
            except Exception as error:  # noqa: BLE001 - one listener's trouble must not cost the others
                self.fault(error)


class _Line(asyncio.Protocol):
    """One socket to one server. What is written in one turn of the loop leaves together."""

    def __init__(self, connection: Connection, ping_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.info: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._connection = connection
        self._ping_seconds = ping_seconds
        self._parser = wire.Parser(connection.payload_bytes)
        self._transport: asyncio.Transport | None = None
        self._written: list[bytes] = []
        self._written_bytes = 0
        self._pongs: deque[asyncio.Future[None]] = deque()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._reason = ""  # what the server said last
        self._plain = True  # we have said nothing yet

    # --- the socket ------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    async def start_tls(self, transport: asyncio.Transport, access: Access, host: str) -> None:
        """Speak TLS from now on."""
        if self._ended.done():
            raise self._error()
        if self._parser.held_bytes:
            raise BusRefusedError("says more than INFO before TLS")
        try:
            changed = await self._loop.start_tls(transport, self, access.ssl_context(), server_hostname=host)
        except ssl.SSLError as error:
            raise BusRefusedError(f"TLS: {getattr(error, 'verify_message', '') or error}") from None
        if changed is None:
            raise BusUnreachableError("the connection ended during TLS")
        self._transport = changed

    def greet(self) -> None:
        """From now on we speak, and the server may say more than INFO."""
        self._plain = False

    def data_received(self, data: bytes) -> None:
        try:
            operations = self._parser.feed(data)
        except BusError as error:
            self.end(str(error))
            return
        for operation in operations:
            if self._plain and not isinstance(operation, wire.Info | wire.Trouble):
                # in plain text, and perhaps before TLS: anybody's word
                self.end("the server says more than INFO before we said anything")
            elif isinstance(operation, wire.Delivery):
                self._connection.take(operation)
            elif isinstance(operation, wire.Ping):
                self.must_write(wire.PONG)
            elif isinstance(operation, wire.Pong):
                if self._pongs and not (future := self._pongs.popleft()).done():
                    future.set_result(None)
            elif isinstance(operation, wire.Trouble):
                self._take_trouble(operation.text)
            elif not self.info.done():
                self.info.set_result(dict(operation.fields))
            if self._ended.done():
                return

    def _take_trouble(self, text: str) -> None:
        """-ERR: after most of them the server hangs up, and this is why."""
        self._reason = text
        if text.lower().startswith("permissions violation"):
            self._connection.fault(BusError(f"NATS: {text}"))
            self._reason = ""

    def connection_lost(self, error: Exception | None) -> None:
        reason = self._reason or (str(error) if error is not None else "the server hung up")
        self._end(reason)

    # --- what is said ------------------------------------------------------------

    @property
    def waiting_bytes(self) -> int:
        """What has not left yet."""
        return self._written_bytes + (self._transport.get_write_buffer_size() if self._transport is not None else 0)

    def write(self, data: bytes) -> None:
        """Say this at the end of this turn of the loop."""
        if not self._written:
            self._loop.call_soon(self.flush)
        self._written.append(data)
        self._written_bytes += len(data)

    def must_write(self, data: bytes) -> None:
        """As `write`, for what cannot be left out; a server that takes none of it for so long is as good as gone."""
        if self.waiting_bytes > 2 * self._connection.waiting_bytes:
            self.end("the server takes nothing")
            return
        self.write(data)

    def flush(self) -> None:
        """Give what was said to the socket."""
        written, self._written, self._written_bytes = self._written, [], 0
        if written and self._transport is not None and not self._ended.done():
            self._transport.write(b"".join(written))

    async def round_trip(self) -> None:
        """PING, and return with its PONG."""
        future: asyncio.Future[None] = self._loop.create_future()
        if self._ended.done():
            raise self._error()
        self._pongs.append(future)
        self.must_write(wire.PING)
        await future

    async def watch(self) -> None:
        """Return when the line has ended; end it when the server does not answer a PING in time."""
        while not self._ended.done():
            await asyncio.wait([self._ended], timeout=self._ping_seconds)
            if self._ended.done():
                break
            try:
                async with asyncio.timeout(self._ping_seconds):
                    await self.round_trip()
            except TimeoutError:
                self.end(f"no answer to a PING within {self._ping_seconds:g} s")
            except BusError:
                pass

    # --- its end ------------------------------------------------------------

    def end(self, reason: str) -> None:
        """End it for this reason."""
        self._reason = reason
        self.abort()

    def hang_up(self, reason: str) -> None:
        """End it after all that was said."""
        self._reason = reason
        if self._transport is not None:
            self._transport.close()
        self._end(reason)

    def abort(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()
        self._end(self._reason or "aborted")

    def _end(self, reason: str) -> None:
        if self._ended.done():
            return
        self._ended.set_result(reason)
        self._reason = reason
        self._written, self._written_bytes = [], 0
        waiting: list[asyncio.Future[Any]] = [self.info, *self._pongs]
        for future in waiting:
            if not future.done():
                future.set_exception(self._error())
                future.exception()  # whoever waits gets it; that nobody does is no fault
        self._pongs.clear()
        self._connection.lost(self, reason)

    def _error(self) -> BusError:
        if self._reason.lower().startswith(_REFUSALS):
            return BusRefusedError(self._reason)
        return BusUnreachableError(self._reason)

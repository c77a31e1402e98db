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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from megaphone import __version__
from megaphone.bus import nats_wire as wire
from megaphone.bus.nats_line import Line
from megaphone.errors import BusError, BusRefusedError, BusUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.bus.nats_access import Access, Server

MINIMUM_VERSION = (2, 12, 0)
FIRST_PAUSE_SECONDS = 0.1

_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


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
        self._line: Line | None = None
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

    def start(self) -> None:
        """Connect as soon as a server takes us, and stay connected from then on; `trouble` says why it is not yet."""
        self.loop = asyncio.get_running_loop()
        self._task = asyncio.create_task(self._stay_up(at_once=True))

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

    async def _stay_up(self, *, at_once: bool = False) -> None:
        loop = asyncio.get_running_loop()
        pause = 0.0 if at_once else FIRST_PAUSE_SECONDS
        while True:
            if self._line is not None:
                began = loop.time()
                await self._line.watch()
                if loop.time() - began > self._pace.pause:  # not one that takes us in and throws us out again
                    pause = FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - a spread, not a secret
            pause = min(max(2 * pause, FIRST_PAUSE_SECONDS), self._pace.pause)
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
        line = Line(self, self._pace.ping)
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

    def lost(self, line: Line, reason: str) -> None:
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

"""One socket to one NATS server: what is said leaves together once in a turn of the loop, and what is heard is taken.

A line ends once, for one reason, and does not come back: that is its connection's business (nats_connection).
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import TYPE_CHECKING, Any

from megaphone.bus import nats_wire as wire
from megaphone.errors import BusError, BusRefusedError, BusUnreachableError

if TYPE_CHECKING:
    from megaphone.bus.nats_access import Access
    from megaphone.bus.nats_connection import Connection

_REFUSALS = ("authorization", "authentication", "user jwt", "account", "revoked", "nkey")


class Line(asyncio.Protocol):
    """A socket to a server that `connection` has dialled; `ping_seconds` is how long an answer to a PING may take."""

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
        """Take the socket, from the loop."""
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
        """Take what the server says, from the loop."""
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
        """Take note that the socket has ended, from the loop."""
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

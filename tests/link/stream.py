"""One client's stream on a link: credit both ways, and reading and writing for whoever sits behind it.

Credit is given as data is read. A stream that nobody reads gets none: so a client that takes nothing is played.
"""

import asyncio
from typing import TYPE_CHECKING

from tests.link.frames import DATA_LIMIT_BYTES, Frame, Open, Reason, Shutdown, Type, number
from tests.link.wire import DEADLINE_SECONDS

if TYPE_CHECKING:
    from tests.link.session import Session


class StreamClosedError(Exception):
    """The stream has ended; `reason` is the other side's."""

    def __init__(self, shutdown: Shutdown) -> None:
        super().__init__(f"{shutdown.reason} {shutdown.text}")
        self.reason = shutdown.reason


class Stream:
    """Use `read`, `write` and `close`; what begins with `put_` or `give_` also does what the document forbids."""

    def __init__(self, session: "Session", identifier: int, facts: Open) -> None:
        self.id = identifier
        self.facts = facts
        self.session = session
        self.received = 0
        self.taken = 0
        self.limit = session.window  # how much may be sent to us
        self.sent = 0
        self.sending_limit = session.peer_window
        self.outgoing = bytearray()
        self.own_end: Shutdown | None = None
        self.end: Shutdown | None = None  # the other side's
        self.credit_withheld = False
        self._incoming = bytearray()
        self._changed = asyncio.Event()

    @property
    def over(self) -> bool:
        """Both have said SHUTDOWN; the id is free."""
        return self.own_end is not None and self.end is not None

    # What came ------------------------------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        session = self.session
        if self.end is not None:
            session.violated(f"{session.data_in.name} on stream {self.id} after its SHUTDOWN")
        self.received += len(data)
        if self.received > self.limit:
            text = f"stream {self.id}: {self.received} bytes, limit {self.limit}"
            session.violated(text, Reason.CREDIT_OVERSTEPPED)
        if self.own_end is None:
            self._incoming += data
            self._changed.set()

    def receive_credit(self, limit: int) -> None:
        session = self.session
        if self.end is not None:
            session.violated(f"GET_DATA on stream {self.id} after its SHUTDOWN")
        if limit < self.sending_limit:
            session.violated(f"GET_DATA: limit of stream {self.id} moved back from {self.sending_limit} to {limit}")
        if limit > self.sent + session.peer_window:
            session.violated(
                f"GET_DATA: limit {limit} of stream {self.id} is more than a window above the {self.sent} bytes sent"
            )
        self.sending_limit = limit
        self._changed.set()
        session.pump(self)

    def receive_end(self, end: Shutdown) -> None:
        session = self.session
        if self.end is not None:
            session.violated(f"SHUTDOWN: stream {self.id} twice")
        if end.reason >= Reason.PROTOCOL_ERROR:
            session.violated(f"SHUTDOWN: reason {end.reason} for stream {self.id}")
        if end.sent != self.received:
            session.violated(f"SHUTDOWN: stream {self.id} sent {end.sent} bytes, {self.received} have come")
        self.end = end
        if self.own_end is None and not session.answers_withheld:
            self.put_shutdown(Reason.CLOSED)
        self._changed.set()

    def wake(self) -> None:
        self._changed.set()

    # For who sits behind it -----------------------------------------------------------------------------------------

    async def _until_changed(self) -> None:
        self.session.check()
        self._changed.clear()
        await self._changed.wait()

    async def read(self, limit_bytes: int = 65_536, timeout_seconds: float = DEADLINE_SECONDS) -> bytes:
        """What has come, b"" after the other side's SHUTDOWN. Gives credit for it."""
        async with asyncio.timeout(timeout_seconds):
            while not self._incoming and self.end is None and self.own_end is None:
                await self._until_changed()
        if not self._incoming:
            self.session.check()
        data = bytes(self._incoming[:limit_bytes])
        del self._incoming[:limit_bytes]
        self.taken += len(data)
        if not self.credit_withheld and self.taken + self.session.window - self.limit >= self.session.window // 2:
            self.give_credit()
        return data

    async def read_exactly(self, count: int, timeout_seconds: float = DEADLINE_SECONDS) -> bytes:
        """Exactly `count` bytes; StreamClosedError if the stream ends first."""
        result = bytearray()
        async with asyncio.timeout(timeout_seconds):
            while len(result) < count:
                data = await self.read(count - len(result), timeout_seconds)
                if not data:
                    raise StreamClosedError(self.end or Shutdown())
                result += data
        return bytes(result)

    @property
    def waiting_bytes(self) -> int:
        """What has come and was not read."""
        return len(self._incoming)

    def write(self, data: bytes) -> None:
        """Send as credit allows; the rest waits here."""
        if self.own_end is None and self.end is None:
            self.outgoing += data
            self.session.pump(self)

    async def drain(self, timeout_seconds: float = DEADLINE_SECONDS) -> None:
        """Until all that was written is on its way, or the stream has ended."""
        async with asyncio.timeout(timeout_seconds):
            while self.outgoing and self.end is None and self.own_end is None:
                await self._until_changed()

    async def close(
        self, reason: int = Reason.CLOSED, text: str = "", timeout_seconds: float = DEADLINE_SECONDS
    ) -> Shutdown:
        """Say SHUTDOWN if that was not done, and wait for the other side's."""
        self.put_shutdown(reason, text)
        return await self.wait_end(timeout_seconds)

    async def wait_end(self, timeout_seconds: float = DEADLINE_SECONDS) -> Shutdown:
        """The other side's SHUTDOWN."""
        async with asyncio.timeout(timeout_seconds):
            while self.end is None:
                await self._until_changed()
        return self.end

    # Frames ---------------------------------------------------------------------------------------------------------

    def sendable(self) -> bool:
        return bool(self.outgoing) and self.sent < self.sending_limit and self.own_end is None and self.end is None

    def send_some(self) -> None:
        """One frame of what waits."""
        count = min(DATA_LIMIT_BYTES, self.sending_limit - self.sent)
        data = bytes(self.outgoing[:count])
        del self.outgoing[:count]
        self.put_data(data)
        if not self.outgoing:
            self._changed.set()

    def put_data(self, data: bytes) -> None:
        """Send one frame of data, with or without credit."""
        self.sent += len(data)
        self.session.send(Frame(self.session.data_out, self.id, data))

    def give_credit(self, limit: int | None = None) -> None:
        """GET_DATA: a window above what was taken, or any `limit`."""
        self.limit = self.taken + self.session.window if limit is None else limit
        if self.own_end is None:
            self.session.send(Frame(Type.GET_DATA, self.id, number(self.limit)))

    def put_shutdown(self, reason: int = Reason.CLOSED, text: str = "", sent: int | None = None) -> None:
        """Send SHUTDOWN, once; `sent` may lie."""
        if self.own_end is None:
            self.own_end = Shutdown(self.sent if sent is None else sent, reason, text)
            self.outgoing.clear()
            self.session.send(Frame(Type.SHUTDOWN, self.id, self.own_end.encode()))
            self._changed.set()
        self.session.free(self)

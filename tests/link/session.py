"""What one side keeps of a link: byte counts, unacknowledged frames, streams; strict with the other side.

Both the reference edge and the reference server side are made of it. What the other side does wrong ends the session
with a Violation, which every later call raises: a test cannot miss it.
"""

import asyncio
import os
from collections import deque
from collections.abc import Callable

from tests.link.frames import (
    ACK_DUE_BYTES,
    FEATURE_GOES_ON,
    KEPT_LIMIT_BYTES,
    Frame,
    FrameError,
    Open,
    Reason,
    Shutdown,
    Side,
    Type,
    beat,
    number,
)
from tests.link.stream import Stream
from tests.link.wire import DEADLINE_SECONDS, Wire

HANDSHAKE = (Type.CHALLENGE, Type.HELLO, Type.WELCOME)
OTHER_SIDE: dict[Side, Side] = {"edge": "server", "server": "edge"}


class Violation(AssertionError):  # noqa: N818 - the word for what it is; it fails the test that meets it
    """The other side did what the document forbids."""

    def __init__(self, text: str, reason: Reason = Reason.PROTOCOL_ERROR) -> None:
        super().__init__(text)
        self.reason = reason


class SessionEndError(Exception):
    """The session is over: `end` is the other side's SHUTDOWN for id 0, or what we know instead."""

    def __init__(self, end: Shutdown) -> None:
        super().__init__(f"{Reason(end.reason).name}: {end.text}")
        self.end = end


class Session:
    """`side` is ours. `window` is what we let the other side send on a stream, `peer_window` what it lets us."""

    def __init__(self, side: Side, window: int) -> None:
        self.side: Side = side
        self.data_out, self.data_in = Type.PUT_DATA, Type.SEND_DATA
        if side == "server":
            self.data_out, self.data_in = self.data_in, self.data_out
        self.window = window
        self.peer_window = window
        self.features = FEATURE_GOES_ON
        self.epoch = 0
        self.wire: Wire | None = None
        self.streams: dict[int, Stream] = {}
        self.draining = False  # the other side's DRAIN has come
        self.failure: Exception | None = None
        self.acknowledging = True
        self.answers_withheld = False  # no SHUTDOWN in answer to the other side's
        self.pongs_withheld = False
        self.trace: Callable[[Frame], None] | None = None
        self._changed = asyncio.Event()
        self._ready: deque[Stream] = deque()
        self._reset()

    def _reset(self) -> None:
        self.sent = 0
        self.received = 0
        self.acknowledged = 0  # of what we sent
        self.reported = 0  # of what we received
        self.acks_received = 0
        self.kept: deque[tuple[int, bytes]] = deque()  # frames that are not acknowledged, with the count at their end
        self._pings: deque[bytes] = deque()

    # Ends -----------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise what ended the session."""
        if self.failure is not None:
            raise self.failure

    def violated(self, text: str, reason: Reason = Reason.PROTOCOL_ERROR) -> None:
        """End the session and raise: the other side broke the protocol."""
        failure = Violation(text, reason)
        self.fail(failure, Shutdown(0, reason, text))
        raise failure

    def fail(self, failure: Exception, told: Shutdown | None = None) -> None:
        """The session is over because of `failure`; the other side is `told` so."""
        if self.failure is not None:
            return
        self.failure = failure
        if self.wire is not None:
            if told is not None:
                self.wire.write(Frame(Type.SHUTDOWN, 0, told.encode()).encode())
            self.wire.close()
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        for stream in self.streams.values():
            stream.wake()

    async def until(self, condition: Callable[[], object], timeout_seconds: float = DEADLINE_SECONDS) -> None:
        """Until `condition` holds; it is looked at after each frame and each loss of the socket."""
        async with asyncio.timeout(timeout_seconds):
            while not condition():
                self.check()
                self._changed.clear()
                await self._changed.wait()

    # Sockets --------------------------------------------------------------------------------------------------------

    def attach(self, wire: Wire, peer_received: int | None) -> None:
        """Go on with this socket: send again from `peer_received` on (None: the session is new)."""
        assert self.wire is None  # so that nothing new is sent before what is sent again
        if peer_received is not None:
            self._acknowledge(peer_received, "at re-attaching")
            for _, frame in self.kept:
                wire.write(frame)
        self.wire = wire
        wire.take_with(
            self.receive,
            on_lost=lambda: self._detached(wire),
            on_writable=self.pump,
            on_error=lambda error: self._frame_error(error),
        )
        self.pump()

    @property
    def attached(self) -> bool:
        return self.wire is not None and not self.wire.lost

    def _detached(self, wire: Wire) -> None:
        if self.wire is wire:
            self.wire = None
            self._wake()

    def _frame_error(self, error: FrameError) -> None:
        self.fail(Violation(str(error), error.reason), Shutdown(0, error.reason, str(error)))

    # Out ------------------------------------------------------------------------------------------------------------

    @property
    def kept_bytes(self) -> int:
        return self.sent - self.acknowledged

    def send(self, frame: Frame) -> None:
        """Count, keep and send a frame; without a socket it only waits."""
        if self.failure is not None:
            return
        data = frame.encode()
        self.sent += len(data)
        self.kept.append((self.sent, data))
        if self.wire is not None:
            self.wire.write(data)

    def send_raw(self, data: bytes) -> None:
        """Send bytes that are perhaps no frame; they are not kept, so the session will not go on after them."""
        assert self.wire is not None
        self.wire.write(data)

    def ping(self) -> bytes:
        """Send a PING; its stamp."""
        stamp = os.urandom(8)
        self._pings.append(stamp)
        self.send(Frame(Type.PING, 0, beat(stamp, self._report())))
        return stamp

    def answered(self, stamp: bytes) -> bool:
        """Whether the PONG to this PING has come."""
        return stamp not in self._pings

    async def ping_and_wait(self, timeout_seconds: float = DEADLINE_SECONDS) -> None:
        """One round trip."""
        stamp = self.ping()
        await self.until(lambda: self.answered(stamp), timeout_seconds)

    def acknowledge(self) -> None:
        """Send an ACK, due or not."""
        self.send(Frame(Type.ACK, 0, number(self._report())))

    def drain(self) -> None:
        """Send DRAIN."""
        self.send(Frame(Type.DRAIN, 0, b""))

    def _report(self) -> int:
        if self.acknowledging:
            self.reported = self.received
        return self.reported

    def pump(self, stream: Stream | None = None) -> None:
        """Send what credit, the socket and the bound on what is kept allow: one frame of each stream in turn."""
        if stream is not None and stream.sendable() and stream not in self._ready:
            self._ready.append(stream)
        while self._ready and self.wire is not None and not self.wire.paused and self.kept_bytes < KEPT_LIMIT_BYTES:
            first = self._ready.popleft()
            if first.sendable():
                first.send_some()
                if first.sendable():
                    self._ready.append(first)

    # In -------------------------------------------------------------------------------------------------------------

    def receive(self, frame: Frame) -> None:
        """Take one whole frame in."""
        if self.failure is not None:
            return
        try:
            self._receive(frame)
        except Violation:
            return  # kept as `failure`: whoever uses the session meets it
        except FrameError as error:
            self._frame_error(error)
            return
        if self.trace is not None:
            self.trace(frame)
        if self.acknowledging and self.received - self.reported >= ACK_DUE_BYTES:
            self.acknowledge()
        self._changed.set()

    def _receive(self, frame: Frame) -> None:
        if frame.type in HANDSHAKE:
            self.violated(f"{frame.type.name}: after the beginning")
        self.received += frame.size
        match frame.type:
            case Type.PING:
                self._acknowledge(int.from_bytes(frame.payload[8:]), "PING")
                if not self.pongs_withheld:
                    self.send(Frame(Type.PONG, 0, beat(frame.payload[:8], self._report())))
            case Type.PONG:
                if not self._pings or self._pings[0] != frame.payload[:8]:
                    self.violated(f"PONG: stamp {frame.payload[:8].hex()} is not that of the oldest PING")
                self._pings.popleft()
                self._acknowledge(int.from_bytes(frame.payload[8:]), "PONG")
            case Type.ACK:
                self.acks_received += 1
                self._acknowledge(int.from_bytes(frame.payload), "ACK")
            case Type.DRAIN:
                self.draining = True
            case Type.SHUTDOWN if frame.id == 0:
                self.fail(SessionEndError(Shutdown.decode(frame.payload)))
            case Type.OPEN:
                self.opened(frame.id, Open.decode(frame.payload))
            case _:
                self._receive_on_stream(frame)

    def opened(self, identifier: int, _: Open) -> None:
        """OPEN has come; only the server side gets any."""
        self.violated(f"OPEN: stream {identifier}")

    def _receive_on_stream(self, frame: Frame) -> None:
        stream = self.streams.get(frame.id)
        if stream is None:
            self.violated(f"{frame.type.name}: stream {frame.id} is not open")
            return
        if frame.type == self.data_in:
            stream.receive_data(frame.payload)
        elif frame.type == Type.GET_DATA:
            stream.receive_credit(int.from_bytes(frame.payload))
        else:
            stream.receive_end(Shutdown.decode(frame.payload))
            self.free(stream)

    def free(self, stream: Stream) -> None:
        """Forget a stream that both have ended."""
        if stream.over and self.streams.get(stream.id) is stream:
            del self.streams[stream.id]

    def _acknowledge(self, count: int, where: str) -> None:
        if count > self.sent:
            self.violated(f"{where}: {count} bytes acknowledged, {self.sent} were sent")
        if count < self.acknowledged:
            if self.epoch <= 1:  # later it may be a frame that is sent again, which says what was true when it was made
                self.violated(f"{where}: {count} bytes acknowledged after {self.acknowledged}")
            return
        while self.kept and self.kept[0][0] <= count:
            self.acknowledged = self.kept.popleft()[0]
        if self.acknowledged != count:
            self.violated(f"{where}: {count} bytes acknowledged, which is within a frame")
        self.pump()

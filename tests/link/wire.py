"""One socket of a link: frames in, bytes out, and ways to break it at a chosen byte."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path

from tests.link.frames import Decoder, Frame, FrameError, Side

Address = tuple[str, int] | Path
DEADLINE_SECONDS = 60.0  # on a busy machine; nothing waits this long when it works
LAST_WORDS_SECONDS = 1.0
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: close() sends RST


class WireClosedError(Exception):
    """The socket ended, and no frame is left."""


def ignore(*_: object) -> None:
    """Whoever owns the wire does not care."""


class Wire(asyncio.Protocol):
    """Frames of `sender`, the other side. They wait in `next_frame` until `take_with` names who takes them."""

    def __init__(self, sender: Side) -> None:
        self._decoder = Decoder(sender)
        self._frames: deque[Frame] = deque()
        self._changed = asyncio.Event()
        self._taker: Callable[[Frame], None] | None = None
        self._on_lost: Callable[[], None] = ignore
        self._on_writable: Callable[[], None] = ignore
        self._on_error: Callable[[FrameError], None] | None = None
        self._sending_left: int | None = None
        self._receiving_left: int | None = None
        self.error: FrameError | None = None
        self.lost = False
        self.paused = False
        self.received_bytes = 0
        self.heard_at = 0.0
        self.transport: asyncio.Transport

    @classmethod
    async def dial(
        cls, address: Address, *, tls: ssl.SSLContext | None = None, server_name: str | None = None
    ) -> "Wire":
        """Connect to a server side."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(DEADLINE_SECONDS):
            if isinstance(address, Path):
                _, wire = await loop.create_unix_connection(lambda: cls("server"), str(address))
            else:
                name = (server_name or address[0]) if tls else None
                _, wire = await loop.create_connection(lambda: cls("server"), *address, ssl=tls, server_hostname=name)
        return wire

    # asyncio's side -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.heard_at = asyncio.get_running_loop().time()
        raw: socket.socket | None = transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        if self.lost or self.error is not None:
            return
        self.heard_at = asyncio.get_running_loop().time()
        if self._receiving_left is not None:
            data, self._receiving_left = data[: self._receiving_left], self._receiving_left - len(data)
        self.received_bytes += len(data)
        try:
            for frame in self._decoder.feed(data):
                if self._taker is None:
                    self._frames.append(frame)
                else:
                    self._taker(frame)
                if self.lost:
                    return
        except FrameError as error:
            self.error = error
            if self._on_error is not None:
                self._on_error(error)
        self._changed.set()
        if self._receiving_left is not None and self._receiving_left <= 0:
            self.cut()

    def connection_lost(self, _: Exception | None) -> None:
        self._end()

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._on_writable()

    # The owner's side -----------------------------------------------------------------------------------------------

    def take_with(
        self,
        taker: Callable[[Frame], None],
        *,
        on_lost: Callable[[], None] = ignore,
        on_writable: Callable[[], None] = ignore,
        on_error: Callable[[FrameError], None] | None = None,
    ) -> None:
        """From now on `taker` gets the frames, first those that wait; it is called from the loop and must not block."""
        self._taker, self._on_lost, self._on_writable, self._on_error = taker, on_lost, on_writable, on_error
        while self._frames and not self.lost:
            taker(self._frames.popleft())
        if self.error is not None and on_error is not None:
            on_error(self.error)
        if self.lost:
            on_lost()

    async def next_frame(self, timeout_seconds: float = DEADLINE_SECONDS) -> Frame:
        """The next frame; WireClosedError if the socket ends first, FrameError if what came is none."""
        async with asyncio.timeout(timeout_seconds):
            while not self._frames:
                if self.error is not None:
                    raise self.error
                if self.lost:
                    raise WireClosedError
                self._changed.clear()
                await self._changed.wait()
        return self._frames.popleft()

    async def wait_lost(self, timeout_seconds: float = DEADLINE_SECONDS) -> None:
        """Until the socket has ended; TimeoutError if it does not."""
        async with asyncio.timeout(timeout_seconds):
            while not self.lost:
                self._changed.clear()
                await self._changed.wait()

    def write(self, data: bytes) -> None:
        """Send bytes, as far as `cut_sending` lets them go."""
        if self.lost:
            return
        if self._sending_left is not None:
            data, left = data[: self._sending_left], self._sending_left - len(data)
            self._sending_left = max(0, left)
            self.transport.write(data)
            if left <= 0:
                self.close()
            return
        self.transport.write(data)

    async def drain(self, timeout_seconds: float = DEADLINE_SECONDS) -> None:
        """Until the kernel has taken what was written, or the socket has ended."""
        async with asyncio.timeout(timeout_seconds):
            while not self.lost and self.transport.get_write_buffer_size():
                await asyncio.sleep(0.002)

    def stop_reading(self) -> None:
        """Let the kernel's buffers fill."""
        self.transport.pause_reading()

    def go_on_reading(self) -> None:
        with contextlib.suppress(RuntimeError):
            self.transport.resume_reading()

    # Breaking it ----------------------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Drop the socket at once; on TCP the other side sees RST."""
        if self.lost:
            return
        raw: socket.socket | None = self.transport.get_extra_info("socket")
        if raw is not None and raw.family != socket.AF_UNIX:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.transport.abort()
        self._end()

    def close(self) -> None:
        """Send what was written, then FIN; what still comes is dropped.

        Closing over unread bytes would make the kernel send RST, and the other side might never read our last words.
        """
        if self.lost:
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.go_on_reading()
            asyncio.get_running_loop().call_later(LAST_WORDS_SECONDS, self.transport.close)
        else:
            self.transport.close()
        self._end()

    def cut_sending(self, after_bytes: int) -> None:
        """The socket ends when exactly so many more bytes were sent."""
        self._sending_left = after_bytes
        if after_bytes == 0:
            self.close()

    def cut_receiving(self, after_bytes: int) -> None:
        """The socket breaks when so many more bytes were received; what came beyond them is lost."""
        self._receiving_left = after_bytes
        if after_bytes == 0:
            self.cut()

    def _end(self) -> None:
        if not self.lost:
            self.lost = True
            self._changed.set()
            self._on_lost()

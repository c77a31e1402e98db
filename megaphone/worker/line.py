"""The socket between a predecessor and its successor: messages with descriptors, each way in order."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import sys
import termios
from typing import TYPE_CHECKING

import msgspec

from megaphone.dispatch.moving import DESCRIPTORS_LIMIT
from megaphone.worker.hand_over import PIECE_BYTES, Assembly, Message, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

# too many descriptors of this user are under way between processes, or no memory for one more message: both pass
_BUSY = (errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM)
_BUSY_SECONDS = 0.01
_BUFFER_BYTES = 4 * 1024 * 1024


class LineLostError(Exception):
    """The other process is gone, or says what is no message."""


class Line:
    """One end. Every call may raise LineLostError; who calls sets the time limit."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        self._socket = end
        self._loop = asyncio.get_running_loop()
        self._assembly = Assembly()

    async def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send one message; of the descriptors, which stay ours, the other process gets copies."""
        for piece in encode(message):
            await self._send(piece, descriptors)
            descriptors = ()

    async def _send(self, piece: bytes, descriptors: Sequence[int]) -> None:
        while True:
            try:
                self._send_now(piece, descriptors)
            except BlockingIOError:
                await self._writable()
            except OSError as error:
                if error.errno not in _BUSY:
                    raise LineLostError(f"the other process is gone: {error.strerror}") from None
                await asyncio.sleep(_BUSY_SECONDS)
            else:
                return

    @property
    def unread_bytes(self) -> int:
        """About how much of what was sent the other process has not read yet."""
        return int.from_bytes(fcntl.ioctl(self._socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    def send_now(self, message: Message) -> None:
        """Send one short message without waiting; LineLostError if it cannot be."""
        (piece,) = encode(message)
        try:
            self._send_now(piece, ())
        except OSError as error:
            raise LineLostError(f"the other process is gone: {error.strerror}") from None

    def _send_now(self, piece: bytes, descriptors: Sequence[int]) -> None:
        flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
        if descriptors:
            socket.send_fds(self._socket, [piece], list(descriptors), flags)
        else:
            self._socket.send(piece, flags)

    async def receive(self) -> tuple[Message, list[int]]:
        """The next message, and its descriptors, which are the caller's."""
        while True:
            try:
                received = self.receive_now()
            except BlockingIOError:
                await self._readable()
            else:
                if received is not None:
                    return received

    def receive_now(self) -> tuple[Message, list[int]] | None:
        """The next message if it is there, None for a part of it; BlockingIOError if there is nothing."""
        try:
            piece, descriptors, flags, _ = socket.recv_fds(
                self._socket, PIECE_BYTES + 1, DESCRIPTORS_LIMIT + 3, socket.MSG_CMSG_CLOEXEC
            )
        except BlockingIOError:
            raise
        except OSError as error:
            raise LineLostError(f"the other process is gone: {error.strerror}") from None
        if not piece:
            raise LineLostError("the other process is gone")
        try:
            received = self._assembly.receive(piece, descriptors)
        except (ValueError, msgspec.MsgspecError) as error:
            raise LineLostError(f"the other process says what is no message: {error}") from None
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            for descriptor in received[1] if received is not None else ():
                os.close(descriptor)
            raise LineLostError("this process cannot hold so many descriptors")
        return received

    def last_word(self) -> Message | None:
        """From now on the other process can say nothing more; the last that it has said before, if it was not read."""
        last = None
        try:
            self._socket.shutdown(socket.SHUT_RD)
            while True:
                received = self.receive_now()
                if received is not None:
                    last = received[0]
        except (OSError, LineLostError):
            return last

    def close(self) -> None:
        """Close the socket, and the descriptors of a message that did not come to its end."""
        self._socket.close()
        for descriptor in self._assembly.descriptors:
            os.close(descriptor)
        self._assembly.descriptors = []

    async def _readable(self) -> None:
        ready = self._loop.create_future()
        self._loop.add_reader(self._socket, wake, ready)
        try:
            await ready
        finally:
            self._loop.remove_reader(self._socket)

    async def _writable(self) -> None:
        ready = self._loop.create_future()
        self._loop.add_writer(self._socket, wake, ready)
        try:
            await ready
        finally:
            self._loop.remove_writer(self._socket)


def wake(ready: asyncio.Future[None]) -> None:
    """End a wait; once is enough."""
    if not ready.done():
        ready.set_result(None)

"""What the reference server side does with a stream: echo it, swallow it, leave it alone, or carry it to a socket."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.link.frames import Open, Reason
from tests.link.stream import Stream
from tests.link.wire import Address

Serve = Callable[[Stream], Awaitable[None]]


async def echo(stream: Stream) -> None:
    """Send back what comes."""
    while data := await stream.read():
        stream.write(data)
        await stream.drain()


async def swallow(stream: Stream) -> None:
    """Read all, say nothing."""
    while await stream.read(timeout_seconds=3_600):
        pass


async def ignore_stream(stream: Stream) -> None:
    """Neither read nor write."""
    await stream.wait_end(timeout_seconds=3_600)


def bridge(address: Address, preamble: Callable[[Open], bytes] | None = None) -> Serve:
    """Carry each stream to a socket of its own at `address`, as a hub does; `preamble` is sent first."""

    async def serve(stream: Stream) -> None:
        try:
            if isinstance(address, Path):
                reader, writer = await asyncio.open_unix_connection(str(address))
            else:
                reader, writer = await asyncio.open_connection(*address)
        except OSError as error:
            await stream.close(Reason.REMOTE_CONNECTION_FAILED, str(error))
            return
        if preamble is not None:
            writer.write(preamble(stream.facts))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_up(stream, writer))
                group.create_task(_down(stream, reader))
        finally:
            writer.transport.abort()

    return serve


async def _up(stream: Stream, writer: asyncio.StreamWriter) -> None:
    while data := await stream.read(timeout_seconds=86_400):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


async def _down(stream: Stream, reader: asyncio.StreamReader) -> None:
    tail = b""
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            tail = (tail + data)[-64:]
            stream.write(data)
            await stream.drain(86_400)
    closed = tail.rstrip().endswith(b"</stream:stream>")
    stream.put_shutdown(Reason.CLOSED if closed else Reason.CONNECTION_LOST)

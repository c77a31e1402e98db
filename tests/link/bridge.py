"""A local TCP port whose connections become virtual streams: real clients (slixmpp) run over a link that way."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from tests.link.edge import Edge, facts
from tests.link.frames import Open, Reason
from tests.link.stream import Stream
from tests.servers.model import Endpoint
from tests.servers.process import LOOPBACK

FOREVER_SECONDS = 86_400.0


@contextlib.asynccontextmanager
async def port(edge: Edge, client: Callable[[], Open] = facts) -> AsyncIterator[Endpoint]:
    """Where clients connect without TLS; `client` makes the facts the edge tells about each."""
    tasks: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_carry(edge.open(client()), reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accepted, LOOPBACK, 0)
    async with server:
        yield Endpoint(LOOPBACK, server.sockets[0].getsockname()[1], "none")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _carry(stream: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    down = asyncio.create_task(_down(stream, writer))
    tail = b""
    try:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                tail = (tail + data)[-64:]
                stream.write(data)
                await stream.drain(FOREVER_SECONDS)
        closed = tail.rstrip().endswith(b"</stream:stream>")
        stream.put_shutdown(Reason.CLOSED if closed else Reason.CONNECTION_LOST)
    finally:
        down.cancel()
        await asyncio.wait([down])
        writer.transport.abort()


async def _down(stream: Stream, writer: asyncio.StreamWriter) -> None:
    while data := await stream.read(timeout_seconds=FOREVER_SECONDS):
        writer.write(data)
        await writer.drain()
    writer.close()

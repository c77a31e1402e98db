"""A relay that tampers with what a server sends: it shows that the clients of a benchmark notice."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.servers.model import Endpoint
from tests.servers.process import LOOPBACK

READ_BYTES = 65_536
STARTED_SECONDS = 10.0

Tamper = Callable[[bytes], bytes]


class Relay:
    """In a thread of its own; `tamper` sees each chunk of each connection, and says what the client gets instead."""

    def __init__(self, server: Endpoint, tamper: Tamper) -> None:
        self._server = server
        self._tamper = tamper
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="tampering relay")
        self.endpoint = server

    def start(self) -> None:
        """Return when it listens at `endpoint`."""
        self._thread.start()
        assert self._started.wait(STARTED_SECONDS)

    def stop(self) -> None:
        """End it, with its connections."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(self._serve, LOOPBACK, 0) as listener:
            self.endpoint = Endpoint(LOOPBACK, listener.sockets[0].getsockname()[1], "none")
            self._started.set()
            await self._stopped.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(self._server.host, self._server.port)
        try:
            await asyncio.gather(
                self._carry(reader, to_server, lambda data: data), self._carry(from_server, writer, self._tamper)
            )
        except ConnectionError:
            pass  # the client has been killed
        finally:
            to_server.close()
            writer.close()

    @staticmethod
    async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tamper: Tamper) -> None:
        while data := await reader.read(READ_BYTES):
            writer.write(tamper(data))
            await writer.drain()
        writer.close()


@contextmanager
def tampered(server: Endpoint, tamper: Tamper) -> Iterator[Endpoint]:
    """Where clients connect to have what `server` says tampered with."""
    relay = Relay(server, tamper)
    relay.start()
    try:
        yield relay.endpoint
    finally:
        relay.stop()


def once(tamper: Tamper, number: int = 5) -> Tamper:
    """Change the first message, and leave all else as it is, of the `number`th chunk that begins with a whole one."""
    seen = 0

    def tampering(data: bytes) -> bytes:
        nonlocal seen
        message, end, others = data.partition(b"</message>")
        if not message.startswith(b"<message") or b"<body>" not in message or not end:
            return data
        seen += 1
        return tamper(message + end) + others if seen == number else data

    return tampering

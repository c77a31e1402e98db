"""A network that breaks: a TCP relay between an edge and its server that can be cut at a byte, and be away."""

import asyncio

from tests.servers.process import LOOPBACK, free_port

READ_BYTES = 65_536


class Network:
    """Carries connections from `address` to `target` while it is there; to be used in one loop, `async with`."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.address = (LOOPBACK, free_port())
        self.carried_bytes = 0  # in both directions
        self.cuts = 0  # connections that `break_within_a_frame` has broken
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._frozen: set[asyncio.StreamWriter] = set()
        self._away = asyncio.Event()
        self._left: dict[asyncio.StreamWriter, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Network":
        await self.come_back()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.go_away()

    async def come_back(self) -> None:
        """Take connections (again)."""
        self._away.clear()
        self._listener = await asyncio.start_server(self._accept, *self.address)

    async def go_away(self) -> None:
        """Refuse new connections and drop those there are."""
        self.refuse()
        self._away.set()
        for writer in list(self._writers):
            writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def refuse(self) -> None:
        """Refuse new connections only."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def freeze(self) -> None:
        """Swallow what the connections there are say from now on, also their end; new ones are carried."""
        self._frozen |= self._writers

    async def break_within_a_frame(self, after_bytes: int) -> None:
        """Let each direction of each connection have so many bytes more, then drop it; returns when all are dropped.

        Somebody has to talk meanwhile. A count of bytes that nobody chose with frames in mind ends within one, but for
        rare luck.
        """
        self.refuse()
        self._left = {writer: after_bytes + 7 * number for number, writer in enumerate(self._writers)}
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._left = {}

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            other_reader, other_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
        else:
            self._writers.add(other_writer)
            ways = [
                asyncio.create_task(way)
                for way in (self._carry(reader, other_writer), self._carry(other_reader, writer))
            ]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for each in (writer, other_writer):
                each.transport.abort()
            await asyncio.wait(ways)
            self._writers.discard(other_writer)
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._carry_data(reader, writer)
        if writer in self._frozen:
            await self._away.wait()

    async def _carry_data(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(READ_BYTES):
                if writer in self._frozen:
                    continue
                left = self._left.get(writer)
                if left is not None:
                    self._left[writer] = left - len(data)
                    if left <= len(data):
                        self.cuts += 1
                        writer.write(data[:left])
                        return
                self.carried_bytes += len(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            return

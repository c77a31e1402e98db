"""A prober: opens new connections all the time and notes what became of each, to see whether anybody is turned away."""

import asyncio
import contextlib
import time
from dataclasses import dataclass

from tests.adversity.crowd import HEADER, STREAM_END
from tests.servers.model import Endpoint

INTERVAL_SECONDS = 0.01
ANSWER_SECONDS = 30.0
SOURCE = "127.0.0.2"  # so that its ports do not run out together with the crowd's


@dataclass(slots=True)
class Probe:
    """One connection: when it was begun (monotonic), how long its answer took, and what the answer was."""

    began_seconds: float
    took_seconds: float = 0.0
    answer: str = ""  # "answered", or what happened instead


class Prober:
    """Begins one connection every 10 ms until it is stopped; each must get the features of a stream."""

    def __init__(self, endpoint: Endpoint, domain: str) -> None:
        self.probes: list[Probe] = []
        self._endpoint = endpoint
        self._header = HEADER % domain.encode()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._loop = asyncio.create_task(self._go_on())

    async def stop(self) -> None:
        """Begin no more and wait for the answers of those under way."""
        assert self._loop is not None
        self._loop.cancel()
        await asyncio.wait([self._loop])
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _go_on(self) -> None:
        while True:
            task = asyncio.create_task(self._probe())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def _probe(self) -> None:
        probe = Probe(time.monotonic())
        self.probes.append(probe)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                probe.answer = await self._ask()
        except TimeoutError:
            probe.answer = "no answer"
        except OSError as error:
            probe.answer = type(error).__name__
        probe.took_seconds = time.monotonic() - probe.began_seconds

    async def _ask(self) -> str:
        reader, writer = await asyncio.open_connection(self._endpoint.host, self._endpoint.port, local_addr=(SOURCE, 0))
        try:
            writer.write(self._header)
            received = b""
            while b"</stream:features>" not in received:
                data = await reader.read(4096)
                if not data:
                    return f"closed after {len(received)} bytes"
                received += data
            writer.write(STREAM_END)
            return "answered"
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

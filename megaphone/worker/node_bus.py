"""The subjects (bus.subjects) of a worker that has no embedded service, which would have its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.bus.local import BusListener, LocalBus
from megaphone.bus.subject_frames import SubjectFrames
from megaphone.bus.subjects import Subjects

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from megaphone.sockets.poller import Poller


class NodeBus:
    """The bus between the workers of this node; with one worker it is the only one."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        poller: Poller,
        *,
        index: int,
        workers: int,
        bus_directory: str,
        bus_fds: Sequence[int],
        fault: Callable[[Exception], None],
    ) -> None:
        self._loop = loop
        self._bus: LocalBus | None = None
        self._closed = False
        taker = SubjectFrames()
        if workers > 1:
            paths = [f"{bus_directory}/{worker}.frames" for worker in range(workers)]
            self._bus = LocalBus(poller, index, paths, taker)
            self._listener = BusListener(self._bus, bus_fds[0])
        self.subjects = taker.subjects = Subjects(self._bus, later=loop.call_soon, fault=fault)

    def open(self) -> None:
        """Start talking to the other workers."""
        if self._bus is not None:
            self._listener.open()
            self._bus.open()

    def sweep(self) -> None:
        """Do what is due; called 8 times a second."""
        if self._closed:
            return
        if self._bus is not None:
            self._bus.sweep()
            self._listener.retry()
        self.subjects.sweep(self._loop.time())

    def close(self) -> None:
        """Hang up; harmless when said twice. A process that goes on in our place dials and listens then."""
        if self._bus is not None and not self._closed:
            self._listener.close()
            self._bus.close()
        self._closed = True

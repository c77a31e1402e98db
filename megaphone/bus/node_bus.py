"""The buses of one worker within its node: the mesh of the workers (bus.local), and the subjects over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from megaphone.bus.local import BusListener, LocalBus
from megaphone.bus.subjects import Subjects

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from megaphone.bus.local import FrameTaker
    from megaphone.sockets.poller import Poller


@dataclass(frozen=True, slots=True)
class BusPlace:
    """Which worker of its node one is, `index` of `workers`, and where they reach each other (supervisor.bus_sockets).

    `fds` are its own listening sockets in `directory`: for frames, for connections; none with one worker.
    """

    index: int
    workers: int
    directory: str
    fds: Sequence[int]

    @property
    def frames(self) -> list[str]:
        """Where each worker is dialled for frames."""
        return [f"{self.directory}/{worker}.frames" for worker in range(self.workers)]

    @property
    def connections(self) -> list[str]:
        """Where each worker is dialled for connections that change hands."""
        return [f"{self.directory}/{worker}.connections" for worker in range(self.workers)]


class NodeBus:
    """The bus between the workers of this node; with one worker there is no mesh.

    `taker` is given the frames, and gives those about subjects to `subjects`. `later` and `fault`: see bus.subjects.
    """

    def __init__(
        self,
        poller: Poller,
        place: BusPlace,
        taker: FrameTaker,
        *,
        later: Callable[[Callable[[], None]], object],
        fault: Callable[[Exception], None],
    ) -> None:
        self.mesh: LocalBus | None = None
        self._closed = False
        if place.workers > 1:
            self.mesh = LocalBus(poller, place.index, place.frames, taker)
            self._listener = BusListener(self.mesh, place.fds[0])
        self.subjects = Subjects(self.mesh, later=later, fault=fault)

    def open(self) -> None:
        """Start talking to the other workers."""
        if self.mesh is not None:
            self._listener.open()
            self.mesh.open()

    def sweep(self, now: float) -> None:
        """Do what is due; called 8 times a second, `now` in seconds of any steady clock."""
        if self._closed:
            return
        if self.mesh is not None:
            self.mesh.sweep()
            self._listener.retry()
        self.subjects.sweep(now)

    def close(self) -> None:
        """Hang up; harmless when said twice. A process that goes on in our place dials and listens then."""
        if self.mesh is not None and not self._closed:
            self._listener.close()
            self.mesh.close()
        self._closed = True

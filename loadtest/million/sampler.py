"""What both sides use while they run: memory, CPU time, and for how long the machine has stalled."""

from collections.abc import Iterable
from typing import Final

from loadtest.million.kernel_memory import Sockets, dropped_frames, free_bytes
from loadtest.million.memory_watch import MemoryWatch
from loadtest.million.processes import busy, cpu_seconds, stalled_seconds

MEGAPHONE: Final = ("workers", "supervisor", "server_kernel")


class Sampler:
    """Megaphone (its supervisor and the workers below it), the load processes, and the kernel.

    Made before Megaphone is started, so that it knows what was free then. PermissionError unless root.
    `connections` are those between the load processes and Megaphone; whoever knows says so.
    """

    def __init__(self) -> None:
        self.connections = 0
        self.memory_empty: dict[str, int] = {}
        self._watch = MemoryWatch()
        self._free_before = free_bytes()
        self._dropped_before = dropped_frames()
        self._stalled_before = stalled_seconds()
        self._busy = busy()
        self._own = 0
        self._loaders: list[int] = []
        self._cpu: dict[int, float] = {}

    def start(self, supervisor: int, loaders: Iterable[int], own: int) -> None:
        """From now on these are looked at; there are no sessions yet."""
        self._loaders, self._own = list(loaders), own
        self._watch.start(supervisor, [*self._loaders, own])
        self.memory_empty = self.memory()
        self.spent()

    def stop(self) -> None:
        """Look at nothing any more."""
        self._watch.stop()

    @property
    def sockets(self) -> Sockets:
        """The machine's sockets, as last looked at."""
        return self._watch.sockets

    @property
    def rounds(self) -> int:
        """How often everything was looked at once more."""
        return self._watch.rounds

    def ask(self) -> int:
        """Have everything looked at once more; it is done when `rounds` is what this returns."""
        return self._watch.ask()

    def memory(self) -> dict[str, int]:
        """Bytes by side, as last looked at."""
        watch, sockets = self._watch, self._watch.sockets
        workers, supervisor = watch.of(watch.workers), watch.of([watch.supervisor])
        loaders, own = watch.of(self._loaders), watch.of([self._own])
        tables = workers.tables + supervisor.tables
        between_workers = len(watch.workers) * (len(watch.workers) - 1)
        return {
            "workers": workers.user,
            "supervisor": supervisor.user,
            "server_kernel": sockets.server_bytes(self.connections, between_workers) + tables,
            "generator": loaders.user + own.user,
            "generator_kernel": sockets.client_bytes(self.connections) + loaders.tables + own.tables,
        }

    def unaccounted_bytes(self) -> int:
        """By how much the machine's free memory has shrunk beyond what `memory` says."""
        return self._free_before - free_bytes() - sum(self.memory().values())

    def dropped_frames(self) -> int:
        """Frames that loopback has dropped since the start."""
        return dropped_frames() - self._dropped_before

    def stalled_seconds(self) -> dict[str, float]:
        """For how long the machine has stalled since the start, by what was lacking."""
        return {what: round(now - self._stalled_before.get(what, 0.0), 2) for what, now in stalled_seconds().items()}

    def spent(self) -> dict[str, float]:
        """CPU seconds by side since the last call; `other` is all else on this machine, `stolen` what its host took."""
        sides = {
            "workers": self._watch.workers,
            "supervisor": [self._watch.supervisor],
            "generator": self._loaders,
            "controller": [self._own],
        }
        now: dict[int, float] = {}
        found = {}
        for side, pids in sides.items():
            total = 0.0
            for pid in pids:
                if (clock := cpu_seconds(pid)) is not None:
                    total += clock - self._cpu.get(pid, 0.0)
                    now[pid] = clock
            found[side] = total
        machine = busy()
        found["other"] = max(0.0, machine.used - self._busy.used - sum(found.values()))
        found["stolen"] = machine.stolen - self._busy.stolen
        self._cpu, self._busy = now, machine
        return found

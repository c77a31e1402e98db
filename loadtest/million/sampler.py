"""Looks at both sides while they run: memory and CPU time, cheaply, since a look costs what it measures."""

from collections.abc import Callable, Iterable
from math import ceil
from typing import Final

from loadtest.million.kernel_memory import Sockets, available_bytes, dropped_frames, read_sockets
from loadtest.million.processes import NOTHING, Memory, busy, children, cpu_seconds, memory_of, stalled_seconds

ROUND_SECONDS: Final = 10.0  # in which the memory of each process is looked at once: that walks all its pages
SOCKETS_SECONDS: Final = 3.0

MEGAPHONE: Final = ("workers", "supervisor", "server_kernel")


class Sampler:
    """Megaphone (its supervisor and the workers below it), the load processes, and the kernel.

    Made before Megaphone is started, so that it knows what was free then. PermissionError unless root.
    """

    def __init__(self) -> None:
        self._sockets = read_sockets()
        self._connections = 0
        self._available_before = available_bytes()
        self._dropped_before = dropped_frames()
        self._stalled_before = stalled_seconds()
        self._supervisor = 0
        self._own = 0
        self._workers: list[int] = []
        self._loaders: list[int] = []
        self._memory: dict[int, Memory] = {}
        self._turn = 0.0
        self._cpu: dict[int, float] = {}
        self._busy = busy()
        self._sockets_at = 0.0
        self.memory_empty: dict[str, int] = {}

    def watch(self, supervisor: int, loaders: Iterable[int], own: int) -> None:
        """From now on these are looked at; without sessions yet."""
        self._supervisor, self._loaders, self._own = supervisor, list(loaders), own
        self.refresh()
        self.spent()
        self.memory_empty = self.memory()

    def refresh(self) -> None:
        """Look at everything at once: at the moments that count."""
        self._workers = children(self._supervisor)
        self._memory = {pid: memory_of(pid) for pid in self._processes()}
        self._sockets = read_sockets()

    def step(self, now: float, seconds: float, connections: int) -> None:
        """Look at a few processes, so that each has had its turn in ROUND_SECONDS; `seconds` since the step before.

        `connections` are those between the load processes and Megaphone.
        """
        self._connections = connections
        if now - self._sockets_at >= SOCKETS_SECONDS:
            self._sockets_at = now
            self._sockets = read_sockets()
            self._workers = children(self._supervisor)
        processes = self._processes()
        self._memory = {pid: self._memory.get(pid, NOTHING) for pid in processes}
        count = min(len(processes), ceil(len(processes) * seconds / ROUND_SECONDS))
        for _ in range(count):
            pid = processes[int(self._turn) % len(processes)]
            self._turn += 1
            self._memory[pid] = memory_of(pid)

    @property
    def workers(self) -> list[int]:
        """The worker processes."""
        return self._workers

    @property
    def sockets(self) -> Sockets:
        """The machine's sockets, as last looked at."""
        return self._sockets

    def memory(self) -> dict[str, int]:
        """Bytes by side, as last looked at."""
        workers, supervisor = self._sum(self._workers), self._sum([self._supervisor])
        between = len(self._workers) * (len(self._workers) - 1)
        loaders, own = self._sum(self._loaders), self._sum([self._own])
        return {
            "workers": workers.user,
            "supervisor": supervisor.user,
            "server_kernel": self._sockets.server_bytes(self._connections, between)
            + workers.tables
            + supervisor.tables,
            "generator": loaders.user + own.user,
            "generator_kernel": self._sockets.client_bytes(self._connections) + loaders.tables + own.tables,
        }

    def unaccounted_bytes(self) -> int:
        """By how much the machine's free memory has shrunk beyond what `memory` says."""
        return self._available_before - available_bytes() - sum(self.memory().values())

    def dropped_frames(self) -> int:
        """Frames that loopback has dropped since the start."""
        return dropped_frames() - self._dropped_before

    def stalled_seconds(self) -> dict[str, float]:
        """For how long the machine has stalled since the start, by what was lacking."""
        return {what: round(now - self._stalled_before.get(what, 0.0), 2) for what, now in stalled_seconds().items()}

    def spent(self) -> dict[str, float]:
        """CPU seconds by side since the last call; `other` is all else on this machine, `stolen` what its host took."""
        sides: dict[str, Callable[[], list[int]]] = {
            "workers": lambda: self._workers,
            "supervisor": lambda: [self._supervisor],
            "generator": lambda: self._loaders,
            "controller": lambda: [self._own],
        }
        now: dict[int, float] = {}
        found = {}
        for side, pids in sides.items():
            total = 0.0
            for pid in pids():
                if (clock := cpu_seconds(pid)) is not None:
                    total += clock - self._cpu.get(pid, 0.0)
                    now[pid] = clock
            found[side] = total
        machine = busy()
        found["other"] = max(0.0, machine.used - self._busy.used - sum(found.values()))
        found["stolen"] = machine.stolen - self._busy.stolen
        self._cpu, self._busy = now, machine
        return found

    def _processes(self) -> list[int]:
        return [self._supervisor, self._own, *self._workers, *self._loaders]

    def _sum(self, pids: list[int]) -> Memory:
        found = [self._memory.get(pid, NOTHING) for pid in pids]
        return Memory(sum(each.user for each in found), sum(each.tables for each in found))

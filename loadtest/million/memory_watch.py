"""Looks at the memory of both sides in a thread of its own: on a busy machine that takes seconds."""

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from math import ceil
from typing import Final

from loadtest.million.kernel_memory import Sockets, read_sockets
from loadtest.million.processes import NOTHING, Memory, children, memory_of

STEP_SECONDS: Final = 1.0
ROUND_SECONDS: Final = 10.0  # in which each process is looked at once: that walks all its pages
SOCKETS_SECONDS: Final = 3.0


class MemoryWatch:
    """Megaphone's supervisor and the workers below it, others by number, and the kernel's sockets, as last seen."""

    def __init__(self) -> None:
        self.sockets: Sockets = read_sockets()
        self.supervisor = 0
        self.workers: list[int] = []
        self.rounds = 0  # how often everything was looked at once more when that was asked for
        self._others: list[int] = []
        self._memory: dict[int, Memory] = {}
        self._turn = 0
        self._sockets_at = 0.0
        self._wanted = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def start(self, supervisor: int, others: Iterable[int]) -> None:
        """Look at everything once, and from now on now and then."""
        self.supervisor, self._others = supervisor, list(others)
        self._look_at_all()
        self._thread.start()

    def stop(self) -> None:
        """Look at nothing any more; may be called before `start`."""
        self._stopped = True
        self._wanted.set()
        if self._thread.ident is not None:
            self._thread.join(ROUND_SECONDS)

    def ask(self) -> int:
        """Have everything looked at; it is done when `rounds` is what this returns."""
        rounds = self.rounds + 1
        self._wanted.set()
        return rounds

    def of(self, pids: Iterable[int]) -> Memory:
        """The memory of these together."""
        found = [self._memory.get(pid, NOTHING) for pid in pids]
        return Memory(sum(each.user for each in found), sum(each.tables for each in found))

    def _run(self) -> None:
        while not self._stopped:
            if self._wanted.wait(STEP_SECONDS):
                self._wanted.clear()
                self._look_at_all()
                self.rounds += 1
            else:
                self._look_at_some()

    def _look_at_all(self) -> None:
        self._look_at_sockets()
        for pid in self._processes():
            if self._stopped:
                return
            self._memory[pid] = memory_of(pid)

    def _look_at_some(self) -> None:
        if time.monotonic() - self._sockets_at >= SOCKETS_SECONDS:
            self._look_at_sockets()
        processes = self._processes()
        for _ in range(ceil(len(processes) * STEP_SECONDS / ROUND_SECONDS)):
            pid = processes[self._turn % len(processes)]
            self._turn += 1
            self._memory[pid] = memory_of(pid)

    def _look_at_sockets(self) -> None:
        self._sockets_at = time.monotonic()
        self.sockets = read_sockets()
        with suppress(OSError):  # it has just ended; whoever waits for it will say so
            self.workers = children(self.supervisor)

    def _processes(self) -> list[int]:
        return [self.supervisor, *self.workers, *self._others]

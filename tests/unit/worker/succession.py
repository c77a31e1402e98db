"""A worker and its successor, with this test as their supervisor: the socket between them, and what each is told."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.unit.edge.dialogue import ANSWER, FEATURES
from tests.unit.worker.worker_under_test import WorkerUnderTest


class Succession:
    """Starts successors, one after the other, and tells each worker to hand over to the next."""

    def __init__(self, directory: Path, start: Callable[..., WorkerUnderTest], upstream: socket.socket) -> None:
        self._directory = directory
        self._start = start
        self._upstream = upstream
        self._started = 0
        self.path = ""

    def successor(self, more: str = "", **options: Any) -> WorkerUnderTest:
        """A process that can take over (its `path` is ours until the next one)."""
        self._started += 1
        self.path = str(self._directory / f"take-over-{self._started}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            listening.bind(self.path)
            listening.listen(1)
            worker = self._start(more, ready=False, take_over=listening, **options)
        worker.expect("ready")
        return worker

    def begin(self, worker: WorkerUnderTest, *, per_second: float = 100_000, deadline: float = 30) -> None:
        """Tell a worker to hand over to the last successor."""
        worker.tell(type="hand_over", path=self.path, connections_per_second=per_second, deadline_seconds=deadline)

    def hand_over(
        self, worker: WorkerUnderTest, *, more: str = "", check: bool = True, **options: Any
    ) -> tuple[WorkerUnderTest, dict[str, Any]]:
        """The successor that has taken over, and what the worker said last; that one has exited."""
        successor = self.successor(more, **options)
        self.begin(worker)
        taken = successor.expect("took_over")
        handed = worker.expect("handed_over")
        assert taken["moved"] == handed["moved"]
        assert worker.wait_exit() == 0
        if check:
            self.answer_check()
        return successor, handed

    def answer_check(self) -> None:
        """Be a healthy server: whoever begins to serve, or goes on, checks at once."""
        check, _ = self._upstream.accept()
        with check:
            check.settimeout(20)
            check.recv(65_536)
            check.sendall(ANSWER + FEATURES)

"""What the suite of the bus runs on: workers that can be started and killed, whatever carries their subjects.

Another carrier joins by a class with the methods of Network and an entry in CARRIERS.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

from megaphone.bus.local import PythonTaker
from megaphone.bus.nats import NATSBus
from megaphone.bus.ports import NobodyThere
from megaphone.bus.subjects import Subjects
from tests.servers.nats import NATS
from tests.unit.bus.test_local import Mesh

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path
    from typing import Any

    from megaphone.bus.ports import Answer, Bus, Limits


DEADLINE_SECONDS = 20.0


class Network(Protocol):
    """Some workers, 0 to 2."""

    faults: list[Exception]  # what subscribers have raised

    def start(self, index: int) -> Bus:
        """Start a worker, or the successor of one that has been killed."""

    def kill(self, index: int) -> None:
        """Kill its process."""

    def until(self, condition: Callable[[], bool]) -> None:
        """Let all go on until this is true; fail at a deadline."""

    def settle(self) -> None:
        """Let all go on until everybody knows what everybody living subscribes to."""

    def pass_time(self, seconds: float) -> None:
        """Let time-outs happen that are due by then."""

    def close(self) -> None:
        """End all."""


class SubjectsMesh:
    """Subjects over the mesh of one node, its workers in this process."""

    def __init__(self, directory: Path, limits: Limits, limit_bytes: int = 1_000_000) -> None:
        self.limits = limits
        self.faults: list[Exception] = []
        self.mesh = Mesh(directory, 3, limit_bytes, SubjectsTaker)
        self.subjects: dict[int, Subjects] = {}
        self.work: dict[int, deque[Callable[[], None]]] = {}
        self.now = 0.0

    def start(self, index: int) -> Subjects:
        member = self.mesh.start(index)
        work = self.work[index] = deque()
        subjects = Subjects(member.bus, later=work.append, fault=self.faults.append, limits=self.limits)
        assert isinstance(member.taker, SubjectsTaker)
        member.taker.subjects = subjects
        subjects.subscribe(f"settled.{index}", lambda message: b"yes")
        self.subjects[index] = subjects
        return subjects

    def kill(self, index: int) -> None:
        del self.subjects[index], self.work[index]
        self.mesh.kill(index)

    def turn(self) -> None:
        for index, subjects in list(self.subjects.items()):
            subjects.sweep(self.now)
            for _ in range(len(self.work[index])):
                self.work[index].popleft()()

    def until(self, condition: Callable[[], bool]) -> None:
        def turned() -> bool:
            self.turn()
            return condition()

        self.mesh.until(turned)

    def settle(self) -> None:
        """Whoever has answered has said before what it subscribes to: each pair has one socket each way."""
        for asking in list(self.subjects.values()):
            for index in list(self.subjects):
                self._settle(asking, index)

    def _settle(self, asking: Subjects, index: int) -> None:
        answers: list[Answer] = []

        under_way = False

        def settled() -> bool:
            nonlocal under_way
            if answers and isinstance(answers[-1], NobodyThere):
                answers.clear()
                under_way = False
            under_way = under_way or asking.request(f"settled.{index}", b"", 1000, answers.append)
            return answers == [b"yes"]

        self.until(settled)

    def pass_time(self, seconds: float) -> None:
        self.turn()
        self.now += seconds
        self.turn()

    def close(self) -> None:
        self.mesh.close()


class SubjectsTaker(PythonTaker):
    """Passes on what peers say as HomeFrames does: each frame, and who is lost after all that it has said."""

    subjects: Subjects

    def __init__(self) -> None:
        self.on_batch = self.pass_on

    def pass_on(self, _: int) -> None:
        frames = list(self.frames)
        self.frames.clear()
        for peer, kind, payload in frames:
            self.subjects.take_frame(peer, kind, payload)

    def peer_lost(self, peer: int) -> None:
        self.pass_on(peer)
        self.subjects.peer_lost(peer)


class NATSNetwork:
    """NATSBus over a real nats-server, all workers in this process; time for time-outs is what `pass_time` says."""

    def __init__(self, directory: Path, limits: Limits) -> None:
        self.limits = limits
        self.faults: list[Exception] = []
        self.server = NATS(directory / "nats")
        self.loop = asyncio.new_event_loop()
        self.buses: dict[int, NATSBus] = {}
        self.serials: dict[int, str] = {}  # a subject that only one process of a worker ever has
        self.started = 0
        self.now = 0.0
        self.server.start()
        self.observer = self._open(limits)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(asyncio.wait_for(work, DEADLINE_SECONDS))

    def _open(self, limits: Limits) -> NATSBus:
        bus = NATSBus(
            self.server.access, "conformance", fault=self.faults.append, limits=limits, clock=lambda: self.now
        )
        self._run(bus.open())
        return bus

    def start(self, index: int) -> NATSBus:
        self.started += 1
        bus = self.buses[index] = self._open(self.limits)
        self.serials[index] = f"alive.{self.started}"
        bus.subscribe(self.serials[index], lambda message: b"yes")
        return bus

    def kill(self, index: int) -> None:
        """Until the server has noticed: nothing else tells a request to the dead from one that takes its time."""
        self.buses.pop(index).abort()
        answers: list[Answer] = [b""]

        def gone() -> bool:
            self.now += 1e-3
            if not answers:
                return False
            if answers.pop() == NobodyThere(asked=False):
                return True
            self.observer.request(self.serials[index], b"", 0.01, answers.append)
            return False

        self.until(gone)

    def until(self, condition: Callable[[], bool]) -> None:
        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.001)

        self._run(wait())

    def settle(self) -> None:
        """What was said is at the server, then at who hears it, then the answer at the server, then at who asked."""

        async def wait() -> None:
            for _ in range(3):
                for bus in self.buses.values():
                    await bus.round_trip()

        self._run(wait())

    def pass_time(self, seconds: float) -> None:
        for passed in (0.0, seconds):
            self.now += passed
            for bus in self.buses.values():
                bus.sweep(self.now)

    def close(self) -> None:
        for bus in (self.observer, *self.buses.values()):
            self._run(bus.close())
        self.loop.close()
        self.server.stop()


def open_network(carrier: str, directory: Path, limits: Limits) -> Network:
    return CARRIERS[carrier](directory, limits)


CARRIERS: dict[str, Callable[[Path, Limits], Network]] = {"nats": NATSNetwork, "subjects": SubjectsMesh}

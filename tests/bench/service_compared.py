"""What the parts of `make bench WHAT=service` share: figures of Megaphone beside both peers, and servers in turn."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.measure import Cost
from tests.bench.report.figure import Figure, Target
from tests.bench.services import MECHANISM, Service, running
from tests.bench.talkers import TalkingClients, talking_clients

PEERS = EJABBERD, PROSODY = "ejabberd", "prosody"


class Efficiency:
    """Of one kind of work: how much for a CPU-second of the server, and what else tells whether that is to be believed.

    `targets` are the least ratios to the peers, `least` is the least value; None: there is no target. How long a
    delivery takes is a detail unless `delays` says otherwise. Not `named`: the table's title says what is counted.
    """

    def __init__(
        self,
        what: str,
        work: str,
        targets: dict[str, float],
        least: float | None = None,
        *,
        delays: tuple[str, ...] = (),
        until: str = "until the last delivery",
        named: bool = True,
    ) -> None:
        wanted = [Target("ratio", least_ratio, at_most=False, peer=peer) for peer, least_ratio in targets.items()]
        if least is not None:
            wanted.append(Target("value", least, at_most=False))
        name = f"{what}: {work} per CPU-second" if named else what
        self.efficiency = Figure(name, "1/s", *wanted, digits=0, peers=PEERS)
        self.speed = Figure(f"{what}: {work} per second", "1/s", digits=0, peers=PEERS, detail=True)
        self.server = Figure(f"{what}: the server's CPU", "cores", peers=(), detail=True)
        self.clients = Figure(f"{what}: the clients' CPU", "cores", peers=(), detail=True)
        self.delays = {
            part: Figure(f"{what}: time {until}, {part}", "ms", digits=1, peers=PEERS, detail=part not in delays)
            for part in ("p50", "p99")
        }

    def add(self, name: str, taken: Cost) -> None:
        """Record a round."""
        answer = taken.answer
        self.efficiency.add(name, taken.per_cpu_second)
        self.speed.add(name, answer["completed"] / answer["seconds"])
        self.server.add(name, taken.cpu_seconds / answer["seconds"])
        self.clients.add(name, answer["cpu_seconds"] / answer["seconds"])
        for part, figure in self.delays.items():
            figure.add(name, answer[f"{part}_us"] / 1_000)

    @property
    def figures(self) -> list[Figure]:
        """All of them."""
        return [self.efficiency, self.speed, self.server, self.clients, *self.delays.values()]


@dataclass(frozen=True, slots=True)
class Talk:
    """A service, and the clients that have logged in there."""

    service: Service
    clients: TalkingClients


@contextmanager
def talking(clients: dict[str, int]) -> Iterator[dict[str, Talk]]:
    """All these services at the same time, each with so many clients that have sent presence."""
    with tempfile.TemporaryDirectory(prefix="megaphone-bench-") as directory, ExitStack() as stack:
        talks = {}
        for name, count in clients.items():
            service = stack.enter_context(running(name, Path(directory) / name, count))
            talkers = stack.enter_context(talking_clients(service.endpoint, MECHANISM, count))
            talkers.open(count)
            talks[name] = Talk(service, talkers)
        yield talks

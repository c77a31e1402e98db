"""A room of thousands over three nodes: deliveries, how long the last one takes, and who uses the CPU for it."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.cluster_nodes import ALONE, CLUSTER, Running, Spent, running, running_alone
from tests.bench.cluster_stacks import PARTS, REST, program, sampled
from tests.bench.report.figure import Figure
from tests.bench.service_room import WARM_UP_MESSAGES, WAYS
from tests.bench.services import MECHANISM
from tests.bench.talkers import TalkingClients, talking_clients
from tests.servers.model import Endpoint

ROOM = "crowd"
SAMPLED_MESSAGES = 32
NOTHING = Spent(0.0, 0.0, 0.0, 0.0)


class Way:
    """The figures of one way to talk in the room."""

    def __init__(self, what: str) -> None:
        peers = (ALONE,)
        self.speed = Figure(f"{what}: deliveries per second", "1/s", digits=0, ours=CLUSTER, peers=peers)
        self.efficiency = Figure(f"{what}: deliveries per CPU-second", "1/s", digits=0, ours=CLUSTER, peers=peers)
        self.last = Figure(f"{what}: time until the last delivery, p99", "ms", digits=1, ours=CLUSTER, peers=peers)
        self.median = Figure(
            f"{what}: time until the last delivery, p50", "ms", digits=1, ours=CLUSTER, peers=peers, detail=True
        )
        self.shares = {
            part: Figure(f"{what}: share of the CPU: {part}", "%", digits=1, ours=CLUSTER, peers=peers)
            for part in (*PARTS, "NATS")
        }

    def add(self, name: str, answer: dict[str, Any], cpu_seconds: float) -> None:
        """Record a round."""
        self.speed.add(name, answer["completed"] / answer["seconds"])
        self.efficiency.add(name, answer["completed"] / cpu_seconds)
        self.last.add(name, answer["p99_us"] / 1_000)
        self.median.add(name, answer["p50_us"] / 1_000)

    @property
    def figures(self) -> list[Figure]:
        """All of them."""
        return [self.speed, self.efficiency, self.last, self.median, *self.shares.values()]


@dataclass(frozen=True, slots=True)
class Crowd:
    """Nodes, and the occupants of a room on them."""

    servers: Running
    clients: TalkingClients

    def talk(self, way: str, messages: int) -> tuple[dict[str, Any], Spent]:
        """Send messages; what the clients say of it, and the CPU time that it took."""
        before = self.servers.spent()
        answer = self.clients.talk_in_room(*WAYS[way], messages)
        return answer, self.servers.spent().since(before)


@contextmanager
def crowd(servers: Running, occupants: int) -> Iterator[Crowd]:
    """A room whose occupants are on all nodes in turn; it tells nobody who comes, which is not what is measured."""
    endpoints: list[Endpoint] = [node.open for node in servers.nodes]
    room = f"{ROOM}@{servers.rooms}"
    with talking_clients(endpoints, MECHANISM, occupants) as clients:
        clients.open(occupants)
        clients.enter(room, 1)
        clients.hide_participants(room)
        if servers.nats is not None:
            servers.wait_for_row(ROOM)
        clients.enter(room, occupants - 1)
        servers.settle()
        yield Crowd(servers, clients)


def measure_room(occupants: int, rounds: int, messages: int, sampled_seconds: float) -> list[Figure]:
    """`messages` are sent in each round, in the cluster and at a node alone in turn; entering is not measured.

    Stacks are looked at while messages are under way for `sampled_seconds`, in each way and at each of the two.
    """
    ways = {what: Way(what) for what in WAYS}
    with tempfile.TemporaryDirectory(prefix="megaphone-bench-") as name, ExitStack() as stack:
        crowds = [
            stack.enter_context(crowd(servers, occupants))
            for servers in (
                stack.enter_context(running(Path(name), occupants)),
                stack.enter_context(running_alone(Path(name), occupants)),
            )
        ]
        for each in crowds:
            each.talk("one sender", WARM_UP_MESSAGES)
        for _ in range(rounds):
            for what, way in ways.items():
                for each in crowds:
                    answer, spent = each.talk(what, messages)
                    way.add(each.servers.name, answer, spent.whole)
        if program() is None:
            print(
                "py-spy is not installed, so nothing is said of shares of the CPU: pip install py-spy", file=sys.stderr
            )
            return [figure for way in ways.values() for figure in way.figures if figure.rounds]
        for what, way in ways.items():
            for each in crowds:
                for part, share in shares(each, what, Path(name), sampled_seconds).items():
                    way.shares[part].add(each.servers.name, 100 * share)
    return [figure for way in ways.values() for figure in way.figures]


def shares(talking: Crowd, way: str, directory: Path, sampled_seconds: float) -> dict[str, float]:
    """Which part of the CPU time of all servers goes where, while they are sampled."""
    whole, seconds = NOTHING, 0.0
    workers = [pid for node in talking.servers.nodes for pid in node.worker_processes()]
    with sampled(workers, directory) as stacks:
        while seconds < sampled_seconds:
            answer, spent = talking.talk(way, SAMPLED_MESSAGES)
            seconds += answer["seconds"]
            whole = whole.plus(spent)
    found = {part: share * whole.loops for part, share in stacks.shares().items()}
    found["history"] += whole.writers
    found[REST] += whole.nodes - whole.loops - whole.writers  # supervisors
    found["NATS"] = whole.engine
    return {part: seconds / whole.whole for part, seconds in found.items()}

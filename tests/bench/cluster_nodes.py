"""The nodes that `make bench WHAT=cluster` measures: three and a NATS, or one that knows of no other."""

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from megaphone.bus.nats_access import Access
from megaphone.storage.database import database_path
from tests.bench import usage
from tests.bench.services import MegaphoneService
from tests.servers.megaphone import Node
from tests.servers.nats import NATS
from tests.servers.process import ServerError, wait_until

CLUSTER, ALONE = "3 nodes", "1 node"
NODES = ("a", "b", "c")
NAME = "bench"
JOIN_SECONDS = 60.0
SPREAD_SECONDS = 60.0
KEPT_MESSAGES = 1_000_000


class ClusterService(MegaphoneService):
    """A node; `access` is where its NATS is, None for one that is alone."""

    def __init__(self, directory: Path, count: int, name: str, access: Access | None) -> None:
        super().__init__(directory, count)
        self.name = name
        self.tables["rooms"] = {"kept_messages": KEPT_MESSAGES}
        if access is not None:
            servers = [f"nats://{each.host}:{each.port}" for each in access.servers]
            self.tables["cluster"] = {"name": NAME, "servers": servers, "node_name": name}

    @property
    def database(self) -> str:
        """Its file."""
        return database_path(str(self._data))

    def worker_processes(self) -> list[int]:
        """The process ids of its workers."""
        return Node.workers(self)

    def rows(self, query: str, *values: object) -> list[Any]:
        """What a query of its database gives; nothing while there is no such table."""
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10.0)) as database:
            return database.execute(query, values).fetchall()


class Spent(NamedTuple):
    """CPU seconds: of the nodes and of NATS; and of the nodes', those of workers' loops and of their SQLite writers."""

    nodes: float
    engine: float
    loops: float
    writers: float

    @property
    def whole(self) -> float:
        """Of all servers."""
        return self.nodes + self.engine

    def since(self, before: "Spent") -> "Spent":
        """What has been spent since then."""
        return Spent(*(now - then for now, then in zip(self, before, strict=True)))

    def plus(self, other: "Spent") -> "Spent":
        """Both together."""
        return Spent(*(one + another for one, another in zip(self, other, strict=True)))


def _thread_seconds(pid: int, thread: int) -> float:
    return int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0]) / 1e9


@dataclass(frozen=True, slots=True)
class Running:
    """Nodes that run, and their NATS, if they have one."""

    name: str
    nodes: list[ClusterService]
    nats: NATS | None
    rooms: str

    def spent(self) -> Spent:
        """CPU time so far."""
        nodes = sum(usage.cpu_seconds(node.process.pid) for node in self.nodes)
        workers = [pid for node in self.nodes for pid in node.worker_processes()]
        loops = sum(_thread_seconds(pid, pid) for pid in workers)
        writers = sum(
            _thread_seconds(pid, int(task.name))
            for pid in workers
            for task in Path(f"/proc/{pid}/task").iterdir()
            if int(task.name) != pid
        )
        engine = 0.0 if self.nats is None else usage.cpu_seconds(self.nats.process.pid)
        return Spent(nodes, engine, loops, writers)

    def settle(self) -> None:
        """Return when they have done what they were told to do."""
        for node in self.nodes:
            usage.settled_cpu_seconds(node.process.pid)

    def wait_for_row(self, room: str) -> None:
        """Return when what a node says of a room has come to all of them."""
        query = "SELECT config, creator, created FROM room WHERE name = ?"

        def same() -> bool:
            found = [node.rows(query, room) for node in self.nodes]
            return all(found) and all(each == found[0] for each in found)

        wait_until(same, f"the room {room} on all nodes", SPREAD_SECONDS)


@contextmanager
def running(
    directory: Path, count: int, access_of: Callable[[str, NATS], Access] = lambda _, nats: nats.access
) -> Iterator[Running]:
    """The cluster; each node has `count` accounts, and reaches NATS where `access_of` says."""
    with ExitStack() as stack:
        nats = NATS(directory / "nats")
        stack.callback(nats.stop)
        nats.start()
        nodes = []
        for name in NODES:
            node = ClusterService(directory / name, count, name, access_of(name, nats))
            stack.callback(node.stop)
            node.start()
            print(f"node {name} runs as process {node.process.pid}", file=sys.stderr)
            nodes.append(node)
        wait_until(lambda: all(_members(node) == len(NODES) for node in nodes), "a cluster", JOIN_SECONDS)
        cluster = Running(CLUSTER, nodes, nats, nodes[0].rooms)
        cluster.settle()
        yield cluster


@contextmanager
def running_alone(directory: Path, count: int) -> Iterator[Running]:
    """One node."""
    node = ClusterService(directory / "alone", count, "alone", None)
    try:
        node.start()
        yield Running(ALONE, [node], None, node.rooms)
    finally:
        node.stop()


def _members(node: ClusterService) -> int:
    try:
        return int(node.metric("megaphone_nodes", worker="0"))
    except ServerError:
        return 0

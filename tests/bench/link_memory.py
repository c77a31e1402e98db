"""The memory of a whole host with thousands of idle TLS clients: all in the server, or through an edge and links."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench import kernel, usage
from tests.bench.hosts import ALONE, LINK, WAYS, check_links, running
from tests.bench.logins import login_clients
from tests.bench.report.figure import Figure, Target

MB = 1_000_000


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Bytes, with all clients logged in. The clients' process and their ends of the connections are not counted."""

    clients: int
    server: int  # anonymous memory of its processes
    edge: int
    kernel: int  # sockets of server and edge, and the page tables of both
    empty: int  # server and edge before the first client
    server_rss: int
    available: int  # by how much MemAvailable has shrunk since before the server was started
    server_sockets: int
    edge_sockets: int
    server_descriptors: int
    bytes_per_socket: int
    logged_in_per_second: float

    @property
    def total(self) -> int:
        """Server, edge and kernel."""
        return self.server + self.edge + self.kernel


@dataclass(frozen=True, slots=True)
class Part:
    """What is reported of a host."""

    name: str
    unit: str
    value: Callable[[HostMemory], float]
    detail: bool = False


TOTAL = "whole host"
STACK = (TOTAL, "server", "edge", "kernel")  # the sum and what it consists of
PARTS = (
    Part(TOTAL, "MB", lambda memory: memory.total / MB),
    Part("server", "MB", lambda memory: memory.server / MB),
    Part("edge", "MB", lambda memory: memory.edge / MB),
    Part("kernel", "MB", lambda memory: memory.kernel / MB),
    Part("growth per client", "kB", lambda memory: (memory.total - memory.empty) / memory.clients / 1_000),
    Part("server's RSS", "MB", lambda memory: memory.server_rss / MB),
    Part("difference of MemAvailable", "MB", lambda memory: memory.available / MB, detail=True),
    Part("server's descriptors", "1", lambda memory: memory.server_descriptors),
    Part("server's sockets", "1", lambda memory: memory.server_sockets, detail=True),
    Part("edge's sockets", "1", lambda memory: memory.edge_sockets, detail=True),
    Part("kernel memory of a socket", "kB", lambda memory: memory.bytes_per_socket / 1_000, detail=True),
)


def measure_host(kind: str, way: str, clients: int) -> HostMemory:
    """Start the server (and the edge), log the clients in, wait until memory has settled."""
    with tempfile.TemporaryDirectory(prefix="megaphone-bench-") as name:
        available, sockets = kernel.available_bytes(), kernel.sockets()
        with (
            running(kind, Path(name) / "host", with_edge=way == LINK) as host,
            login_clients(host.endpoint) as swarm,
        ):
            empty = {part: usage.settled_resident_bytes(pid) for part, pid in host.process_ids.items()}
            logins = swarm.open(clients)
            check_links(host)
            trees = host.process_ids
            full = {part: usage.settled_resident_bytes(pid) for part, pid in trees.items()}
            tables = sum(usage.status_bytes(pid, "VmPTE") for pid in trees.values())
            per_socket = kernel.sockets().bytes_each(sockets)
            own = {part: usage.descriptors(pid, "socket:") for part, pid in trees.items()}
            theirs = usage.status_bytes(swarm.process_id, "VmRSS") + usage.status_bytes(swarm.process_id, "VmPTE")
            return HostMemory(
                clients=clients,
                server=full["server"],
                edge=full.get("edge", 0),
                kernel=int(per_socket * sum(own.values())) + tables,
                empty=sum(empty.values()),
                server_rss=usage.status_bytes(trees["server"], "VmRSS"),
                available=int(available - kernel.available_bytes() - theirs - per_socket * clients),
                server_sockets=own["server"],
                edge_sockets=own.get("edge", 0),
                server_descriptors=usage.descriptors(trees["server"]),
                bytes_per_socket=int(per_socket),
                logged_in_per_second=logins.per_second,
            )


def measure_memory(kinds: list[str], clients: int) -> list[Figure]:
    """Every kind of server, both ways."""
    figures = []
    for kind in kinds:
        measured = {way: measure_host(kind, way, clients) for way in WAYS}
        # the target is for ejabberd
        targets = (Target("ratio", 0.7),) if kind == "ejabberd" else ()
        for part in PARTS:
            figures.append(_figure(kind, part, measured, targets if part.name == TOTAL else ()))
    return figures


def _figure(kind: str, part: Part, measured: dict[str, HostMemory], targets: tuple[Target, ...]) -> Figure:
    figure = Figure(
        f"{kind}: {part.name}",
        part.unit,
        *targets,
        digits=1 if part.unit == "kB" else 0,
        ours=LINK,
        peers=(ALONE,),
        detail=part.detail,
    )
    for way, memory in measured.items():
        if way == LINK or not part.name.startswith("edge"):
            figure.add(way, part.value(memory))
    return figure

"""The memory of a whole host whose server has thousands of idle TLS clients: at the server, or through edge and link."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.bench import kernel, usage
from tests.bench.hosts import ALONE, LINK, WAYS, check_links, running
from tests.bench.logins import login_clients
from tests.bench.report import Figure, Target

MB = 1_000_000


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Bytes, with all clients logged in. The clients' process and their ends of the connections are not counted."""

    server: int  # anonymous memory of its processes
    edge: int
    kernel: int  # sockets of server and edge, and the page tables of both
    server_rss: int
    available: int  # by how much MemAvailable has shrunk since before the server was started
    server_descriptors: int
    edge_descriptors: int
    sockets: int  # in the kernel, without the clients' ends
    logged_in_per_second: float

    @property
    def total(self) -> int:
        """Server, edge and kernel."""
        return self.server + self.edge + self.kernel


def measure_host(kind: str, way: str, clients: int) -> HostMemory:
    """Start the server (and the edge), log the clients in, wait until memory has settled."""
    with tempfile.TemporaryDirectory(prefix="megaphone-bench-") as name:
        available, socket_bytes, sockets = kernel.available_bytes(), kernel.socket_bytes(), kernel.sockets()
        with (
            running(kind, Path(name) / "host", with_edge=way == LINK) as host,
            login_clients(host.endpoint) as swarm,
        ):
            logins = swarm.open(clients)
            check_links(host)
            trees = host.process_ids
            private = {part: usage.settled_resident_bytes(pid) for part, pid in trees.items()}
            tables = sum(usage.status_bytes(pid, "VmPTE") for pid in trees.values())
            new_sockets = kernel.sockets() - sockets
            per_socket = (kernel.socket_bytes() - socket_bytes) / new_sockets
            theirs = usage.status_bytes(swarm.process_id, "VmRSS") + usage.status_bytes(swarm.process_id, "VmPTE")
            counted = new_sockets - clients
            return HostMemory(
                server=private["server"],
                edge=private.get("edge", 0),
                kernel=int(per_socket * counted) + tables,
                server_rss=usage.status_bytes(trees["server"], "VmRSS"),
                available=int(available - kernel.available_bytes() - theirs - per_socket * clients),
                server_descriptors=usage.descriptors(trees["server"]),
                edge_descriptors=usage.descriptors(trees["edge"]) if host.edge else 0,
                sockets=counted,
                logged_in_per_second=logins.per_second,
            )


def measure_memory(kinds: list[str], clients: int) -> tuple[list[Figure], dict[str, dict[str, HostMemory]]]:
    """Every kind of server, both ways; also what was measured, by kind and way."""
    figures, measured = [], {}
    for kind in kinds:
        measured[kind] = {way: measure_host(kind, way, clients) for way in WAYS}
        # the target is for ejabberd
        target = Target("ratio", 0.7) if kind == "ejabberd" else None
        figures += _figures(f"{kind}, {clients:,} TLS clients", measured[kind], target)
    return figures, measured


def _figures(what: str, measured: dict[str, HostMemory], target: Target | None) -> list[Figure]:
    rows = (
        ("whole host", "MB", lambda memory: memory.total / MB, target),
        ("server", "MB", lambda memory: memory.server / MB, None),
        ("edge", "MB", lambda memory: memory.edge / MB, None),
        ("kernel", "MB", lambda memory: memory.kernel / MB, None),
        ("MemAvailable's difference", "MB", lambda memory: memory.available / MB, None),
        ("server's RSS", "MB", lambda memory: memory.server_rss / MB, None),
        ("server's descriptors", "1", lambda memory: memory.server_descriptors, None),
        ("edge's descriptors", "1", lambda memory: memory.edge_descriptors, None),
        ("kernel sockets", "1", lambda memory: memory.sockets, None),
    )
    figures = []
    for name, unit, value, limit in rows:
        figure = Figure(f"{what}: {name}", unit, limit, 0, ours=LINK, peer=ALONE)
        for way in WAYS:
            if way in measured and (way == LINK or not name.startswith("edge")):
                figure.add(way, value(measured[way]))
        figures.append(figure)
    return figures

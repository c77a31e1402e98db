"""A login storm: thousands of TLS clients connect to a running server at the same moment, with SCRAM-SHA-1."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.bench.hosts import ALONE, LINK, WAYS, Host, check_links, running
from tests.bench.logins import Logins, login_clients
from tests.bench.report.figure import Figure
from tests.servers.connections import established
from tests.servers.process import wait_until

GONE_SECONDS = 60.0


def storm(host: Host, clients: int) -> Logins:
    """All connect at once; returns when every one has its session, and all have left again.

    One has logged in before, so that the clients have derived their keys and all links stand.
    """
    endpoint = host.endpoint
    with login_clients(endpoint) as swarm:
        swarm.open(1)
        check_links(host)
        logins = swarm.open(clients, at_once=clients)
        swarm.close(clients + 1)
    wait_until(lambda: established([endpoint.port]) == 0, f"{clients} clients gone", GONE_SECONDS)
    return logins


def measure_storm(kind: str, clients: int, rounds: int) -> list[Figure]:
    """The same server software twice, alone and behind the edge, stormed in turn."""
    what = f"{kind}, storm of {clients:,}"
    speed = Figure(f"{what}: logins", "1/s", digits=0, ours=LINK, peers=(ALONE,))
    worst = Figure(f"{what}: worst login", "s", ours=LINK, peers=(ALONE,))
    middle = Figure(f"{what}: median login", "s", ours=LINK, peers=(ALONE,))
    # without a ratio: the edge cuts none off
    retries = Figure(f"{what}: connections that were cut off", "1", digits=0, ours=LINK, peers=(), detail=True)
    with tempfile.TemporaryDirectory(prefix="megaphone-bench-") as name, ExitStack() as stack:
        hosts = {
            way: stack.enter_context(running(kind, Path(name) / str(number), with_edge=way == LINK))
            for number, way in enumerate(WAYS)
        }
        for _ in range(rounds):
            for way, host in hosts.items():
                logins = storm(host, clients)
                speed.add(way, logins.per_second)
                worst.add(way, logins.worst_seconds)
                middle.add(way, logins.p50_seconds)
                retries.add(way, logins.retries)
    return [speed, worst, middle, retries]

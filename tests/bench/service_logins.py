"""Logins: TCP, SCRAM-SHA-256, resource binding and initial presence, without TLS."""

import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from tests.bench import usage
from tests.bench.logins import LoginClients, login_clients
from tests.bench.measure import Cost
from tests.bench.report.figure import Figure
from tests.bench.service_compared import EJABBERD, Efficiency
from tests.bench.services import MECHANISM, Service, running
from tests.servers.connections import established
from tests.servers.process import wait_until

TARGETS = {EJABBERD: 3.0}
AT_ONCE = 64
GONE_SECONDS = 60.0


def log_in(service: Service, clients: LoginClients, count: int) -> Cost:
    """`count` clients, each with an account of its own, until the server has nothing left to do; then they leave."""
    before = usage.settled_cpu_seconds(service.process_id)
    logins = clients.open(count, AT_ONCE)
    taken = usage.settled_cpu_seconds(service.process_id) - before
    clients.close(count)
    gone = partial(established, [service.endpoint.port])
    wait_until(lambda: gone() == 0, f"{count} clients gone", GONE_SECONDS)
    return Cost(taken, _answer(asdict(logins)))


def _answer(logins: dict[str, Any]) -> dict[str, Any]:
    delays = {f"{part}_us": logins[f"{part}_seconds"] * 1e6 for part in ("p50", "p99")}
    return {**logins, **delays}


def measure_logins(names: list[str], count: int, rounds: int) -> list[Figure]:
    """The services in turn; a round before the first lets the clients derive their keys, and is not counted."""
    efficiency = Efficiency("logins", "sessions", TARGETS, until="from connect to session")
    with tempfile.TemporaryDirectory(prefix="megaphone-bench-") as directory, ExitStack() as stack:
        pairs = {}
        for name in names:
            service = stack.enter_context(running(name, Path(directory) / name, count))
            clients = login_clients(service.endpoint, mechanism=MECHANISM, accounts=count, presence=True)
            pairs[name] = service, stack.enter_context(clients)
            log_in(*pairs[name], count)
        for _ in range(rounds):
            for name, (service, clients) in pairs.items():
                efficiency.add(name, log_in(service, clients, count))
    return efficiency.figures

"""The memory of a server for each idle session: logged in, presence sent, no TLS."""

import tempfile
from pathlib import Path

from tests.bench import usage
from tests.bench.logins import login_clients
from tests.bench.measure import LEAVING, RETURNING, WARM_UP
from tests.bench.report.figure import Figure, Target
from tests.bench.service_compared import PEERS
from tests.bench.services import MECHANISM, running


def session_kib(name: str, sessions: int) -> float:
    """Memory of the service's processes per idle session beyond the first ones, in KiB; no kernel memory."""
    warm_up, leaving, returning = (max(1, int(sessions * share)) for share in (WARM_UP, LEAVING, RETURNING))
    accounts = warm_up - leaving + returning + sessions
    with (
        tempfile.TemporaryDirectory(prefix="megaphone-bench-") as directory,
        running(name, Path(directory) / name, accounts) as service,
        login_clients(service.endpoint, mechanism=MECHANISM, accounts=accounts, presence=True) as clients,
    ):
        clients.open(warm_up)
        clients.close(leaving)
        clients.open(returning)
        before = usage.settled_resident_bytes(service.process_id)
        clients.open(sessions)
        return (usage.settled_resident_bytes(service.process_id) - before) / sessions / 1024


def measure_memory(names: list[str], sessions: int, rounds: int) -> list[Figure]:
    """Every service, started anew in every round."""
    memory = Figure("memory per idle session", "KiB", Target("value", 4.0), digits=1, peers=PEERS)
    for _ in range(rounds):
        for name in names:
            memory.add(name, session_kib(name, sessions))
    return [memory]

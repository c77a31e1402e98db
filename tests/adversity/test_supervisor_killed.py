"""The supervisor is killed: its workers send their clients away by themselves, end, and leave nothing in the way."""

import asyncio
import signal
import time
from pathlib import Path

import pytest
import uvloop

from tests.adversity.crowd import Crowd, Losses, losses, until
from tests.adversity.watch import process_state, running
from tests.servers.certificates import CertificateAuthority
from tests.servers.megaphone import Edge
from tests.servers.model import DOMAIN, Endpoint

WORKERS = 2
CLIENTS = 400
PER_SECOND = 50  # so that the old workers have clients for longer than a new start takes
DEADLINE_SECONDS = 16.0


def test_supervisor_killed(
    tmp_path: Path, authority: CertificateAuthority, fake_server: Endpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream = {"name": "fake", "address": f"{fake_server.host}:{fake_server.port}", "proxy_protocol": False}
    edge = Edge(tmp_path, authority, [upstream], workers=WORKERS, domains=[DOMAIN])
    edge.tables["listen"][0]["tls"] = "none"
    edge.tables["drain"] = {"connections_per_second": PER_SECOND, "deadline_seconds": DEADLINE_SECONDS}
    plain = Endpoint(edge.starttls.host, edge.starttls.port, "none")

    async def scene() -> tuple[float, float, set[str], Losses]:
        crowd = Crowd(DOMAIN, stanzas_per_second=400.0)
        await crowd.join(plain, CLIENTS)
        crowd.start_talking()
        await until(lambda: losses(crowd.clients).sent > CLIENTS, "traffic")
        workers = edge.workers()
        assert len(workers) == WORKERS
        killed = time.monotonic()
        edge.process.signal(signal.SIGKILL)
        edge.process.wait(5.0)
        # At once, while the old workers still send their clients away: same ports, same control socket.
        await asyncio.to_thread(edge.start)
        started_after = time.monotonic() - killed
        assert any(process_state(pid) for pid in workers), "the old workers ended before the new start could meet them"
        await until(lambda: not any(process_state(pid) for pid in workers), "workers gone", DEADLINE_SECONDS + 5.0)
        gone_after = time.monotonic() - killed
        await crowd.stop_talking()
        await until(lambda: all(client.lost_with is not None for client in crowd.clients), "clients gone")
        joined = Crowd(DOMAIN, stanzas_per_second=0.0)
        await joined.join(plain, 10)
        await joined.close()
        return started_after, gone_after, {client.condition for client in crowd.clients}, losses(crowd.clients)

    with running(edge), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        started_after, gone_after, conditions, found = runner.run(scene())
        with capsys.disabled():
            print(
                f"\nkill -9 of the supervisor: a new one serves after {started_after:.2f} s, {CLIENTS} clients got "
                f"system-shutdown and the old workers were gone after {gone_after:.2f} s"
            )
        assert conditions == {"system-shutdown"}
        assert (found.repeated, found.reordered, found.garbage) == (0, 0, 0)
        # At the pace of the configuration, which is that of all workers together.
        assert CLIENTS / PER_SECOND <= gone_after < DEADLINE_SECONDS + 2.0
        assert "Traceback" not in edge.log.read_text()

"""Workers that die again and again: the supervisor gives up, says why, and sends the other clients away in order."""

import asyncio
import os
import signal
from pathlib import Path

from tests.adversity.crowd import Crowd, until
from tests.adversity.watch import running, seconds_until_replaced, worker_rows
from tests.servers.certificates import CertificateAuthority
from tests.servers.megaphone import Edge
from tests.servers.model import DOMAIN, Endpoint

INTENSITY = 2
CLIENTS = 20


def test_gives_up(tmp_path: Path, authority: CertificateAuthority, fake_server: Endpoint) -> None:
    upstream = {"name": "fake", "address": f"{fake_server.host}:{fake_server.port}", "proxy_protocol": False}
    edge = Edge(tmp_path, authority, [upstream], workers=2, domains=[DOMAIN])
    edge.tables["listen"][0]["tls"] = "none"
    edge.tables["restart"] = {"intensity": INTENSITY, "period_seconds": 600.0, "backoff_first_seconds": 0.05}
    plain = Endpoint(edge.starttls.host, edge.starttls.port, "none")

    async def scene() -> tuple[int, set[str]]:
        for _ in range(INTENSITY):
            pid = worker_rows(edge)[0]["pid"]
            os.kill(pid, signal.SIGKILL)
            seconds_until_replaced(edge, 0, pid, 0.0)
        crowd = Crowd(DOMAIN, stanzas_per_second=0.0)
        await crowd.join(plain, CLIENTS)
        of_worker_1 = {row["port"] for row in edge.request("GET", "/connections")["connections"] if row["worker"] == 1}
        assert of_worker_1
        os.kill(worker_rows(edge)[0]["pid"], signal.SIGKILL)
        await until(lambda: all(client.lost_with is not None for client in crowd.clients), "all clients gone")
        conditions = {client.condition for client in crowd.clients if client.port in of_worker_1}
        return await asyncio.to_thread(edge.process.wait, 60.0), conditions

    with running(edge):
        code, conditions = asyncio.run(scene())
        assert code == 1
        assert conditions == {"system-shutdown"}
        assert edge.log.read_text().splitlines()[-1] == (
            "megaphone: error: gave up: worker 0 killed by SIGKILL, after 2 restarts within 600 s "
            "(restart.intensity, restart.period_seconds)"
        )

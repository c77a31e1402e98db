"""Upgrades of nodes in a cluster, under people who talk with each other over nodes: nobody notices."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.e2e.test_upgrade_direct import connections, upgrade
from tests.scenarios.talkers import conversation
from tests.servers.certificates import CertificateAuthority
from tests.servers.cluster import Cluster
from tests.servers.model import ALICE, BOB

MESSAGES = 15  # that everybody hears between two events


def test_nobody_on_any_node_notices_upgrades(tmp_path: Path, authority: CertificateAuthority) -> None:
    with Cluster(tmp_path, authority, nodes=2, service={"plain_without_tls": True}) as cluster:
        a, b = cluster.nodes

        async def session() -> None:
            endpoints = [a.direct, b.direct, b.plain]
            async with conversation((ALICE, BOB), endpoints, authority.certificate, plugins=("xep_0198",)) as talking:
                await talking.go_on(MESSAGES)
                before = [connections(node) for node in cluster.nodes]
                for node in (b, a, b):
                    done = await upgrade(node)
                    assert done.returncode == 0, done.stdout + done.stderr
                    assert " 0 ended" in done.stdout
                    await talking.go_on(MESSAGES)
                after = [connections(node) for node in cluster.nodes]
                assert [{port: row["id"] for port, row in each.items()} for each in after] == [
                    {port: row["id"] for port, row in each.items()} for each in before
                ]
                await asyncio.to_thread(cluster.until_members, "a", "b")
                await talking.end()

        asyncio.run(session())
        for node in cluster.nodes:
            assert "nodes=a\n" not in node.log.read_text()
            assert "nodes=b\n" not in node.log.read_text()

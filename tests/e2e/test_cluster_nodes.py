"""Nodes as processes: they come, go, are killed and upgraded, and operators and clients are told; NATS may be away."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from megaphone.cli.main import main
from tests.link.server import run
from tests.scenarios.chatter import chatting
from tests.servers.certificates import CertificateAuthority
from tests.servers.cluster import Cluster, ClusterNode
from tests.servers.model import DOMAIN
from tests.servers.process import Process, wait_until


@pytest.fixture
def cluster(tmp_path: Path, authority: CertificateAuthority) -> Iterator[Cluster]:
    with Cluster(tmp_path, authority) as made:
        yield made


def lines(node: ClusterNode) -> list[str]:
    """Each view of the nodes that its log tells of."""
    return [first or second for first, second in re.findall(r"nodes=(?:'([^']*)'|(\S+))", node.log.read_text())]


def since_ms(node: ClusterNode, name: str) -> int:
    """Since when a node is there, as the first worker of another one sees it."""
    return next(int(row["since_ms"]) for row in node.views()[0]["nodes"] if row["name"] == name)


def test_nodes_come_and_go_and_are_killed(cluster: Cluster) -> None:
    a, b, c = cluster.nodes
    assert lines(a)[-1] == "a, b, c"
    assert len({node.key for node in cluster.nodes}) == 3
    key = b.key
    b.stop()
    cluster.until_members("a", "c")
    b.start_again()
    cluster.until_members("a", "b", "c")
    assert b.key == key
    c.kill()
    assert a.members() == ["a", "b", "c"]
    cluster.until_members("a", "b")
    c.start_again()
    cluster.until_members("a", "b", "c")
    assert lines(a)[-1] == "a, b, c"
    wait_until(lambda: [a.metric("megaphone_nodes", worker=worker) for worker in "01"] == [3, 3], "the metric")
    assert a.metric("megaphone_nats_up") == 2
    assert a.metric("megaphone_nats_messages_total", direction="out") > 0


def test_workers_that_are_killed_are_no_end_of_their_node(tmp_path: Path, authority: CertificateAuthority) -> None:
    with Cluster(tmp_path, authority, nodes=2, lease_seconds=30) as cluster:
        a, b = cluster.nodes
        before = set(b.workers())
        since = since_ms(a, "b")
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(b.workers()) == 2 and not before & set(b.workers()), "new workers")
        wait_until(lambda: b.nats_is(there=True), "NATS for the new workers")
        cluster.until_members("a", "b")
        assert lines(a) == ["a, b"]
        assert since_ms(a, "b") == since_ms(b, "b") == since


def test_a_worker_that_is_drained_is_no_end_of_its_node_either(tmp_path: Path, authority: CertificateAuthority) -> None:
    with Cluster(tmp_path, authority, nodes=2, lease_seconds=60) as cluster:
        a, b = cluster.nodes
        before = set(b.workers())
        assert main(["drain", "--worker", "0", "--config", str(b.config_path)]) == 0
        wait_until(lambda: len(b.workers()) == 2 and set(b.workers()) != before, "a new worker")
        wait_until(lambda: b.nats_is(there=True), "NATS for the new worker")
        assert lines(a) == ["a, b"]
        b.stop()
        cluster.until_members("a", timeout_seconds=20.0)  # it has said goodbye: its lease is far longer


def test_nodes_serve_without_nats_and_find_each_other_when_it_comes(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    cluster = Cluster(tmp_path, authority, nodes=2)
    try:
        cluster.register()
        for node in cluster.nodes:
            node.start()
            cluster.until_members(node.node_name, seen_by=[node])
        cluster.until_nats(there=False)
        wait_until(lambda: "NATS is away" in cluster.nodes[0].log.read_text(), "a line in the log")
        cluster.nats.start()
        cluster.until_members("a", "b")
        cluster.nats.kill()
        cluster.until_nats(there=False)
        cluster.nats.delete_store()
        cluster.nats.start()
        cluster.until_nats()
        cluster.until_members("a", "b")
        assert lines(cluster.nodes[0]) == ["a, b"]  # nobody has left
    finally:
        cluster.stop()


def test_a_node_that_nats_does_not_let_in_says_why_and_serves(tmp_path: Path, authority: CertificateAuthority) -> None:
    (tmp_path / "token").write_text("hush\n")
    token = {"token_file": str(tmp_path / "token")}
    cluster = Cluster(tmp_path, authority, nodes=2, nats_options={"token": "hush"}, cluster=token)
    a, b = cluster.nodes
    b.tables["cluster"]["token_file"] = str(tmp_path / "wrong")
    (tmp_path / "wrong").write_text("no\n")
    try:
        cluster.nats.start()
        cluster.register()
        a.start()
        b.start()
        wait_until(lambda: "NATS is away" in b.log.read_text(), "a line in the log")
        wait_until(lambda: "authorization violation" in b.log.read_text().lower(), "a line with the reason")

        def both_say_why() -> bool:
            views = b.views()
            return len(views) == 2 and all("authorization" in view["trouble"].lower() for view in views)

        wait_until(both_say_why, "the reason of both workers")
        wait_until(lambda: a.nats_is(there=True), "NATS for the one that is let in")
        cluster.until_members("a", seen_by=[a])
        (tmp_path / "wrong").write_text("hush\n")
        b.stop()
        b.start_again()
        cluster.until_members("a", "b")
    finally:
        cluster.stop()


def test_an_upgrade_is_seen_by_no_other_node(cluster: Cluster) -> None:
    a, b, _ = cluster.nodes
    before = b.workers()
    done = subprocess.run(
        [sys.executable, "-m", "megaphone", "upgrade", "--force", "--config", str(b.config_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not set(before) & set(b.workers())
    wait_until(lambda: b.nats_is(there=True), "NATS for the new workers")
    cluster.until_members("a", "b", "c")
    assert "a, c" not in lines(a)


def test_operators_see_the_nodes(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    a = cluster.nodes[0]
    cluster.until_members("a", "b", "c")
    assert main(["cluster", "status", "--config", str(a.config_path)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^a \(this one\) +[0-9a-f]{16} ", shown, re.MULTILINE)
    assert re.search(r"^c +[0-9a-f]{16} ", shown, re.MULTILINE)

    def status() -> str:
        assert main(["status", "--config", str(a.config_path)]) == 0
        return capsys.readouterr().out

    # workers put what they see on their boards now and then
    wait_until(lambda: "cluster megaphone: 3 nodes, 2/2 workers connected to NATS" in status(), "three nodes shown")
    cluster.nats.kill()
    cluster.until_nats(there=False)
    assert main(["cluster", "status", "--config", str(a.config_path), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert [view["up"] for view in answer["workers"]] == [False, False]
    assert main(["cluster", "check", f"nats://127.0.0.1:{cluster.nats.settings.port}"]) == 3


def test_a_chat_shows_servers_that_come_and_go(tmp_path: Path, authority: CertificateAuthority) -> None:
    """Chatty's second half: `[SERVER UPDATE]`, and a killed server costs its client a reconnect."""
    # a guest comes back as somebody else, who gets the nick when the dead node's time to resume is over
    service = {"resume_seconds": 1}
    with Cluster(tmp_path, authority, rooms={"create": "anyone"}, service=service, lease_seconds=3) as cluster:
        a, b, c = cluster.nodes
        servers = ",".join(f"{node.plain.host}:{node.plain.port}" for node in cluster.nodes)
        options = ("--server", servers, "--domain", DOMAIN, "--tls", "none")

        async def session() -> None:
            async with chatting("lobby", "Alice", options=options) as (alice,):
                await asyncio.to_thread(c.stop)
                await alice.shows("[SERVER UPDATE] a, b")
                await asyncio.to_thread(c.start_again)
                await alice.shows("[SERVER UPDATE] a, b, c")
                await asyncio.to_thread(cluster.until_members, "a", "b", "c")
                await asyncio.to_thread(a.kill)
                await alice.shows("[SERVER UPDATE] b, c")
                await alice.shows(f"[SERVER] joined again through {b.plain.host}:{b.plain.port}")
                alice.type("still here")
                await alice.shows("[Alice] still here")

        run(session())


def test_cluster_up(tmp_path: Path) -> None:
    process = Process(
        [sys.executable, "-m", "megaphone", "cluster", "up", "--nodes", "3", "--workers", "1", "--free-ports"],
        directory=Path.cwd(),
        log=tmp_path / "up.log",
        environment=os.environ,
    )
    try:
        process.wait_until(lambda: "Ctrl-C stops all" in process.log.read_text(), "three nodes", 90.0)
        text = process.log.read_text()
        nodes = re.findall(r"node (\w) +127.0.0.1:(\d+), pid (\d+)", text)
        assert [name for name, _, _ in nodes] == ["a", "b", "c"]
        for _, port, _ in nodes:
            assert _greets(int(port))
        process.signal(signal.SIGINT)
        assert process.wait(60.0) == 0
        for _, _, pid in nodes:
            assert not Path(f"/proc/{pid}").exists()
    finally:
        process.stop()


def _greets(port: int) -> bool:
    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"<stream:stream to='localhost' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
            b" version='1.0'>"
        )
        found = await asyncio.wait_for(reader.readuntil(b"</stream:features>"), 10)
        writer.close()
        return found

    return b"ANONYMOUS" in asyncio.run(ask())

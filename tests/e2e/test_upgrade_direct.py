"""Upgrades in front of Prosody, in mode `direct`: slixmpp clients talk on and never notice."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.talkers import conversation
from tests.servers.certificates import CertificateAuthority
from tests.servers.megaphone import Edge, upstream_of
from tests.servers.model import ALICE, BOB, Endpoint
from tests.servers.process import LOOPBACK, free_port, wait_until
from tests.servers.prosody import Prosody

MESSAGES = 15  # that everybody hears between two events
ACCOUNTS = (ALICE, BOB)
LISTENERS = 3


@pytest.fixture
def edge(tmp_path: Path, authority: CertificateAuthority, prosody_behind_edge: Prosody) -> Iterator[Edge]:
    """Two workers, a STARTTLS, a direct TLS and a plain listener."""
    edge = Edge(tmp_path, authority, [upstream_of(prosody_behind_edge)])
    edge.tables["listen"].append({"address": f"{LOOPBACK}:{free_port()}", "tls": "none"})
    try:
        yield edge
    finally:
        edge.stop()


def endpoints(edge: Edge) -> list[Endpoint]:
    host, _, port = edge.tables["listen"][2]["address"].rpartition(":")
    return [edge.direct, edge.starttls, Endpoint(host, int(port), "none")]


async def upgrade(edge: Edge) -> subprocess.CompletedProcess[str]:
    """`megaphone upgrade --force`: every process of the node is replaced."""
    command = [sys.executable, "-m", "megaphone", "upgrade", "--force", "--socket", str(edge.admin_socket)]
    return await asyncio.to_thread(
        lambda: subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    )


def connections(edge: Edge) -> dict[int, Any]:
    """Every connection by the client's port."""
    return {each["port"]: each for each in edge.request("GET", "/connections?limit=1000")["connections"]}


def test_nobody_notices_several_upgrades(edge: Edge, authority: CertificateAuthority) -> None:
    edge.start()

    async def session() -> float:
        async with conversation(ACCOUNTS, endpoints(edge), authority.certificate) as talking:
            await talking.go_on(MESSAGES)
            before, closed = connections(edge), edge.metric("megaphone_connections_closed_total")
            assert {row["tls"] for row in before.values()} == {None, "TLSv1.3"}
            for number in range(1, 4):
                workers = edge.workers()
                done = await upgrade(edge)
                assert done.returncode == 0, done.stdout + done.stderr
                assert f"{len(talking.talkers)} connections moved, 0 ended" in done.stdout
                assert not set(workers) & set(edge.workers())
                await talking.go_on(MESSAGES)
                after = connections(edge)
                assert {port: row["id"] for port, row in after.items()} == {
                    port: row["id"] for port, row in before.items()
                }
                assert {row["jid"] for row in after.values()} == {each.boundjid.full for each in talking.talkers}
                assert edge.metric("megaphone_connections_inherited_total") == number * len(talking.talkers)
            assert edge.metric("megaphone_connections_closed_total") == closed
            assert edge.metric("megaphone_connections", state="authenticated") == len(talking.talkers)
            assert edge.metric("megaphone_upstream_connections") == len(talking.talkers)
            await talking.end()
            return talking.longest_silence_seconds()

    silence = asyncio.run(session())
    print(f"longest silence {silence * 1000:.0f} ms")
    restarts = edge.metric("megaphone_worker_restarts_total")
    assert restarts == edge.metric("megaphone_worker_restarts_total", cause="upgrade") == 6


@pytest.mark.parametrize("whom", ["successor", "predecessor"])
def test_the_death_of_either_in_the_middle_has_its_answer(
    edge: Edge, authority: CertificateAuthority, whom: str
) -> None:
    edge.tables["node"]["workers"] = 1
    edge.tables["upgrade"] = {"connections_per_second": 1}  # seconds are left when half of it is seen
    edge.start()

    async def session() -> None:
        async with conversation(ACCOUNTS, endpoints(edge), authority.certificate) as talking:
            await talking.go_on(MESSAGES)
            (old,) = edge.workers()
            upgrading = asyncio.create_task(upgrade(edge))
            await asyncio.to_thread(wait_until, lambda: len(edge.workers()) == 2, "the successor")
            (new,) = set(edge.workers()) - {old}
            await asyncio.to_thread(
                wait_until, lambda: shared_sockets(old, new) >= LISTENERS + 4, "half of the hand-over"
            )
            os.kill(new if whom == "successor" else old, signal.SIGKILL)
            done = await upgrading
            assert done.returncode == 1, done.stdout + done.stderr
            if whom == "successor":
                assert edge.workers() == [old]
                await talking.go_on(MESSAGES)
                await talking.end()
                assert edge.metric("megaphone_connections_inherited_total") == 0
                return
            # a crash like any other: everybody is cut off, and the next worker serves whoever comes
            await asyncio.to_thread(wait_until, lambda: all(each.ends for each in talking.talkers), "their ends")
            await asyncio.to_thread(wait_until, edge.ready, "another worker")
            assert edge.metric("megaphone_worker_restarts_total") >= 1
        async with conversation(ACCOUNTS[:1], endpoints(edge), authority.certificate) as talking:
            await talking.go_on(MESSAGES)
            await talking.end()

    asyncio.run(session())


def shared_sockets(one: int, other: int) -> int:
    """How many sockets two processes have in common."""
    return len(_sockets(one) & _sockets(other))


def _sockets(pid: int) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.add(os.readlink(descriptor))
    return {each for each in found if each.startswith("socket:")}

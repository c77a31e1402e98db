"""The server behind goes away and comes back: clients are told, and can log in again."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.light import LightClient, StreamEndError
from tests.servers.certificates import CertificateAuthority
from tests.servers.megaphone import Edge, upstream_of
from tests.servers.model import ALICE, BOB
from tests.servers.process import wait_until
from tests.servers.prosody import Prosody

CLIENTS = 20
END_SECONDS = 60.0  # for a process to end


@pytest.fixture
def prosody(tmp_path: Path, authority: CertificateAuthority) -> Iterator[Prosody]:
    """A Prosody of its own, because the tests stop it."""
    server = Prosody(tmp_path / "prosody", authority, "edge")
    server.register()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def edge(tmp_path: Path, authority: CertificateAuthority, prosody: Prosody) -> Iterator[Edge]:
    """Megaphone in front of it."""
    edge = Edge(tmp_path / "edge", authority, [upstream_of(prosody)])
    try:
        edge.start()
        yield edge
    finally:
        edge.stop()


async def log_in(edge: Edge, authority: CertificateAuthority, count: int = CLIENTS) -> list[LightClient]:
    """Sessions over both kinds of listener."""
    return [
        await LightClient.login((edge.starttls, edge.direct)[number % 2], ALICE, authority.certificate)
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("number", "told_by_prosody"),
    [
        # Prosody says so itself, and its words pass unchanged; but often it closes one or two sessions without a word.
        (signal.SIGTERM, CLIENTS - 4),
        (signal.SIGKILL, 0),
    ],
)
def test_clients_are_told_and_can_come_back(
    edge: Edge, prosody: Prosody, authority: CertificateAuthority, number: signal.Signals, told_by_prosody: int
) -> None:
    async def session() -> None:
        clients = await log_in(edge, authority)
        prosody.process.signal(number)
        conditions = await asyncio.gather(*(client.end() for client in clients))
        assert set(conditions) <= {"system-shutdown", "remote-connection-failed"}  # the second is the edge's word
        assert conditions.count("system-shutdown") >= told_by_prosody
        await asyncio.to_thread(prosody.process.wait, END_SECONDS)

        with pytest.raises(StreamEndError) as refusal:
            await LightClient.login(edge.starttls, BOB, authority.certificate)
        assert refusal.value.condition == "remote-connection-failed"
        await asyncio.to_thread(wait_until, lambda: not edge.ready(), "not ready without its server")

        await asyncio.to_thread(prosody.start)
        await asyncio.to_thread(wait_until, edge.ready, "ready again")
        for client in await log_in(edge, authority):
            await client.ping()
            await client.close()

    asyncio.run(session())


def test_new_clients_go_to_the_server_that_is_left(
    edge: Edge, prosody: Prosody, authority: CertificateAuthority, tmp_path: Path
) -> None:
    other = Prosody(tmp_path / "other", authority, "edge")
    other.register()
    edge.stop()
    edge.tables["upstream"] = [upstream_of(prosody, "one"), upstream_of(other, "two")]
    for domain in edge.tables["domain"]:
        domain["upstreams"] = ["one", "two"]

    async def session() -> None:
        clients = await log_in(edge, authority, 10)
        assert edge.metric("megaphone_upstream_connections", upstream="one") >= 3
        assert edge.metric("megaphone_upstream_connections", upstream="two") >= 3
        prosody.process.signal(signal.SIGKILL)
        await asyncio.to_thread(prosody.process.wait, END_SECONDS)
        # Without waiting for a health check: the attempt to connect fails over.
        later = await log_in(edge, authority, 10)
        for client in later:
            await client.ping()
        for client in clients + later:
            await client.close()

    try:
        other.start()
        edge.start()
        asyncio.run(session())
    finally:
        other.stop()

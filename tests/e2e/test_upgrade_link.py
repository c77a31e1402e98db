"""Upgrades in mode `link`: slixmpp clients talk on, and the server sees its links attach anew and nothing else."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_link_servers import TlsSocket
from tests.e2e.test_upgrade_direct import ACCOUNTS, MESSAGES, connections, shared_sockets, upgrade
from tests.link.sides import SIDES, EjabberdSide, ServerSide
from tests.link.xmpp import XmppClient
from tests.scenarios.talkers import Conversation, conversation
from tests.servers.certificates import CertificateAuthority
from tests.servers.linked import link_upstream, until
from tests.servers.megaphone import Edge
from tests.servers.model import ALICE
from tests.servers.process import wait_until

WORKERS = 2
LISTENERS = 2
LINKS = 2  # of each worker


@pytest.fixture(scope="module", params=["prosody", "ejabberd", "hub"])
def side(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority
) -> Iterator[ServerSide]:
    """A stock server with our module, or behind the hub."""
    yield from started(SIDES[request.param](tmp_path_factory.mktemp(f"upgraded-{request.param}"), authority))


@pytest.fixture(scope="module")
def ejabberd(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[EjabberdSide]:
    """ejabberd with our module."""
    yield from started(EjabberdSide(tmp_path_factory.mktemp("upgraded"), authority))


def started(side: Any) -> Iterator[Any]:
    side.start()
    try:
        yield side
    finally:
        side.stop()


def make_edge(
    directory: Path, authority: CertificateAuthority, side: ServerSide, address: Any = None, **keys: Any
) -> Edge:
    """Workers with two links each, a STARTTLS and a direct TLS listener."""
    upstream = link_upstream(directory, address or side.address, secret=side.secret, links=LINKS, **keys)
    return Edge(directory, authority, [upstream], workers=WORKERS, domains=[side.domain])


def talking_through(edge: Edge, authority: CertificateAuthority) -> AbstractAsyncContextManager[Conversation]:
    """Every account twice, as each listener has its own."""
    return conversation(ACCOUNTS, [edge.direct, edge.starttls], authority.certificate)


async def upgrade_and_talk(edge: Edge, talking: Conversation, times: int) -> None:
    """Every client goes on on the same connection and the same stream, however often."""
    everybody = len(talking.talkers)
    await talking.go_on(MESSAGES)
    before, closed = connections(edge), edge.metric("megaphone_connections_closed_total")
    links = WORKERS * LINKS
    await until(lambda: edge.metric("megaphone_link_attaches_total", session="new") == links, "all links")
    for number in range(1, times + 1):
        workers = edge.workers()
        done = await upgrade(edge)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{everybody} connections moved, 0 ended" in done.stdout
        assert not set(workers) & set(edge.workers())
        await talking.go_on(MESSAGES)
        after = connections(edge)
        assert {port: row["id"] for port, row in after.items()} == {port: row["id"] for port, row in before.items()}
        assert {row["upstream"] for row in after.values()} == {"server"}
        await until(
            lambda number=number: edge.metric("megaphone_link_attaches_total", session="resumed") == number * links,
            "all links again",
        )
    assert edge.metric("megaphone_link_attaches_total", session="new") == links
    assert edge.metric("megaphone_link_breaks_total") == 0
    assert edge.metric("megaphone_links", state="attached") == links
    assert edge.metric("megaphone_link_streams") == everybody
    assert edge.metric("megaphone_upstream_connections") == everybody
    assert edge.metric("megaphone_connections_closed_total") == closed
    assert "link down" not in edge.log.read_text()
    await talking.end()
    print(f"longest silence {talking.longest_silence_seconds() * 1000:.0f} ms")


def test_nobody_notices_several_upgrades(tmp_path: Path, authority: CertificateAuthority, side: ServerSide) -> None:
    edge = make_edge(tmp_path, authority, side)

    async def session() -> None:
        async with talking_through(edge, authority) as talking:
            await upgrade_and_talk(edge, talking, 3)

    try:
        edge.start()
        asyncio.run(session())
        assert edge.metric("megaphone_worker_restarts_total", cause="crash") == 0
    finally:
        edge.stop()


def test_links_over_mutual_tls_move(tmp_path: Path, authority: CertificateAuthority, ejabberd: EjabberdSide) -> None:
    """The state of their TLS cannot; the successor's is a new one."""
    files = authority.issue("edge.example.test")
    keys = {"ca": str(authority.certificate), "certificate": str(files.chain), "key": str(files.key)}
    edge = make_edge(tmp_path, authority, ejabberd, ejabberd.server.link_tls, server_name="127.0.0.1", **keys)

    async def session() -> None:
        async with talking_through(edge, authority) as talking:
            await upgrade_and_talk(edge, talking, 1)
            assert {link["epoch"] for link in ejabberd.server.api("megaphone_links")} == {2}

    try:
        edge.start()
        asyncio.run(session())
    finally:
        edge.stop()


def test_a_client_that_cannot_move_is_told_and_the_server_too(
    tmp_path: Path, authority: CertificateAuthority, ejabberd: EjabberdSide
) -> None:
    """TLS 1.2 stays with its process; its stream ends on the link that has moved, and all others go on."""
    edge = make_edge(tmp_path, authority, ejabberd)

    async def session() -> None:
        async with talking_through(edge, authority) as talking:
            connection = await TlsSocket.connect(edge, authority, ejabberd.domain)
            stream: Any = connection
            client = XmppClient(stream, ALICE, connection.unique)
            await client.begin()
            await client.authenticate("SCRAM-SHA-1-PLUS")
            await client.bind()
            await talking.go_on(MESSAGES)
            done = await upgrade(edge)
            assert f"{len(talking.talkers)} connections moved, 1 ended" in done.stdout, done.stdout + done.stderr
            told = bytearray()
            while data := await connection.read(60.0):
                told += data
            assert b"<system-shutdown" in told
            await talking.go_on(MESSAGES)
            await until(lambda: edge.metric("megaphone_link_streams") == len(talking.talkers), "the end of the stream")
            await until(
                lambda: sum(link["streams"] for link in ejabberd.server.api("megaphone_links")) == len(talking.talkers),
                "its end in the server",
            )
            await talking.end()

    try:
        edge.start()
        asyncio.run(session())
    finally:
        edge.stop()


@pytest.mark.parametrize("whom", ["successor", "predecessor"])
def test_the_death_of_either_in_the_middle_has_its_answer(
    tmp_path: Path, authority: CertificateAuthority, ejabberd: EjabberdSide, whom: str
) -> None:
    edge = make_edge(tmp_path, authority, ejabberd)
    edge.tables["node"]["workers"] = 1
    edge.tables["upgrade"] = {"connections_per_second": 1}  # seconds are left when half of it is seen

    async def session() -> None:
        async with talking_through(edge, authority) as talking:
            await talking.go_on(MESSAGES)
            (old,) = edge.workers()
            upgrading = asyncio.create_task(upgrade(edge))
            await asyncio.to_thread(wait_until, lambda: len(edge.workers()) == 2, "the successor")
            (new,) = set(edge.workers()) - {old}
            await asyncio.to_thread(wait_until, lambda: shared_sockets(old, new) >= LISTENERS + 4, "half of it")
            os.kill(new if whom == "successor" else old, signal.SIGKILL)
            done = await upgrading
            assert done.returncode == 1, done.stdout + done.stderr
            if whom == "successor":
                assert edge.workers() == [old]
                await talking.go_on(MESSAGES)
                await talking.end()
                assert edge.metric("megaphone_link_attaches_total", session="resumed") == 0
                assert edge.metric("megaphone_link_breaks_total") == 0
                assert {link["epoch"] for link in ejabberd.server.api("megaphone_links")} == {1}
                return
            await asyncio.to_thread(wait_until, lambda: all(each.ends for each in talking.talkers), "their ends")
            await asyncio.to_thread(wait_until, edge.ready, "another worker")
        async with talking_through(edge, authority) as talking:
            await talking.go_on(MESSAGES)
            await talking.end()

    try:
        edge.start()
        asyncio.run(session())
    finally:
        edge.stop()

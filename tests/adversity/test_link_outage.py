"""Links of 500 clients into real servers: an outage under traffic, one that is too long, a client that never reads."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.adversity.network import Network
from tests.link.sides import NO_ARCHIVE
from tests.scenarios.crowd import CROWD_ACCOUNTS, log_in_crowd, talk
from tests.scenarios.light import LightClient
from tests.servers.certificates import CertificateAuthority
from tests.servers.ejabberd_link import SECRET as EJABBERD_SECRET
from tests.servers.ejabberd_link import EjabberdLink
from tests.servers.linked import link_upstream, until
from tests.servers.megaphone import Edge
from tests.servers.model import ALICE, BOB
from tests.servers.prosody_link import SECRET as PROSODY_SECRET
from tests.servers.prosody_link import ProsodyLink

CROWD = 500
OUTAGE_SECONDS = 5.0
SHORT_GRACE_SECONDS = 1
BODY = "{jabber:client}body"
TALKERS = CROWD_ACCOUNTS[:8]
ACCOUNTS = (ALICE, BOB, *TALKERS)
SM = "urn:xmpp:sm:3"

Server = ProsodyLink | EjabberdLink


@pytest.fixture(scope="module", params=["prosody", "ejabberd"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority
) -> Iterator[Server]:
    """A stock server with our module, and without an archive."""
    directory = tmp_path_factory.mktemp(f"outage-{request.param}")
    server: Server
    if request.param == "prosody":
        server = ProsodyLink(directory, authority, options=NO_ARCHIVE, accounts=ACCOUNTS)
        server.register()
    else:
        server = EjabberdLink(directory, authority, accounts=ACCOUNTS)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextlib.asynccontextmanager
async def edge_over_network(
    directory: Path, authority: CertificateAuthority, server: Server, **limits: Any
) -> AsyncIterator[tuple[Edge, Network]]:
    """Megaphone with two links over a network that can break."""
    async with Network(server.link) as network:
        secret = PROSODY_SECRET if server.name == "prosody" else EJABBERD_SECRET
        edge = Edge(directory, authority, [link_upstream(directory, network.address, secret=secret)], workers=1)
        edge.tables["limits"] |= limits
        try:
            await asyncio.to_thread(edge.start)
            yield edge, network
        finally:
            await asyncio.to_thread(edge.stop)


def test_500_talking_clients_live_through_an_outage(
    tmp_path: Path, authority: CertificateAuthority, server: Server
) -> None:
    """Both links break within a frame, the network is away for 5 s, and all that was said arrives once and in order."""

    async def main() -> None:
        async with edge_over_network(tmp_path, authority, server) as (edge, network):
            clients = await log_in_crowd(edge.direct, TALKERS, authority.certificate, CROWD)
            talking = asyncio.create_task(talk(clients, messages=16, pause_seconds=0.5))
            carried = network.carried_bytes
            await until(lambda: network.carried_bytes > carried + 200_000, "traffic")
            await network.break_within_a_frame(20_011)
            assert network.cuts >= 2
            await asyncio.sleep(OUTAGE_SECONDS)  # the outage itself, of which the talkers know nothing
            assert not talking.done()
            assert await asyncio.to_thread(edge.metric, "megaphone_links", state="attached") == 0
            assert await asyncio.to_thread(edge.metric, "megaphone_connections", state="authenticated") == CROWD
            await network.come_back()
            await talking
            assert await asyncio.to_thread(edge.metric, "megaphone_link_attaches_total", session="resumed") == 2
            assert await asyncio.to_thread(edge.metric, "megaphone_link_attaches_total", session="new") == 2
            assert await asyncio.to_thread(edge.metric, "megaphone_connections", state="authenticated") == CROWD
            await asyncio.gather(*(client.close() for client in clients))

    asyncio.run(main())


def test_499_talk_while_one_never_reads(tmp_path: Path, authority: CertificateAuthority, server: Server) -> None:
    """It is sent megabytes; everybody else's messages arrive once and in order; then it is closed, and nobody else."""

    async def main() -> None:
        limits = {"slow_consumer_seconds": 5.0, "mailbox_bytes": 20_000}
        async with edge_over_network(tmp_path, authority, server, **limits) as (edge, _):
            lazy = await LightClient.login(edge.direct, ALICE, authority.certificate)
            # Not over the edge, which would give up a server that is too busy to take all this in 5 s.
            sender = await LightClient.login(server.starttls, BOB, authority.certificate)
            clients = await log_in_crowd(edge.direct, TALKERS, authority.certificate, CROWD - 2)
            lazy._writer.transport.pause_reading()
            talking = asyncio.create_task(talk(clients, messages=6, pause_seconds=0.5))
            for _ in range(300):  # more than the kernel's buffers hold
                sender.message(lazy.jid, "x" * 40_000)
            await until(lambda: edge.metric("megaphone_mailbox_full_total") >= 1, "a full mailbox")
            await talking
            await until(
                lambda: edge.metric("megaphone_connections_closed_total", reason="slow-consumer") == 1, "its end", 180.0
            )
            await sender.ping(180.0)
            assert await asyncio.to_thread(edge.metric, "megaphone_connections", state="authenticated") == CROWD - 2
            assert await asyncio.to_thread(edge.metric, "megaphone_link_breaks_total") == 0
            await asyncio.gather(*(client.close() for client in (lazy, sender, *clients)))

    asyncio.run(main())


async def enable_resumption(client: LightClient) -> str:
    """The identifier of a stream that can be resumed (XEP-0198 section 3)."""
    client.send(f"<enable xmlns='{SM}' resume='true'/>")
    enabled = await client.next()
    assert enabled.tag == f"{{{SM}}}enabled"
    return str(enabled.get("id"))


def test_after_the_grace_time_clients_are_told_and_the_server_lets_them_resume(
    tmp_path: Path, authority: CertificateAuthority, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """For the server it was an ordinary disconnect: XEP-0198 keeps the session and what was said to it meanwhile."""
    directory = tmp_path_factory.mktemp("short-grace")
    other: Server
    if server.name == "prosody":
        options = f"{NO_ARCHIVE}megaphone_grace = {SHORT_GRACE_SECONDS}"
        other = ProsodyLink(directory, authority, options=options, accounts=ACCOUNTS[:2])
        other.register()
    else:
        other = EjabberdLink(directory, authority, options={"grace": SHORT_GRACE_SECONDS}, accounts=ACCOUNTS[:2])

    async def main() -> None:
        async with edge_over_network(tmp_path, authority, other) as (edge, network):
            alice = await LightClient.login(edge.direct, ALICE, authority.certificate)
            identifier = await enable_resumption(alice)
            others = await log_in_crowd(edge.direct, [ALICE], authority.certificate, 20)
            bob = await LightClient.login(other.starttls, BOB, authority.certificate)  # not over the edge
            bob.message(alice.jid, "before")
            assert (await alice.next()).findtext(BODY) == "before"
            await network.go_away()
            bob.message(alice.jid, "meanwhile")
            await bob.ping()
            assert {await client.end() for client in (alice, *others)} == {"remote-connection-failed"}
            assert not await asyncio.to_thread(edge.ready)
            await network.come_back()
            await until(lambda: edge.metric("megaphone_links", state="attached") == 2, "links again")
            assert await asyncio.to_thread(edge.metric, "megaphone_link_attaches_total", session="resumed") == 0
            again = await LightClient.login(edge.direct, ALICE, authority.certificate, resume=(identifier, 1))
            assert await next_body(again) == "meanwhile"
            bob.message(alice.jid, "after")
            assert await next_body(again) == "after"
            await asyncio.gather(again.close(), bob.close())

    try:
        other.start()
        asyncio.run(main())
    finally:
        other.stop()


async def next_body(client: LightClient) -> str:
    """The next message's text."""
    while (body := (await client.next()).findtext(BODY)) is None:
        pass
    return body

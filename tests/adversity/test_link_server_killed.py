"""SIGKILL for the server at the other end of the links: clients are told, and the links come back when it does."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.link.sides import SIDES, ServerSide
from tests.scenarios.crowd import log_in_crowd, talk
from tests.servers.certificates import CertificateAuthority
from tests.servers.linked import edge_with_links, until
from tests.servers.megaphone import Edge
from tests.servers.model import ALICE, BOB

CLIENTS = 60


@pytest.fixture
def side(request: pytest.FixtureRequest, tmp_path: Path, authority: CertificateAuthority) -> Iterator[ServerSide]:
    """A server side that may be killed: a stock server with our module, or the hub in front of one that lives on."""
    side = SIDES[request.param](tmp_path / "server", authority)
    try:
        side.start()
        yield side
    finally:
        side.stop()


@pytest.fixture
def edge(tmp_path: Path, authority: CertificateAuthority, side: ServerSide) -> Iterator[Edge]:
    """Megaphone with two links to it."""
    with edge_with_links(tmp_path, authority, side.address, side.secret, workers=1) as edge:
        yield edge


@pytest.mark.parametrize(
    ("side", "returns"),
    [("prosody", "in time"), ("ejabberd", "in time"), ("hub", "in time"), ("prosody", "too late")],
    indirect=["side"],
)
def test_clients_are_told_and_links_begin_anew(
    side: ServerSide, edge: Edge, authority: CertificateAuthority, returns: str
) -> None:
    """A server that comes back in time knows no session of before; one that does not is waited for, then given up."""

    async def main() -> None:
        clients = await log_in_crowd(edge.direct, (ALICE, BOB), authority.certificate, CLIENTS)
        await talk(clients, messages=2, pause_seconds=0.0)
        ends = [asyncio.create_task(client.end(60.0)) for client in clients]
        await asyncio.to_thread(side.kill)
        await until(lambda: edge.metric("megaphone_links", state="attached") == 0, "broken links")
        if returns == "in time":
            assert not any(end.done() for end in ends), "they wait"
            await asyncio.to_thread(side.start)
        assert set(await asyncio.gather(*ends)) == {"remote-connection-failed"}
        if returns == "too late":
            assert not await asyncio.to_thread(edge.ready)
            await asyncio.to_thread(side.start)
        await until(lambda: edge.metric("megaphone_links", state="attached") == 2, "links again", 30.0)
        assert await asyncio.to_thread(edge.metric, "megaphone_link_attaches_total", session="new") == 4
        assert await asyncio.to_thread(edge.metric, "megaphone_link_attaches_total", session="resumed") == 0
        await until(lambda: edge.metric("megaphone_link_streams") == 0, "no stream of before")
        later = await log_in_crowd(edge.direct, (ALICE, BOB), authority.certificate, CLIENTS)
        await talk(later, messages=2, pause_seconds=0.0)
        await asyncio.gather(*(client.close() for client in later))

    asyncio.run(main())

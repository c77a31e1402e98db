"""Megaphone in link mode before stock ejabberd and Prosody with our modules: login, messages, orderly ends."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.link.sides import SIDES, ServerSide
from tests.scenarios.light import LightClient
from tests.servers.certificates import CertificateAuthority
from tests.servers.linked import secret_file, until
from tests.servers.megaphone import Edge
from tests.servers.model import ALICE, BOB

CLIENTS = 40
BODY = "{jabber:client}body"


@pytest.fixture(scope="module", params=["prosody", "ejabberd"])
def side(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority
) -> Iterator[ServerSide]:
    """A stock server with our module."""
    server = SIDES[request.param](tmp_path_factory.mktemp(f"linked-{request.param}"), authority)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def edge(tmp_path: Path, authority: CertificateAuthority, side: ServerSide) -> Iterator[Edge]:
    """Megaphone in front of it, one worker with two links."""
    upstream = {
        "name": "server",
        "address": f"{side.address[0]}:{side.address[1]}",
        "mode": "link",
        "secret_file": str(secret_file(tmp_path, side.secret)),
    }
    edge = Edge(tmp_path, authority, [upstream], workers=1, domains=[side.domain])
    try:
        edge.start()
        yield edge
    finally:
        edge.stop()


def test_clients_talk_and_one_stream_each_is_on_two_links(edge: Edge, authority: CertificateAuthority) -> None:
    async def main() -> None:
        clients = await asyncio.gather(
            *(
                LightClient.login(
                    (edge.starttls, edge.direct)[number % 2], (ALICE, BOB)[number // 2 % 2], authority.certificate
                )
                for number in range(CLIENTS)
            )
        )
        await until(lambda: edge.metric("megaphone_link_streams") == CLIENTS, "all streams")
        assert await asyncio.to_thread(edge.metric, "megaphone_links", state="attached") == 2
        for number, client in enumerate(clients):
            client.message(clients[(number + 1) % CLIENTS].jid, f"from {number}")
        for number, client in enumerate(clients):
            while (body := (await client.next()).findtext(BODY)) is None:
                pass
            assert body == f"from {(number - 1) % CLIENTS}"
        for client in clients:
            client.send("</stream:stream>")
        assert {await client.end() for client in clients} == {None}
        await until(lambda: edge.metric("megaphone_link_streams") == 0, "the end of all streams")
        assert await asyncio.to_thread(edge.metric, "megaphone_link_attaches_total") == 2

    asyncio.run(main())

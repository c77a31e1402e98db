"""The server sees the client's own address, over TCP and over a Unix socket, for IPv4 and IPv6."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.light import LightClient
from tests.servers.certificates import CertificateAuthority
from tests.servers.ejabberd import Ejabberd
from tests.servers.megaphone import Edge, upstream_of
from tests.servers.model import ALICE, Endpoint
from tests.servers.process import free_port


def addresses(ejabberd: Ejabberd, jid: str) -> list[tuple[str, int]]:
    """Address and port of the session `jid` as ejabberd knows them."""
    return [(user["ip"], user["port"]) for user in ejabberd.api("connected_users_info") if user["jid"] == jid]


@pytest.fixture(params=["tcp", "unix"])
def edge(
    request: pytest.FixtureRequest, authority: CertificateAuthority, ejabberd: Ejabberd, tmp_path: Path
) -> Iterator[Edge]:
    """Megaphone in front of ejabberd over each kind of socket, with an IPv6 listener."""
    upstream = upstream_of(ejabberd)
    if request.param == "unix":
        upstream["address"] = f"unix:{ejabberd.socket}"
    edge = Edge(tmp_path, authority, [upstream], workers=1)
    edge.tables["listen"].append({"address": f"[::1]:{free_port()}", "tls": "direct"})
    try:
        edge.start()
        yield edge
    finally:
        edge.stop()


@pytest.mark.parametrize("tls", ["starttls", "direct"])
def test_ipv4_address_and_port(edge: Edge, ejabberd: Ejabberd, authority: CertificateAuthority, tls: str) -> None:
    async def session() -> None:
        client = await LightClient.login(getattr(edge, tls), ALICE, authority.certificate, source="127.0.0.77")
        assert addresses(ejabberd, client.jid) == [("127.0.0.77", client.local_port)]
        await client.close()

    asyncio.run(session())


def test_ipv6_address_and_port(edge: Edge, ejabberd: Ejabberd, authority: CertificateAuthority) -> None:
    port = int(edge.tables["listen"][-1]["address"].rpartition(":")[2])

    async def session() -> None:
        client = await LightClient.login(Endpoint("::1", port, "direct"), ALICE, authority.certificate)
        assert addresses(ejabberd, client.jid) == [("::1", client.local_port)]
        await client.close()

    asyncio.run(session())

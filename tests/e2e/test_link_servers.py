"""Megaphone in link mode before stock ejabberd and Prosody with our modules: login, messages, orderly ends."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.link.sides import SIDES, ServerSide
from tests.link.xmpp import LoginError, XmppClient
from tests.scenarios.light import LightClient
from tests.servers.certificates import CertificateAuthority
from tests.servers.linked import edge_with_links, until
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
    with edge_with_links(tmp_path, authority, side.address, side.secret, workers=1, domains=[side.domain]) as edge:
        yield edge


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


class TlsSocket:
    """A TLS 1.2 connection to the edge, for an XmppClient in the place of a stream of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, edge: Edge, authority: CertificateAuthority, domain: str) -> "TlsSocket":
        """Handshake with the direct TLS listener."""
        context = ssl.create_default_context(cafile=str(authority.certificate))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return cls(
            *await asyncio.open_connection(edge.direct.host, edge.direct.port, ssl=context, server_hostname=domain)
        )

    @property
    def unique(self) -> bytes:
        """This end's `tls-unique`."""
        tls: ssl.SSLObject = self._writer.get_extra_info("ssl_object")
        found = tls.get_channel_binding("tls-unique")
        assert found is not None
        return found

    async def read(self, timeout_seconds: float) -> bytes:
        """What came; b"" at the end."""
        async with asyncio.timeout(timeout_seconds):
            return await self._reader.read(65_536)

    def write(self, data: bytes) -> None:
        """Send all."""
        self._writer.write(data)

    def abort(self) -> None:
        """Drop the connection."""
        self._writer.transport.abort()


@pytest.mark.parametrize("honest", [True, False])
def test_scram_plus_binds_the_clients_tls_to_the_server(
    edge: Edge, side: ServerSide, authority: CertificateAuthority, honest: bool
) -> None:
    """TLS ends at the edge, which tells the server the client's `tls-unique`; a client that says another is refused."""

    async def main() -> None:
        connection = await TlsSocket.connect(edge, authority, side.domain)
        binding = connection.unique if honest else bytes(12)
        stream: Any = connection
        client = XmppClient(stream, ALICE, binding)
        await client.begin()
        assert "SCRAM-SHA-1-PLUS" in client.mechanisms
        if honest:
            await client.authenticate("SCRAM-SHA-1-PLUS")
            await client.bind()
            await client.ping()
        else:
            with pytest.raises(LoginError):
                await client.authenticate("SCRAM-SHA-1-PLUS")
        connection.abort()

    asyncio.run(main())

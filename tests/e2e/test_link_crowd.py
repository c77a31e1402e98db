"""2,000 clients from 2,000 addresses on two links: the server has two sockets and knows where each client is."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.link.sides import NO_ARCHIVE
from tests.scenarios.crowd import CROWD_ACCOUNTS, log_in_crowd, talk
from tests.scenarios.light import LightClient
from tests.servers.certificates import CertificateAuthority
from tests.servers.ejabberd_link import SECRET as EJABBERD_SECRET
from tests.servers.ejabberd_link import EjabberdLink
from tests.servers.linked import edge_with_links, until
from tests.servers.megaphone import Edge
from tests.servers.prosody_link import SECRET as PROSODY_SECRET
from tests.servers.prosody_link import ProsodyLink

CLIENTS = 2_000
TCP_ESTABLISHED = "01"  # as /proc/net/tcp has it
Server = ProsodyLink | EjabberdLink


@pytest.fixture(params=["prosody", "ejabberd"])
def server(request: pytest.FixtureRequest, tmp_path: Path, authority: CertificateAuthority) -> Iterator[Server]:
    """A stock server with our module, and without an archive."""
    server: Server
    if request.param == "prosody":
        server = ProsodyLink(tmp_path / "server", authority, options=NO_ARCHIVE, accounts=CROWD_ACCOUNTS)
        server.register()
    else:
        server = EjabberdLink(tmp_path / "server", authority, accounts=CROWD_ACCOUNTS)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def edge(tmp_path: Path, authority: CertificateAuthority, server: Server) -> Iterator[Edge]:
    """Megaphone with two links into it."""
    secret = PROSODY_SECRET if server.name == "prosody" else EJABBERD_SECRET
    with edge_with_links(tmp_path, authority, server.link, secret, workers=1) as edge:
        yield edge


def address(number: int) -> str:
    """An address of its own for each client."""
    return f"127.{1 + number // 250}.7.{1 + number % 250}"


def sockets(pid: int) -> int:
    """The established TCP connections of a process, as `ss -tnp` lists them."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:  # closed meanwhile
            continue
        if target.startswith("socket:["):
            inodes.add(target[len("socket:[") : -1])
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    ]
    return sum(row[3] == TCP_ESTABLISHED and row[9] in inodes for row in rows)


def addresses_of_users(server: Server, clients: list[LightClient]) -> dict[str, str]:
    """What the server's own command says of each session."""
    if isinstance(server, EjabberdLink):
        return {user["jid"]: user["ip"] for user in server.api("connected_users_info")}
    listing = server.shell('c2s:show(nil, "jid ip")')
    found = {}
    for client in clients:
        row = re.search(rf"^ *{re.escape(client.jid)} +\| ([0-9.]+) ", listing, re.MULTILINE)
        assert row is not None, client.jid
        found[client.jid] = row[1]
    return found


def addresses_of_streams(server: Server) -> set[tuple[str, int]]:
    """Address and port of each stream, as the command of our module lists them."""
    if isinstance(server, EjabberdLink):
        return {
            (stream["address"], stream["port"])
            for link in server.api("megaphone_links")
            for stream in server.api("megaphone_streams", link=link["name"])
        }
    return {
        (found[1], int(found[2]))
        for found in re.finditer(r" (127\.[0-9.]+) +([0-9]+) ", server.shell("megaphone:streams()"))
    }


def test_two_thousand_clients_are_two_sockets(server: Server, edge: Edge, authority: CertificateAuthority) -> None:
    """All log in over STARTTLS with SASL PLAIN, and talk."""

    async def main() -> None:
        await until(lambda: sockets(server.process.pid) == 2, "two links and nothing else")
        clients = await log_in_crowd(edge.starttls, CROWD_ACCOUNTS, authority.certificate, CLIENTS, source=address)
        await talk(clients, messages=2, pause_seconds=0.0)
        await until(lambda: edge.metric("megaphone_link_streams") == CLIENTS, "all streams")
        assert await asyncio.to_thread(edge.metric, "megaphone_links", state="attached") == 2

        assert await asyncio.to_thread(sockets, server.process.pid) == 2
        known = await asyncio.to_thread(addresses_of_users, server, clients)
        assert {client.jid: known[client.jid] for client in clients} == {
            client.jid: address(number) for number, client in enumerate(clients)
        }
        ports = {(address(number), client.local_port) for number, client in enumerate(clients)}
        assert await asyncio.to_thread(addresses_of_streams, server) == ports
        if isinstance(server, EjabberdLink):  # Prosody's log names no addresses
            log, everybody = server.directory / "ejabberd.log", {address(number) for number in range(CLIENTS)}
            accepted = re.compile(r"Accepted c2s PLAIN authentication .* from (127\.[0-9.]+)")
            await until(lambda: set(accepted.findall(log.read_text())) == everybody, "all in the log")

        await asyncio.gather(*(client.close() for client in clients))
        await until(lambda: edge.metric("megaphone_link_streams") == 0, "the end of all streams")
        assert await asyncio.to_thread(sockets, server.process.pid) == 2

    asyncio.run(main())

"""Clients over links into a stock Prosody behind the reference server side: login, messages, drain, status, TLS."""

import asyncio
import json
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.link.frames import Reason
from tests.link.serve import echo
from tests.link.server import ReferenceServer, run
from tests.link.stream import Stream
from tests.scenarios.light import LightClient, StreamEndError
from tests.scenarios.transcript import STREAM
from tests.servers.certificates import CertificateAuthority
from tests.servers.linked import SECRET, link_upstream, linked, until
from tests.servers.megaphone import Edge
from tests.servers.model import ALICE, BOB, CAROL, DOMAIN
from tests.servers.process import ServerError
from tests.servers.prosody import Prosody

CLIENTS = 200
BODY = "{jabber:client}body"


async def next_body(client: LightClient) -> str:
    """The next message's text."""
    while (body := (await client.next()).findtext(BODY)) is None:
        pass
    return body


def test_clients_log_in_and_talk(tmp_path: Path, authority: CertificateAuthority, prosody_behind_edge: Prosody) -> None:
    async def main() -> None:
        async with linked(tmp_path, authority, prosody_behind_edge.plain, workers=2) as (edge, _):
            alice = await LightClient.login(edge.starttls, ALICE, authority.certificate)
            bob = await LightClient.login(edge.direct, BOB, authority.certificate)
            for number in range(20):
                alice.message(bob.jid, f"to bob {number}")
                bob.message(alice.jid, f"to alice {number}")
            for number in range(20):
                assert await next_body(bob) == f"to bob {number}"
                assert await next_body(alice) == f"to alice {number}"
            alice.send("</stream:stream>")
            assert await alice.end() is None
            await bob.close()
            await until(lambda: edge.metric("megaphone_link_streams") == 0, "no stream left")

    run(main())


def test_two_hundred_clients_on_two_links(
    tmp_path: Path, authority: CertificateAuthority, prosody_behind_edge: Prosody
) -> None:
    async def main() -> None:
        async with linked(tmp_path, authority, prosody_behind_edge.plain) as (edge, side):
            clients = await asyncio.gather(
                *(
                    LightClient.login(edge.direct, (ALICE, BOB, CAROL)[number % 3], authority.certificate)
                    for number in range(CLIENTS)
                )
            )
            for number, client in enumerate(clients):
                client.message(clients[(number + 1) % CLIENTS].jid, f"from {number}")
            for number, client in enumerate(clients):
                assert await next_body(client) == f"from {(number - 1) % CLIENTS}"
            streams = [len(session.streams) for session in side.sessions.values()]
            assert len(streams) == 2
            assert sum(streams) == CLIENTS
            assert abs(streams[0] - streams[1]) <= 2
            ports = {
                stream.facts.client[1]
                for session in side.sessions.values()
                for stream in session.streams.values()
                if stream.facts.client is not None
            }
            assert ports == {client.local_port for client in clients}
            await until(lambda: edge.metric("megaphone_link_streams") == CLIENTS, "all streams counted")
            assert await asyncio.to_thread(edge.metric, "megaphone_links", state="attached") == 2
            shown = await asyncio.to_thread(asked, edge, "status", "RE-ATTACHED")
            links = shown["upstreams"][0]["links"]
            assert [link["state"] for link in links] == ["attached", "attached"]
            assert sorted(link["streams"] for link in links) == sorted(streams)
            rows = (await asyncio.to_thread(asked, edge, "links", "ROUND TRIP"))["links"]
            assert {row["name"]: row["streams"] for row in rows} == {
                session.hello.name: len(session.streams) for session in side.sessions.values()
            }
            assert {(row["upstream"], row["state"], row["waiting"]) for row in rows} == {("server", "attached", 0)}
            for row in rows:
                assert min(row["frames_in"], row["frames_out"], row["bytes_in"], row["bytes_out"]) > 0
                assert 0 < row["round_trip_seconds"] < 20
            await asyncio.gather(*(client.close() for client in clients))

    run(main())


def asked(edge: Edge, name: str, on_page: str) -> dict[str, Any]:
    """What `megaphone NAME --json` prints; the page for people has these words."""
    command = [sys.executable, "-m", "megaphone", name, "--socket", str(edge.admin_socket)]
    page = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert on_page in page
    told = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=60, check=True).stdout
    return dict(json.loads(told))


def test_a_drain_tells_clients_and_server(
    tmp_path: Path, authority: CertificateAuthority, prosody_behind_edge: Prosody
) -> None:
    async def main() -> None:
        async with linked(tmp_path, authority, prosody_behind_edge.plain) as (edge, side):
            clients = [await LightClient.login(edge.direct, ALICE, authority.certificate) for _ in range(4)]
            sessions = list(side.sessions.values())
            streams = [stream for session in sessions for stream in session.streams.values()]
            stopping = asyncio.create_task(asyncio.to_thread(edge.stop))
            assert set(await asyncio.gather(*(client.end() for client in clients))) == {"system-shutdown"}
            await stopping
            assert {(await stream.wait_end()).reason for stream in streams} == {Reason.SYSTEM_SHUTDOWN}
            assert all(session.draining for session in sessions)
            for session in sessions:
                await until(lambda session=session: session.failure is not None, "the end of the link")
                assert "SYSTEM_SHUTDOWN" in str(session.failure)

    run(main())


def test_over_a_unix_socket(tmp_path: Path, authority: CertificateAuthority, prosody_behind_edge: Prosody) -> None:
    async def main() -> None:
        listen = tmp_path / "link.sock"
        async with linked(tmp_path, authority, prosody_behind_edge.plain, listen=listen) as (edge, _):
            alice = await LightClient.login(edge.direct, ALICE, authority.certificate)
            await alice.ping()
            await alice.close()

    run(main())


@pytest.mark.parametrize("wrong", ["", "name", "client"])
def test_mutual_tls(
    tmp_path: Path, authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory, wrong: str
) -> None:
    """The server shows the certificate of its name; the edge shows one of the same authority."""
    ours, theirs = authority.issue("edge.example"), authority.issue("link.example")
    strangers = CertificateAuthority(tmp_path_factory.mktemp("strangers"))
    if wrong == "client":
        ours = strangers.issue("edge.example")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.certificate))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(theirs.chain, theirs.key)
    keys = {
        "ca": str(authority.certificate),
        "certificate": str(ours.chain),
        "key": str(ours.key),
        "server_name": "other.example" if wrong == "name" else "link.example",
        "links": 1,
    }

    async def main() -> None:
        async with ReferenceServer(SECRET, serve=echo, tls=context) as side:
            edge = Edge(tmp_path, authority, [link_upstream(tmp_path, side.address, **keys)], workers=1)
            if not wrong:
                await asyncio.to_thread(edge.start)
                session = await side.wait_session()
                assert session.wire is not None
                reader, writer = await asyncio.open_connection(
                    edge.direct.host,
                    edge.direct.port,
                    ssl=ssl.create_default_context(cafile=str(authority.certificate)),
                    server_hostname=DOMAIN,
                )
                said = f"<stream:stream to='{DOMAIN}' xmlns='jabber:client' xmlns:stream='{STREAM}'>".encode()
                said += b"<message>" + b"x" * 40_000 + b"</message>"
                writer.write(said)
                assert await reader.readexactly(len(said)) == said
                writer.transport.abort()
            else:
                edge.write_config()
                starting = asyncio.create_task(asyncio.to_thread(start_and_fail, edge))
                # in TLS 1.3 the server judges the edge's certificate when the edge thinks that all is well
                expected = {"name": "hostname mismatch", "client": "the server closed the socket"}[wrong]
                await until(lambda: edge.log.exists() and expected in edge.log.read_text().lower(), expected)
                assert not side.sessions
                await asyncio.to_thread(edge.stop)
                await starting
            await asyncio.to_thread(edge.stop)

    run(main())


def start_and_fail(edge: Edge) -> None:
    """Start an edge that never gets ready."""
    with pytest.raises(ServerError):
        edge.start()


def test_a_server_that_takes_no_more_streams_is_passed_on(tmp_path: Path, authority: CertificateAuthority) -> None:
    async def refuse(stream: Stream) -> None:
        stream.put_shutdown(Reason.RESOURCE_CONSTRAINT, "full")

    async def main() -> None:
        async with linked(tmp_path, authority, refuse) as (edge, _):
            with pytest.raises(StreamEndError) as refusal:
                await LightClient.login(edge.direct, ALICE, authority.certificate)
            assert refusal.value.condition == "resource-constraint"

    run(main())

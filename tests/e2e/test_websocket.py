"""Clients over WebSocket through a running Megaphone: in front of Prosody and ejabberd, over links, and by itself."""

import asyncio
import contextlib
import json
import socket
import ssl
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from tests.e2e.edges import edge_in, one_of, plain_listener, running
from tests.e2e.test_upgrade_direct import upgrade
from tests.link.server import run
from tests.scenarios.light import TIMEOUT_SECONDS, LightClient
from tests.scenarios.websocket_client import CLIENT, WebSocketClient
from tests.servers.certificates import CertificateAuthority
from tests.servers.embedded import Embedded
from tests.servers.linked import until
from tests.servers.megaphone import Edge, upstream_of
from tests.servers.model import ALICE, BOB, DOMAIN, ROOMS, Endpoint
from tests.servers.process import wait_until
from tests.servers.prosody import Prosody

CLIENTS = 16  # of two users: one may have ten sessions
MUC = "http://jabber.org/protocol/muc"


def for_browsers(edge: Edge) -> None:
    """WebSockets beside XMPP where there is direct TLS, and a plain listener for proxies."""
    edge.tables["listen"][1] |= {"web": ["websocket", "host-meta"], "tls": "both"}
    edge.plain = plain_listener(edge, web=["websocket"])  # type: ignore[attr-defined]
    edge.tables["websocket"] = {"forwarded_from": ["127.0.0.0/8"], "ping_seconds": 1.0}


in_front_of_prosody = edge_in("in_front_of_prosody", for_browsers)
in_front_of_ejabberd = edge_in("in_front_of_ejabberd", for_browsers)
linked_to_prosody = edge_in("linked_to_prosody", for_browsers)
linked_to_ejabberd = edge_in("linked_to_ejabberd", for_browsers)
by_itself = edge_in("by_itself", for_browsers)
edge = one_of("in_front_of_prosody", "in_front_of_ejabberd", "linked_to_prosody", "linked_to_ejabberd", "by_itself")


def test_two_kinds_of_clients_talk(edge: Edge, authority: CertificateAuthority) -> None:
    """Over WebSocket in TLS, over TCP with direct TLS on the same port, and behind a proxy that does TLS."""

    async def main() -> None:
        alice = await WebSocketClient.login(edge.direct, ALICE, authority.certificate)
        bob = await LightClient.login(edge.direct, BOB, authority.certificate)
        # whoever knew that there is no TLS would take no password
        plain: Endpoint = edge.plain  # type: ignore[attr-defined]
        proxied = await WebSocketClient.login(plain, ALICE, authority.certificate, forwarded="192.0.2.77")
        bob.send("<presence/>")
        for number in range(20):
            await alice.message(bob.jid, f"to bob {number} \u00e9\U0001f600")
            bob.message(alice.jid, f"to alice {number}")
        for number in range(20):
            assert await alice.next_body() == f"to alice {number}"
            while (body := (await bob.next()).findtext(f"{CLIENT}body")) is None:
                pass
            assert body == f"to bob {number} \u00e9\U0001f600"
        large = "x" * 150_000
        await alice.message(proxied.jid, large)
        assert await proxied.next_body() == large
        rows = (await asyncio.to_thread(edge.request, "GET", "/connections"))["connections"]
        assert "192.0.2.77" in {row["address"] for row in rows}
        assert {row["jid"]: row["transport"] for row in rows if row["jid"]} == {
            alice.jid: "websocket",
            proxied.jid: "websocket",
            bob.jid: "tcp",
        }
        assert await asyncio.to_thread(edge.metric, "megaphone_websocket_connections") == 2
        assert await alice.close() == 1000
        assert await proxied.close() == 1000
        await bob.close()
        await until(lambda: edge.metric("megaphone_websocket_connections") == 0, "no WebSocket left")

    run(main())


def test_where_it_is_found(edge: Edge, authority: CertificateAuthority) -> None:
    """XEP-0156, before XMPP on the same connection, as a proxy asks that keeps its connections."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    connection = HTTPSConnection(DOMAIN, edge.direct.port, context=context, timeout=TIMEOUT_SECONDS)
    sock = socket.create_connection((edge.direct.host, edge.direct.port), TIMEOUT_SECONDS)
    connection.sock = context.wrap_socket(sock, server_hostname=DOMAIN)
    with contextlib.closing(connection):
        for _ in range(2):
            connection.request("GET", "/.well-known/host-meta.json")
            answer = connection.getresponse()
            found = json.loads(answer.read())
            assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")
            # one on the loopback interface is nobody else's
            assert found == {"links": []}
        connection.request("GET", "/.well-known/host-meta.json", headers={"Host": "localhost"})
        rel = "urn:xmpp:alt-connections:websocket"
        assert json.loads(connection.getresponse().read())["links"] == [
            {"rel": rel, "href": f"wss://localhost:{edge.direct.port}/xmpp-websocket"},
            {"rel": rel, "href": f"ws://localhost:{edge.plain.port}/xmpp-websocket"},  # type: ignore[attr-defined]
        ]

        def rows() -> list[tuple[str, str]]:
            found = edge.request("GET", "/connections")["connections"]
            return [(row["transport"], row["state"]) for row in found]

        wait_until(lambda: rows() == [("http", "preauth")], "only this connection")


def test_the_roster_and_a_ping(edge: Edge, authority: CertificateAuthority) -> None:
    async def main() -> None:
        alice = await WebSocketClient.login(edge.direct, ALICE, authority.certificate)
        roster = await alice.ask("<query xmlns='jabber:iq:roster'/>", "get")
        assert roster.find("{jabber:iq:roster}query") is not None
        pong = await alice.ask("<ping xmlns='urn:xmpp:ping'/>", "get", ALICE.domain)
        assert pong.get("type") == "result"
        await alice.socket.ping()
        before = await asyncio.to_thread(edge.metric, "megaphone_websocket_pings_total", direction="out")
        await until(
            lambda: edge.metric("megaphone_websocket_pings_total", direction="out") >= before + 2, "pings of the edge"
        )
        assert (await alice.ask("<ping xmlns='urn:xmpp:ping'/>", "get", ALICE.domain)).get("type") == "result"
        assert await alice.close() == 1000

    run(main())


def test_a_room(by_itself: Edge, authority: CertificateAuthority) -> None:
    """Through rooms at another worker's home, too: the connection stays where it is, and its bytes go there."""

    async def main() -> None:
        room = f"websocket@{ROOMS}"
        endpoint, trusted = by_itself.direct, authority.certificate
        clients = [await WebSocketClient.login(endpoint, account, trusted) for account in (ALICE, BOB)]
        light = await LightClient.login(by_itself.direct, ALICE, authority.certificate)
        for number, client in enumerate(clients):
            await client.send(f"<presence xmlns='jabber:client' to='{room}/nick{number}'><x xmlns='{MUC}'/></presence>")
            while (await client.until(f"{CLIENT}presence")).get("from") != f"{room}/nick{number}":
                pass
            if number == 0:  # a new room is locked until its owner says what it shall be (XEP-0045 section 10.1.2)
                form = f"<query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'/></query>"
                assert (await client.ask(form, to=room)).get("type") == "result"
        light.send(f"<presence to='{room}/light'><x xmlns='{MUC}'/></presence>")
        for number, client in enumerate(clients):
            await client.send(
                f"<message xmlns='jabber:client' to='{room}' type='groupchat'><body>from {number}</body></message>"
            )
            for each in clients:
                assert await each.next_body() == f"from {number}"
        await asyncio.gather(*(client.close() for client in clients))
        await light.close()

    run(main())


@pytest.mark.parametrize("mode", ["in_front_of_prosody", "by_itself"])
def test_many_clients(request: pytest.FixtureRequest, mode: str, authority: CertificateAuthority) -> None:
    edge: Edge = request.getfixturevalue(mode)

    async def main() -> None:
        clients = await asyncio.gather(
            *(
                WebSocketClient.login(edge.direct, (ALICE, BOB)[number % 2], authority.certificate)
                for number in range(CLIENTS)
            )
        )
        for number, client in enumerate(clients):
            await client.message(clients[(number + 1) % CLIENTS].jid, f"from {number}")
        for number, client in enumerate(clients):
            assert await client.next_body() == f"from {(number - 1) % CLIENTS}"
        assert await asyncio.gather(*(client.close() for client in clients)) == [1000] * CLIENTS

    run(main())


@pytest.mark.parametrize("mode", ["direct", "embedded"])
def test_an_upgrade_is_not_noticed(
    tmp_path: Path, authority: CertificateAuthority, prosody_behind_edge: Prosody, mode: str
) -> None:
    if mode == "direct":
        edge = Edge(tmp_path, authority, [upstream_of(prosody_behind_edge)])
    else:
        edge = service = Embedded(tmp_path, authority, workers=1)
        service.register()
    with running(edge, for_browsers):

        async def main() -> None:
            alice = await WebSocketClient.login(edge.direct, ALICE, authority.certificate)
            bob = await WebSocketClient.login(edge.direct, BOB, authority.certificate)
            for number in range(2):
                done = await upgrade(edge)
                assert "2 connections moved, 0 ended" in done.stdout, done.stdout + done.stderr
                await alice.message(bob.jid, f"to bob {number}")
                assert await bob.next_body() == f"to bob {number}"
                await bob.message(alice.jid, f"to alice {number}")
                assert await alice.next_body() == f"to alice {number}"
            assert await asyncio.to_thread(edge.metric, "megaphone_websocket_connections") == 2
            assert [await alice.close(), await bob.close()] == [1000, 1000]
            await until(lambda: edge.metric("megaphone_websocket_connections") == 0, "no WebSocket left")

        run(main())


@pytest.mark.parametrize("how", ["drain", "kick"])
def test_an_operator_ends_them(tmp_path: Path, authority: CertificateAuthority, how: str) -> None:
    service = Embedded(tmp_path, authority, workers=1)
    service.register()
    with running(service, for_browsers) as edge:

        async def main() -> None:
            alice = await WebSocketClient.login(edge.direct, ALICE, authority.certificate)
            if how == "drain":
                stopped = asyncio.create_task(asyncio.to_thread(edge.stop))
                error = await alice.until("{http://etherx.jabber.org/streams}error")
                assert error[0].tag == "{urn:ietf:params:xml:ns:xmpp-streams}system-shutdown"
                assert await alice.end() == 1001
                await stopped
            else:
                await asyncio.to_thread(edge.request, "POST", "/kick", {"jid": alice.jid})
                await alice.until("{http://etherx.jabber.org/streams}error")
                assert await alice.end() in (1000, 1008)

        run(main())


def test_the_server_goes(tmp_path: Path, authority: CertificateAuthority) -> None:
    prosody = Prosody(tmp_path / "prosody", authority, "edge")
    prosody.register()
    prosody.start()
    try:
        with running(Edge(tmp_path, authority, [upstream_of(prosody)]), for_browsers) as edge:

            async def main() -> None:
                alice = await WebSocketClient.login(edge.direct, ALICE, authority.certificate)
                await asyncio.to_thread(prosody.stop)
                assert await alice.end() in (1000, 1014)

            run(main())
    finally:
        prosody.stop()

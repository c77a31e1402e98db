"""`megaphone hub` before servers without a module: what they see, what breaks and comes back, what operators do."""

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.link.edge import Edge, RefusedError, facts
from tests.link.frames import Reason
from tests.link.server import run
from tests.link.wire import WireClosedError
from tests.link.xmpp import XmppClient
from tests.scenarios.light import LightClient
from tests.scenarios.light import StreamEndError as LightEndError
from tests.servers.certificates import CertificateAuthority
from tests.servers.connections import established
from tests.servers.ejabberd import Ejabberd
from tests.servers.hub import Hub
from tests.servers.linked import until
from tests.servers.megaphone import Edge as Megaphone
from tests.servers.megaphone import upstream_of
from tests.servers.model import ALICE, BOB, DOMAIN
from tests.servers.process import LOOPBACK, free_port, wait_until
from tests.servers.prosody import Prosody

HERE = ("192.0.2.77", 50_123)
MESSAGES = 20


@contextmanager
def running(hub: Hub, *, ready: bool = True) -> Iterator[Hub]:
    """The hub, while it runs."""
    try:
        hub.start(ready=ready)
        yield hub
    finally:
        hub.stop()


def edge_of(hub: Hub, **options: Any) -> Edge:
    """A reference edge for a hub, not connected yet."""
    return Edge(hub.link, options.pop("secret", hub.secret), **options)


def linked(hub: Hub, directory: Path, authority: CertificateAuthority) -> Megaphone:
    """An edge of our own whose links end at the hub."""
    assert isinstance(hub.link, tuple)
    upstream = {
        "name": "hub",
        "mode": "link",
        "address": f"{hub.link[0]}:{hub.link[1]}",
        "secret_file": str(hub.directory / "link.secret"),
    }
    return Megaphone(directory, authority, [upstream], workers=1, domains=[DOMAIN])


@pytest.fixture
def hub(tmp_path: Path, prosody_behind_edge: Prosody) -> Iterator[Hub]:
    """A hub before stock Prosody."""
    with running(Hub(tmp_path / "hub", [upstream_of(prosody_behind_edge)])) as hub:
        yield hub


def test_clients_of_an_edge(hub: Hub, tmp_path: Path, authority: CertificateAuthority) -> None:
    """Login, messages both ways, and the hub's process killed under it: the next login works."""
    edge = linked(hub, tmp_path / "edge", authority)

    async def session() -> None:
        await until(lambda: edge.metric("megaphone_links", state="attached") == 2, "a link for each client")
        alice = await LightClient.login(edge.starttls, ALICE, authority.certificate)
        bob = await LightClient.login(edge.direct, BOB, authority.certificate)
        for number in range(MESSAGES):
            alice.message(bob.jid, f"to Bob {number}")
            bob.message(alice.jid, f"to Alice {number}")
        for number in range(MESSAGES):
            assert (await bob.next()).findtext("{*}body") == f"to Bob {number}"
            assert (await alice.next()).findtext("{*}body") == f"to Alice {number}"
        await until(lambda: hub.metric("megaphone_hub_links", state="attached") == 2, "both links counted")
        rows = hub.request("GET", "/connections")["connections"]
        assert {(row["address"], row["port"]) for row in rows} == {
            ("127.0.0.1", client.local_port) for client in (alice, bob)
        }
        ours, theirs = (json.loads(megaphone(node, "links", "--json").stdout)["links"] for node in (hub, edge))
        assert {(link["name"], link["streams"], link["state"]) for link in ours} == {
            (link["name"], 1, "attached") for link in theirs
        }
        assert {link["peer"].partition(" ")[0] for link in ours} == {LOOPBACK}
        for link in ours:
            assert min(link["frames_in"], link["frames_out"], link["bytes_in"], link["bytes_out"]) > 0
        [worker] = hub.workers()
        os.kill(worker, signal.SIGKILL)
        for client in (alice, bob):
            assert await client.end() == "remote-connection-failed"
        await asyncio.to_thread(wait_until, edge.ready, "links to the hub's next process")
        again = await LightClient.login(edge.starttls, ALICE, authority.certificate)
        await again.ping()
        await again.close()

    try:
        edge.start()
        asyncio.run(session())
        assert hub.metric("megaphone_worker_restarts_total", cause="signal") == 1
    finally:
        edge.stop()


def test_server_is_down(tmp_path: Path, authority: CertificateAuthority) -> None:
    hub = Hub(tmp_path / "hub", [{"name": "server", "address": f"{LOOPBACK}:{free_port()}", "proxy_protocol": False}])
    edge = linked(hub, tmp_path / "edge", authority)

    async def clients() -> None:
        async with edge_of(hub) as reference:
            for _ in range(3):
                assert (await reference.open().wait_end()).reason == Reason.REMOTE_CONNECTION_FAILED
            assert not reference.streams
        with pytest.raises(LightEndError, match="remote-connection-failed"):
            await LightClient.login(edge.direct, ALICE, authority.certificate)

    with running(hub, ready=False):
        try:
            edge.start()
            run(clients())
        finally:
            edge.stop()
        assert not hub.ready()


def test_next_server_is_tried(tmp_path: Path, prosody_behind_edge: Prosody) -> None:
    """What the client has said waits until a server is found."""
    dead = {"name": "dead", "address": f"{LOOPBACK}:{free_port()}", "proxy_protocol": False}
    hub = Hub(tmp_path, [dead, upstream_of(prosody_behind_edge)])
    hub.tables["health"]["fall"] = 1_000_000  # so that only connecting shows which one is dead

    async def main() -> None:
        async with edge_of(hub) as edge:
            for _ in range(3):
                client = await XmppClient.login(edge, ALICE)
                await client.ping()

    with running(hub):
        run(main())
        assert hub.metric("megaphone_upstream_connects_total", upstream="dead", result="failed") >= 1
        hub.wait_for_metric("megaphone_upstream_connections", 0, upstream="server")


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("address", [HERE, ("2001:db8::77", 50_124)], ids=["IPv4", "IPv6"])
def test_server_sees_the_clients_address(
    tmp_path: Path, ejabberd: Ejabberd, kind: str, address: tuple[str, int]
) -> None:
    upstream = upstream_of(ejabberd)
    if kind == "unix":
        upstream["address"] = f"unix:{ejabberd.socket}"

    async def main() -> None:
        async with edge_of(hub) as edge:
            client = await XmppClient.login(edge, ALICE, client=facts(address))
            users = await asyncio.to_thread(ejabberd.api, "connected_users_info")
            assert [(user["ip"], user["port"]) for user in users if user["jid"] == client.jid] == [address]
            await client.ping()
            rows = hub.request("GET", f"/connections?address={address[0]}")["connections"]
            assert [(row["address"], row["port"], row["state"]) for row in rows] == [(*address, "relaying")]

    with running(Hub(tmp_path / "hub", [upstream], unix=kind == "unix")) as hub:
        run(main())
        wait_until(lambda: hub.metric("megaphone_connections") == 0, "the end of the stream")
        assert hub.metric("megaphone_connections_accepted_total") == 1


def test_mutual_tls(tmp_path: Path, prosody_behind_edge: Prosody, authority: CertificateAuthority) -> None:
    """Only edges with a certificate of the right authority are heard; the rest is as without TLS."""
    files, strange = authority.issue("localhost"), CertificateAuthority(tmp_path / "strange")
    hub = Hub(
        tmp_path / "hub",
        [upstream_of(prosody_behind_edge)],
        certificate=str(files.chain),
        key=str(files.key),
        client_ca=str(authority.certificate),
        window_bytes=8_192,
    )

    def context(of: CertificateAuthority | None) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(authority.certificate))
        if of is not None:
            own = of.issue("edge")
            made.load_cert_chain(own.chain, own.key)
        return made

    async def main() -> None:
        async with edge_of(hub, tls=context(authority), server_name="localhost") as edge:
            alice, bob = await XmppClient.login(edge, ALICE), await XmppClient.login(edge, BOB)
            for number in range(MESSAGES):
                alice.message(bob.jid, f"{number} {'x' * 20_000}")
            await edge.cut_and_reattach()
            for number in range(MESSAGES):
                assert (await bob.next_body()).split()[0] == str(number)
        for certificates in (None, strange):
            with pytest.raises((OSError, WireClosedError)):
                await edge_of(hub, tls=context(certificates), server_name="localhost").connect()

    with running(hub):
        run(main())
        hub.wait_for_metric("megaphone_tls_handshakes_total", 2, result="failed")
        assert hub.metric("megaphone_hub_attaches_total", session="new") == 1
        assert hub.metric("megaphone_hub_attaches_total", session="resumed") == 1


def test_wrong_secret(hub: Hub) -> None:
    async def main() -> None:
        with pytest.raises(RefusedError) as refused:
            await edge_of(hub, secret=bytes(32)).connect()
        assert refused.value.reason == Reason.NOT_AUTHORIZED

    run(main())
    wait_until(lambda: hub.metric("megaphone_hub_refused_total") == 1, "the refusal on the board")
    assert "not-authorized" in hub.log.read_text()


def test_kick_and_drain(hub: Hub) -> None:
    """One client is ended with policy-violation; SIGTERM ends the others, then the link, with system-shutdown."""

    async def main() -> None:
        async with edge_of(hub) as edge:
            clients = [await XmppClient.login(edge, ALICE, client=facts((f"192.0.2.{n}", 5_000))) for n in (1, 2)]
            done = await asyncio.to_thread(megaphone, hub, "kick", "--address", "192.0.2.1")
            assert done.returncode == 0, done.stderr
            assert (await clients[0].stream.wait_end()).reason == Reason.POLICY_VIOLATION
            await clients[1].ping()
            hub.process.signal(signal.SIGTERM)
            assert (await clients[1].stream.wait_end()).reason == Reason.SYSTEM_SHUTDOWN
            assert edge.draining
            assert (await edge.wait_link_end()).reason == Reason.SYSTEM_SHUTDOWN

    run(main())
    assert hub.process.wait(20.0) == 0


def test_operators(hub: Hub, tmp_path: Path) -> None:
    """status and a reload with the hub's own file; what a reload cannot change is refused."""
    status = megaphone(hub, "status")
    assert status.returncode == 0, status.stdout + status.stderr
    assert "ready" in status.stdout
    hub.tables["hub"]["slow_seconds"] = 7
    hub.tables["drain"] = {"deadline_seconds": 2.0}
    hub.write_config()
    assert megaphone(hub, "reload").returncode == 0
    for key, value in (("grace_seconds", 9), ("address", f"{LOOPBACK}:{free_port()}"), ("max_links", 3)):
        table = hub.tables["hub"]
        before = table.get(key)
        table[key] = value
        hub.write_config()
        refused = megaphone(hub, "reload")
        assert refused.returncode == 2
        assert f"hub.{key}: cannot change while running" in refused.stderr
        if before is None:
            del table[key]
        else:
            table[key] = before


def test_links_as_an_operator_sees_them(hub: Hub) -> None:
    """None; one; one whose edge has gone; the same one when the edge is back."""

    def only_link() -> dict[str, Any]:
        [link] = json.loads(megaphone(hub, "links", "--json").stdout)["links"]
        return dict(link)

    async def main() -> None:
        assert (await asyncio.to_thread(megaphone, hub, "links")).stdout == "there are no links\n"
        async with edge_of(hub, name="reference") as edge:
            client = await XmppClient.login(edge, ALICE)
            head, row = (await asyncio.to_thread(megaphone, hub, "links")).stdout.splitlines()
            assert head.split()[:4] == ["WORKER", "PEER", "LINK", "STATE"]
            assert "  reference  attached  " in row
            edge.cut()
            await asyncio.to_thread(wait_until, lambda: only_link()["state"] == "broken", "the hub sees the break")
            broken = await asyncio.to_thread(only_link)
            assert (broken["peer"], broken["streams"], broken["reattached"]) == (None, 1, 0)
            assert broken["trouble"] in ("the edge closed the socket", "Connection reset by peer")
            assert await edge.reattach()
            await client.ping()
            again = await asyncio.to_thread(only_link)
            assert (again["state"], again["trouble"], again["reattached"]) == ("attached", None, 1)
            assert again["bytes_in"] > broken["bytes_in"]

    run(main())


def megaphone(node: Hub | Megaphone, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command on the node's file."""
    return subprocess.run(
        [sys.executable, "-m", "megaphone", *words, "-c", str(node.config_path)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_a_link_is_one_socket(hub: Hub) -> None:
    """Many clients, one socket between edge and hub."""

    def sockets() -> int:
        assert isinstance(hub.link, tuple)
        return established([hub.link[1]])

    async def main(count: Callable[[], int]) -> None:
        async with edge_of(hub) as edge:
            clients = await asyncio.gather(*[XmppClient.login(edge, ALICE) for _ in range(30)])
            assert await asyncio.to_thread(count) == 1
            for client in clients:
                await client.ping()

    run(main(sockets))

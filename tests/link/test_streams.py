"""Conformance: opening and ending streams, ids, and what XMPP clients do on them."""

import asyncio
from dataclasses import replace

import pytest

from tests.link.bridge import port
from tests.link.conformance import Talkers, edge_of
from tests.link.edge import facts
from tests.link.frames import FEATURE_GOES_ON, Field, Reason
from tests.link.server import run
from tests.link.sides import STREAMS, ServerSide
from tests.link.xmpp import CLIENT, LoginError, StreamEndError, XmppClient, unique
from tests.scenarios.client import Client, stanza
from tests.scenarios.transcript import Transcript
from tests.servers.certificates import CertificateAuthority
from tests.servers.model import ALICE, BOB, CAROL, ROOMS, Account

REUSES = 1_000


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-1"])
@pytest.mark.parametrize("account", [ALICE, BOB], ids=["alice", "bob"])
def test_login(side: ServerSide, mechanism: str, account: Account) -> None:
    async def main() -> None:
        async with edge_of(side) as edge:
            client = await XmppClient.login(edge, account, mechanism=mechanism)
            await client.ping()
            await client.leave()
            assert client.stream.end is not None
            assert client.stream.end.reason == Reason.CLOSED
            assert not edge.streams

    run(main())


def test_wrong_password(side: ServerSide) -> None:
    async def main() -> None:
        async with edge_of(side) as edge:
            for mechanism in ("PLAIN", "SCRAM-SHA-1"):
                with pytest.raises(LoginError, match="not-authorized"):
                    await XmppClient.login(edge, replace(ALICE, password="wrong"), mechanism=mechanism)

    run(main())


def test_plus_with_forwarded_tls_unique(side: ServerSide) -> None:
    async def main() -> None:
        if not side.channel_binding:
            pytest.skip("this server side takes no channel bindings")
        async with edge_of(side) as edge:
            binding = unique()
            client = await XmppClient.login(
                edge, ALICE, mechanism="SCRAM-SHA-1-PLUS", client=facts(unique=binding), binding=binding
            )
            await client.ping()
            lying = XmppClient(edge.open(facts(unique=unique())), ALICE, binding=unique())
            await lying.begin()
            assert "SCRAM-SHA-1-PLUS" in lying.mechanisms
            with pytest.raises(LoginError):
                await lying.authenticate("SCRAM-SHA-1-PLUS")

    run(main())


@pytest.mark.parametrize("why", ["no binding", "no TLS", "feature not agreed"])
def test_no_plus_without_a_binding(side: ServerSide, why: str) -> None:
    async def main() -> None:
        features = FEATURE_GOES_ON if why == "feature not agreed" else 0xFFFF_FFFF
        async with edge_of(side, features=features) as edge:
            told = facts(tls_version=0, transport=1) if why == "no TLS" else facts()
            client = XmppClient(edge.open(told), ALICE)
            try:
                await client.begin()
            except StreamEndError:
                assert why == "no TLS"  # a server may insist on encryption
                return
            assert [each for each in client.mechanisms if each.endswith("-PLUS")] == []
            assert "SCRAM-SHA-1" in client.mechanisms
            await client.authenticate("SCRAM-SHA-1")

    run(main())


def test_as_many_streams_as_allowed_and_one_more(side: ServerSide) -> None:
    async def main() -> None:
        async with edge_of(side) as edge:
            for _ in range(2):
                streams = [edge.open() for _ in range(STREAMS)]
                await edge.ping_and_wait()
                for stream in streams:
                    stream.put_shutdown(Reason.CONNECTION_LOST)
                await asyncio.gather(*[stream.wait_end() for stream in streams])
            for _ in range(STREAMS + 1):
                edge.open()
            end = await edge.wait_link_end()
            assert end.reason == Reason.PROTOCOL_ERROR
            assert "OPEN" in end.text

    run(main())


def test_crossed_closes_and_reuse_of_ids(side: ServerSide) -> None:
    """The server ends the stream because of the client's end; the edge ends it before, at the same time, or after."""

    async def main() -> None:
        async with edge_of(side) as edge:
            crossed = 0
            for number in range(REUSES):
                stream = edge.open(identifier=1 + number % 3)
                stream.write(
                    b"<stream:stream to='example.test' xmlns='jabber:client' "
                    b"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'></stream:stream>"
                )
                if number % 4 == 0:
                    await edge.until(lambda stream=stream: stream.received > 0)  # type: ignore[misc]
                elif number % 4 == 1:
                    await edge.ping_and_wait()
                elif number % 4 == 2:
                    await stream.wait_end()
                crossed += stream.end is None
                stream.put_shutdown(Reason.CLOSED)
                await stream.wait_end()
                assert not edge.streams
            assert crossed
            client = await XmppClient.login(edge, ALICE, identifier=1)
            await client.ping()

    run(main())


def test_server_ends_a_stream(side: ServerSide) -> None:
    """After its last word, which comes before the SHUTDOWN; the id is free then."""

    async def main() -> None:
        async with edge_of(side) as edge:
            for _ in range(20):
                client = XmppClient(edge.open(identifier=5), ALICE)
                await client.begin()
                client.send("<not-well-formed></wrong>")
                with pytest.raises(StreamEndError) as ended:
                    await client.next()
                assert ended.value.condition in ("not-well-formed", "bad-format", "xml-not-well-formed")
                await client.stream.wait_end()
                assert not edge.streams

    run(main())


def test_room(side: ServerSide) -> None:
    async def main() -> None:
        async with edge_of(side) as edge:
            room = f"link-{side.name}@{ROOMS}"
            clients = [await XmppClient.login(edge, account) for account in (ALICE, BOB, CAROL)]
            await clients[0].join(room, "0")
            await clients[0].ask(
                "set",
                "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>",
                room,
            )
            for number, client in enumerate(clients[1:], start=1):
                await client.join(room, str(number))
            clients[1].send(f"<message type='groupchat' to='{room}'><body>to all</body></message>")
            for client in clients:
                assert await client.next_body() == "to all"

    run(main())


def test_resumption_on_another_stream(side: ServerSide) -> None:
    """XEP-0198: the connection is lost, messages wait, and the session goes on in a new stream."""

    async def main() -> None:
        async with edge_of(side) as edge:
            friend = await XmppClient.login(edge, BOB)
            client = await XmppClient.login(edge, ALICE)
            await client.enable_resumption()
            friend.message(client.jid, "before")
            assert await client.next_body() == "before"
            await client.stream.close(Reason.CONNECTION_LOST)
            friend.message(client.jid, "between")
            await friend.ping()
            after = await client.resume(edge)
            assert await after.next_body() == "between"
            friend.message(after.jid, "after")
            assert await after.next_body() == "after"
            await after.leave()

    run(main())


def test_end_of_a_stream_is_the_end_of_the_session(side: ServerSide) -> None:
    """Without stream management others see the user go."""

    async def main() -> None:
        async with edge_of(side) as edge:
            for reason in (Reason.CLOSED, Reason.CONNECTION_LOST, Reason.POLICY_VIOLATION):
                watcher = await XmppClient.login(edge, ALICE)
                watcher.presence()
                client = await XmppClient.login(edge, ALICE)
                client.presence()
                await client.stream.close(reason, "test")
                while True:
                    element = await watcher.next()
                    if element.get("from") == client.jid and element.get("type") == "unavailable":
                        break
                await watcher.leave()

    run(main())


def test_fifty_talkers(side: ServerSide) -> None:
    async def main() -> None:
        async with edge_of(side) as edge:
            await (await Talkers.login(edge, 50)).talk(messages=40)

    run(main())


def test_unix_addresses_and_all_facts(side: ServerSide) -> None:
    """Every field at once, TLS 1.3, and an address nobody knows."""

    async def main() -> None:
        async with edge_of(side) as edge:
            told = facts(("0.0.0.0", 0), tls_version=0x0304, exporter=bytes(32))
            more = ((Field.ALPN, b"xmpp-client"), (Field.EDGE_CERTIFICATE, bytes(64)), (99, b"unknown"))
            client = await XmppClient.login(
                edge, ALICE, mechanism="SCRAM-SHA-1", client=replace(told, fields=told.fields + more)
            )
            await client.ping()

    run(main())


def test_slixmpp_over_the_link(side: ServerSide, authority: CertificateAuthority) -> None:
    async def main() -> None:
        transcript = Transcript()
        transcript.begin("all")
        async with edge_of(side) as edge, port(edge) as endpoint:
            alice = Client("alice", ALICE, endpoint, authority.certificate, transcript, stream_management=True)
            bob = Client("bob", BOB, endpoint, authority.certificate, transcript)
            for each in (alice, bob):
                each.plugin["feature_mechanisms"].unencrypted_scram = True
            try:
                await alice.login()
                await bob.login()
                alice.say(f"<message type='chat' to='{bob.boundjid.full}'><body>hello</body></message>")
                await bob.expect(stanza("message", of=alice.boundjid.full, child=f"{CLIENT}body"))
                await alice.cut()
                bob.say(f"<message type='chat' to='{alice.boundjid.full}'><body>later</body></message>")
                await bob.settle()
                await alice.resume()
                await alice.expect(stanza("message", of=bob.boundjid.full, child=f"{CLIENT}body"))
                await alice.leave()
                await bob.leave()
            finally:
                await alice.dispose()
                await bob.dispose()

    run(main())

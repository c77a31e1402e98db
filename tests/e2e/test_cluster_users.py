"""slixmpp's users on several nodes: what they say to each other, who is told when a node dies, what waits for whom."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from megaphone.service.ports import RosterItem
from megaphone.storage.storage import Storage
from megaphone.storage.users import SQLiteUsers
from megaphone.stream.jid import JID
from tests.e2e.test_upgrade_direct import upgrade
from tests.scenarios.client import Client, Match, stanza
from tests.scenarios.company import Company, Script, event, play, soon
from tests.scenarios.talkers import conversation
from tests.servers.certificates import CertificateAuthority
from tests.servers.cluster import Cluster
from tests.servers.model import ALICE, BOB, CAROL, ROOMS, Account

Played = Callable[[Script], None]
CHAT = {"mtype": "chat"}
MESSAGES = 15  # that everybody hears between two events
INSTANT = "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Cluster]:
    """Three nodes of two workers."""
    with Cluster(tmp_path_factory.mktemp("cluster"), authority, nodes=3) as running:
        yield running


@pytest.fixture
def played(cluster: Cluster, authority: CertificateAuthority) -> Played:
    return lambda script: play(cluster.nodes[0], authority.certificate, script)


def bodies(client: Client) -> list[str]:
    return [
        entry.element.findtext("{jabber:client}body", "")
        for entry in client.transcript.entries
        if entry.client == client.name
        and entry.direction == "in"
        and entry.element is not None
        and entry.element.tag == "{jabber:client}message"
        and entry.element.find("{jabber:client}body") is not None
    ]


def pushed(contact: Account, subscription: str) -> Match:
    """A roster push of this contact."""

    def match(element: ET.Element) -> bool:
        item = element.find("{jabber:iq:roster}query/{jabber:iq:roster}item")
        return (
            element.get("type") == "set"
            and item is not None
            and (item.get("jid"), item.get("subscription")) == (contact.jid, subscription)
        )

    return match


async def enter(
    company: Company, cluster: Cluster, node: int, account: Account, *plugins: str, **options: Any
) -> Client:
    return await company.enter(account, *plugins, endpoint=cluster.nodes[node].direct, **options)


def test_messages_presence_and_requests_cross(played: Played, cluster: Cluster) -> None:
    async def script(company: Company) -> None:
        alice = await enter(company, cluster, 0, ALICE, "xep_0092", resource="desk")
        bob = await enter(company, cluster, 1, BOB, "xep_0092", resource="phone")
        alice.send_message(BOB.jid, "to the bare JID", **CHAT)
        await bob.expect(stanza("message", of=alice.boundjid.full))
        bob.send_message(alice.boundjid, "to the full JID", **CHAT)
        await alice.expect(stanza("message", of=bob.boundjid.full))
        version = await soon(alice.plugin["xep_0092"].get_version(bob.boundjid.full))
        assert version["type"] == "result"
        bob.send_presence(pto=alice.boundjid.full, pstatus="directed")
        await alice.expect(stanza("presence", of=bob.boundjid.full))
        await bob.leave()
        await alice.expect(stanza("presence", of=bob.boundjid.full, kind="unavailable"))
        assert bodies(alice) == ["to the full JID"]
        assert bodies(bob) == ["to the bare JID"]

    played(script)


def test_carbons_of_clients_on_three_nodes(played: Played, cluster: Cluster) -> None:
    async def script(company: Company) -> None:
        desk = await enter(company, cluster, 0, ALICE, "xep_0280", resource="desk")
        phone = await enter(company, cluster, 1, ALICE, "xep_0280", resource="phone")
        bob = await enter(company, cluster, 2, BOB)
        await phone.plugin["xep_0280"].enable()
        sent, received = event(phone, "carbon_sent"), event(phone, "carbon_received")
        desk.send_message(bob.boundjid, "to Bob", **CHAT)
        assert (await soon(sent))["carbon_sent"]["body"] == "to Bob"
        bob.send_message(desk.boundjid, "to the desk", **CHAT)
        assert (await soon(received))["carbon_received"]["body"] == "to the desk"

    played(script)


def test_what_waits_on_one_node_comes_on_another(played: Played, cluster: Cluster) -> None:
    async def script(company: Company) -> None:
        alice = await enter(company, cluster, 0, ALICE, stream_management=True)
        texts = [f"while you were away {number}" for number in range(20)]
        for text in texts:
            alice.send_message(CAROL.jid, text, **CHAT)
        await alice.settle()
        carol = await enter(company, cluster, 1, CAROL)
        for _ in texts:
            await carol.expect(stanza("message", of=alice.boundjid.full))
        assert bodies(carol) == texts
        await carol.leave()
        again = await enter(company, cluster, 0, CAROL)
        await again.settle()
        assert bodies(again) == []

    played(script)


def test_a_resource_is_bound_on_one_node_only(played: Played, cluster: Cluster) -> None:
    async def script(company: Company) -> None:
        first = await enter(company, cluster, 0, ALICE, resource="desk")
        gone = event(first, "disconnected")
        second = await enter(company, cluster, 1, ALICE, resource="desk")
        await soon(gone)
        assert second.boundjid.full == first.boundjid.full
        bob = await enter(company, cluster, 2, BOB)
        bob.send_message(second.boundjid, "to the second", **CHAT)
        await second.expect(stanza("message", of=bob.boundjid.full))

    played(script)


def test_contacts_are_made_and_blocked_over_nodes(played: Played, cluster: Cluster) -> None:
    """What one client changes the user's other clients hear, on whatever node, and so do the contacts."""

    async def script(company: Company) -> None:
        desk = await enter(company, cluster, 0, ALICE, resource="desk")
        phone = await enter(company, cluster, 1, ALICE, "xep_0191", resource="phone")
        bob = await enter(company, cluster, 2, BOB)
        await phone.plugin["xep_0191"].get_blocked()
        desk.send_presence_subscription(BOB.jid, ptype="subscribe")
        await bob.expect(stanza("presence", of=ALICE.jid, kind="subscribe"))
        bob.send_presence_subscription(ALICE.jid, ptype="subscribed")
        for client in (desk, phone):
            await client.expect(stanza("presence", of=bob.boundjid.full))
            await client.expect(pushed(BOB, "to"))
        bob.send_presence_subscription(ALICE.jid, ptype="subscribe")
        await desk.expect(stanza("presence", of=BOB.jid, kind="subscribe"))
        desk.send_presence_subscription(BOB.jid, ptype="subscribed")
        for client in (desk, phone):
            await client.expect(pushed(BOB, "both"))
            await bob.expect(stanza("presence", of=client.boundjid.full))
        desk.register_plugin("xep_0191")
        await desk.plugin["xep_0191"].block([BOB.jid])
        await phone.expect(stanza("iq", kind="set", child="{urn:xmpp:blocking}block"))
        for client in (desk, phone):
            await bob.expect(stanza("presence", of=client.boundjid.full, kind="unavailable"))
        answer = event(bob, "message_error")
        bob.send_message(phone.boundjid, "let me in", **CHAT)
        assert (await soon(answer))["error"]["condition"] == "service-unavailable"
        await desk.plugin["xep_0191"].unblock([BOB.jid])
        await phone.expect(stanza("iq", kind="set", child="{urn:xmpp:blocking}unblock"))
        for client in (desk, phone):
            await bob.expect(stanza("presence", of=client.boundjid.full))
        await phone.del_roster_item(BOB.jid)
        await desk.expect(pushed(BOB, "remove"))

    played(script)


def test_a_session_is_resumed_on_another_node(played: Played, cluster: Cluster) -> None:
    async def script(company: Company) -> None:
        alice = await enter(company, cluster, 0, ALICE, resource="desk", stream_management=True)
        bob = await enter(company, cluster, 2, BOB)
        full, expected = alice.boundjid.full, []
        for turn, node in enumerate((1, 2, 0, 1)):
            company.transcript.begin(f"turn {turn}")
            texts = [f"before {turn}", f"at {turn}", f"after {turn}"]
            bob.send_message(full, texts[0], **CHAT)
            await alice.expect(stanza("message", of=bob.boundjid.full))
            bob.send_message(full, texts[1], **CHAT)
            await alice.cut()
            bob.send_message(full, texts[2], **CHAT)
            await bob.settle()
            alice.endpoint = cluster.nodes[node].direct
            await alice.resume()
            for _ in texts[1:]:
                await alice.expect(stanza("message", of=bob.boundjid.full))
            expected += texts
            alice.send_message(bob.boundjid, f"from {turn}", **CHAT)
            await bob.expect(stanza("message", of=full))
            await alice.settle()
            assert bodies(alice) == expected
        assert bodies(bob) == [f"from {turn}" for turn in range(4)]

    played(script)


def test_an_occupant_is_resumed_on_another_node(played: Played, cluster: Cluster) -> None:
    """Nobody in the room sees it leave, whether the other node has somebody in that room (the last two) or not."""

    async def script(company: Company) -> None:
        room = f"resumed@{ROOMS}"
        alice = await enter(company, cluster, 0, ALICE, "xep_0045", resource="desk", stream_management=True)
        bob = await enter(company, cluster, 2, BOB, "xep_0045")
        carol = await enter(company, cluster, 0, CAROL, "xep_0045")
        await soon(alice.plugin["xep_0045"].join_muc_wait(room, "alice", maxstanzas=0))
        await soon(alice.make_iq_set(ET.fromstring(INSTANT), ito=room).send())
        for client, nick in ((bob, "bob"), (carol, "carol")):
            await soon(client.plugin["xep_0045"].join_muc_wait(room, nick, maxstanzas=0))
        for client in (bob, carol):
            await client.expect(stanza("presence", of=f"{room}/alice"))
        said: list[str] = []

        async def say(author: Client, nick: str, text: str, *hear: Client) -> None:
            author.send_message(room, text, mtype="groupchat")
            said.append(text)
            for client in hear:
                await client.expect(stanza("message", of=f"{room}/{nick}"))

        for node, witness in ((1, carol), (2, None), (0, bob)):
            company.transcript.begin(f"to {node}")
            await alice.cut()
            if witness is not None:  # it is at the node where the session waits: what it hears waits there, too
                await say(carol, "carol", f"before {node}", witness)
            alice.endpoint = cluster.nodes[node].direct
            await alice.resume()
            if witness is not None:
                await alice.expect(stanza("message", of=f"{room}/carol"))
            await say(alice, "alice", f"from {node}", alice, bob)
            await say(bob, "bob", f"to {node}", alice, carol)
            bob.send_message(f"{room}/alice", f"between us {node}", mtype="chat")
            said.append(f"between us {node}")
            await alice.expect(stanza("message", of=f"{room}/bob", kind="chat"))
        assert bodies(alice) == said
        seen = [
            entry.element.get("type")
            for entry in bob.transcript.entries
            if entry.client == bob.name
            and entry.direction == "in"
            and entry.element is not None
            and entry.element.tag == "{jabber:client}presence"
            and entry.element.get("from") == f"{room}/alice"
        ]
        assert set(seen) == {None}

    played(script)


@pytest.mark.parametrize("plugins", [(), ("xep_0198", "xep_0280")], ids=["plainly", "managed, with carbons"])
def test_nobody_notices_the_upgrade_of_a_node(
    cluster: Cluster, authority: CertificateAuthority, plugins: tuple[str, ...]
) -> None:
    """Two users with sessions on two nodes talk in a ring: everything is heard once and in order."""

    async def session() -> None:
        endpoints = [cluster.nodes[0].direct, cluster.nodes[1].direct]
        async with conversation((ALICE, BOB), endpoints, authority.certificate, plugins=plugins) as talking:
            await talking.go_on(MESSAGES)
            for node in cluster.nodes[:2]:
                done = await upgrade(node)
                assert done.returncode == 0, done.stdout + done.stderr
                await talking.go_on(MESSAGES)
            await talking.end()

    asyncio.run(session())


def befriend(cluster: Cluster, one: Account, other: Account) -> None:
    """Let two users see each other, on nodes that do not run yet."""
    for node in cluster.nodes:
        storage = Storage(str(node.data))
        try:
            for user, contact in ((one, other), (other, one)):
                item = RosterItem(JID.parse(contact.jid), subscription="both")
                SQLiteUsers(storage).put_roster_item(JID.parse(user.jid), item, 1)
        finally:
            assert storage.close() == 0


def test_a_dead_node_costs_its_clients_only(tmp_path: Path, authority: CertificateAuthority) -> None:
    """Contacts of who was there see them leave; what is said to them meanwhile waits, and comes when they are back."""
    cluster = Cluster(tmp_path, authority, nodes=3, register=False)
    cluster.register()
    befriend(cluster, ALICE, BOB)
    befriend(cluster, ALICE, CAROL)

    async def script(company: Company) -> None:
        bob = await enter(company, cluster, 1, BOB)
        carol = await enter(company, cluster, 2, CAROL)
        alice = await enter(company, cluster, 0, ALICE)
        for contact in (bob, carol):
            await alice.expect(stanza("presence", of=contact.boundjid.full))
        cluster.nodes[1].kill()
        await alice.expect(stanza("presence", of=BOB.jid, kind="unavailable"))
        carol.send_message(BOB.jid, "wait for me", **CHAT)
        await carol.settle()
        back = await enter(company, cluster, 0, BOB)
        await back.expect(stanza("message", of=carol.boundjid.full))
        await alice.expect(stanza("presence", of=back.boundjid.full))
        gone = [
            entry.element.get("from")
            for entry in alice.transcript.entries
            if entry.client == alice.name
            and entry.element is not None
            and entry.element.tag == "{jabber:client}presence"
            and entry.element.get("type") == "unavailable"
        ]
        assert gone == [BOB.jid]

    with cluster:
        play(cluster.nodes[0], authority.certificate, script)

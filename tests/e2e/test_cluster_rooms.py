"""slixmpp's rooms on a cluster of three nodes: one room, whichever node somebody is connected to; nodes are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from slixmpp import JID
from slixmpp.exceptions import PresenceError
from slixmpp.plugins.xep_0410 import PingStatus

from megaphone.bus.homes import home_of
from tests.e2e.test_embedded_rooms import PLUGINS, STANZA_ID, SUBJECT, USER, configure, enter, muc, statuses
from tests.scenarios.client import Client, stanza
from tests.scenarios.company import WAIT_SECONDS, Company, Script, play
from tests.servers.certificates import CertificateAuthority
from tests.servers.cluster import Cluster
from tests.servers.model import ALICE, BOB, CAROL, ROOMS

GARDEN = JID(f"garden@{ROOMS}")  # each test destroys it, and the next makes it again at once
DISCO = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
RESUME_SECONDS = 10
BODY = "{jabber:client}body"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Cluster]:
    directory: Path = tmp_path_factory.mktemp("rooms")
    with Cluster(directory, authority, service={"resume_seconds": RESUME_SECONDS}) as made:
        yield made


@pytest.fixture
def played(cluster: Cluster, authority: CertificateAuthority) -> Callable[[Script], None]:
    return lambda script: play(cluster.nodes[0], authority.certificate, script)


async def people(company: Company, cluster: Cluster) -> tuple[Client, Client, Client]:
    """Alice on the first node, who has made the garden; Bob on the second and Carol on the third, not in it yet."""
    alice, bob, carol = [
        await company.enter(account, *PLUGINS, endpoint=node.direct)
        for account, node in zip((ALICE, BOB, CAROL), cluster.nodes, strict=True)
    ]
    await enter(alice, "Alice", GARDEN)
    await configure(alice, GARDEN)
    return alice, bob, carol


def here(nick: str) -> Any:
    return stanza("presence", of=f"{GARDEN}/{nick}")


def gone(nick: str) -> Any:
    return stanza("presence", kind="unavailable", of=f"{GARDEN}/{nick}")


def said(text: str) -> Any:
    return lambda element: element.findtext(BODY) == text


def test_occupants_of_three_nodes(cluster: Cluster, played: Callable[[Script], None]) -> None:
    async def script(company: Company) -> None:
        alice, bob, carol = await people(company, cluster)
        _, _, others, _ = await enter(bob, "Bob", GARDEN)
        assert [each["from"].resource for each in others] == ["Alice", "Bob"]
        await alice.expect(here("Bob"))
        _, _, others, _ = await enter(carol, "Carol", GARDEN)
        assert sorted(each["from"].resource for each in others) == ["Alice", "Bob", "Carol"]
        await alice.expect(here("Carol"))
        await bob.expect(here("Carol"))
        with pytest.raises(PresenceError) as refused:
            await enter(await company.enter(CAROL, *PLUGINS, endpoint=cluster.nodes[2].direct), "Alice", GARDEN)
        assert refused.value.condition == "conflict"
        assert await muc(bob).set_self_nick(GARDEN, "Bobby", timeout=WAIT_SECONDS) == "Bobby"
        (renamed,) = await alice.expect(gone("Bob"))
        assert statuses(renamed) == {"303"}
        await alice.expect(here("Bobby"))
        await muc(alice).set_role(GARDEN, "Bobby", "none", reason="too loud")
        (kicked,) = await bob.expect(gone("Bobby"))
        assert "307" in statuses(kicked)
        (seen,) = await carol.expect(gone("Bobby"))
        assert statuses(seen) == {"307"}
        assert await carol.plugin["xep_0410"].send_self_ping(JID(f"{GARDEN}/Carol"), timeout=10) is PingStatus.JOINED
        await muc(alice).destroy(GARDEN)
        await carol.expect(stanza("presence", kind="unavailable", of=f"{GARDEN}/Carol"))

    played(script)


def test_talk_between_nodes(cluster: Cluster, played: Callable[[Script], None]) -> None:
    async def script(company: Company) -> None:
        alice, bob, carol = await people(company, cluster)
        await enter(bob, "Bob", GARDEN)
        everybody = (("Alice", alice), ("Bob", bob))
        ids: dict[str, set[str]] = {}
        for nick, speaker in everybody:
            for number in range(5):
                speaker.send_message(GARDEN, f"{nick} {number}", mtype="groupchat")
        for nick, _ in everybody:
            for _, listener in everybody:
                for number in range(5):
                    (heard,) = await listener.expect(
                        stanza("message", kind="groupchat", of=f"{GARDEN}/{nick}", child=BODY)
                    )
                    assert heard.findtext(BODY) == f"{nick} {number}"  # each speaker's words in their order
                    mark = heard.find(STANZA_ID)
                    assert mark is not None
                    ids.setdefault(f"{nick} {number}", set()).add(mark.get("id", ""))
        assert all(len(each) == 1 for each in ids.values())  # the same stanza-id on every node
        muc(alice).set_subject(GARDEN, "Roses")
        await bob.expect(stanza("message", kind="groupchat", of=f"{GARDEN}/Alice", child=SUBJECT))
        while True:  # what Bob has heard already may reach the third node a moment later
            _, subject, _, history = await enter(carol, "Carol", GARDEN)
            if subject["subject"] == "Roses" and {each["body"] for each in history} == set(ids):
                break
            muc(carol).leave_muc(GARDEN, "Carol")
            await carol.expect(gone("Carol"))
        await muc(alice).destroy(GARDEN)
        await bob.expect(gone("Bob"))

    played(script)


def test_configuration_and_affiliations_cross_nodes(cluster: Cluster, played: Callable[[Script], None]) -> None:
    async def script(company: Company) -> None:
        alice, bob, carol = await people(company, cluster)
        await enter(bob, "Bob", GARDEN)
        await enter(carol, "Carol", GARDEN)
        await configure(alice, GARDEN, moderatedroom=True, persistentroom=True)
        (told,) = await bob.expect(stanza("message", kind="groupchat", of=str(GARDEN), child=f"{USER}status"))
        assert statuses(told) == {"104"}
        await muc(alice).set_affiliation(GARDEN, "admin", jid=BOB.jid)
        admin = f"{USER}item[@affiliation='admin'][@role='moderator']"
        for client in (alice, bob, carol):
            await client.expect(stanza("presence", of=f"{GARDEN}/Bob", child=admin))
        await muc(bob).set_affiliation(GARDEN, "outcast", jid=CAROL.jid)
        (banned,) = await carol.expect(gone("Carol"))
        assert "301" in statuses(banned)
        await alice.expect(gone("Carol"))
        with pytest.raises(PresenceError) as refused:
            await enter(carol, "Carol", GARDEN)
        assert refused.value.condition == "forbidden"
        await muc(alice).destroy(GARDEN)
        await bob.expect(gone("Bob"))

    played(script)


def test_between_two_occupants(cluster: Cluster, played: Callable[[Script], None]) -> None:
    async def script(company: Company) -> None:
        alice, bob, carol = await people(company, cluster)
        await enter(bob, "Bob", GARDEN)
        await alice.expect(here("Bob"))
        alice.send_message(f"{GARDEN}/Bob", "between us", mtype="chat")
        (private,) = await bob.expect(stanza("message", kind="chat", of=f"{GARDEN}/Alice"))
        assert private.findtext(BODY) == "between us"
        version = await alice.ask("get", DISCO, f"{GARDEN}/Bob")
        assert (version.get("type"), version.get("from")) == ("result", f"{GARDEN}/Bob")
        muc(alice).invite(GARDEN, CAROL.jid, reason="come")
        await carol.expect(stanza("message", of=str(GARDEN), child=f"{USER}invite"))
        await muc(alice).destroy(GARDEN)
        await bob.expect(gone("Bob"))

    played(script)


def test_a_cut_and_a_clash_of_nicks(cluster: Cluster, played: Callable[[Script], None]) -> None:
    async def script(company: Company) -> None:
        alice, bob, carol = await people(company, cluster)
        for client in (bob, carol):  # the room's rows are everywhere, so that it is the same room
            while (await client.ask("get", DISCO, str(GARDEN))).get("type") == "error":
                await asyncio.sleep(0.1)
        cluster.nats.kill()
        cluster.until_nats(there=False)
        await enter(bob, "Count", GARDEN)
        await enter(carol, "Count", GARDEN)
        speakers = {"Alice": alice, "Count": bob, "Count (c)": carol}
        for speaker in speakers.values():
            speaker.send_message(GARDEN, f"from {speaker.name} alone", mtype="groupchat")
            await speaker.expect(stanza("message", kind="groupchat", child=BODY))
        cluster.nats.start()
        cluster.until_members("a", "b", "c")
        for speaker in speakers.values():
            for other in {*speakers.values()} - {speaker}:
                await other.expect(said(f"from {speaker.name} alone"))
        (renamed,) = await carol.expect(gone("Count"))
        assert {"110", "303"} <= statuses(renamed)
        (own,) = await carol.expect(here("Count (c)"))
        assert {"110", "210"} <= statuses(own)
        await carol.expect(here("Count"))
        await bob.expect(here("Count (c)"))
        await alice.expect(here("Count"))
        await alice.expect(here("Count (c)"))
        await muc(alice).destroy(GARDEN)
        await carol.expect(gone("Count (c)"))

    played(script)


def test_an_upgrade_is_seen_by_nobody(cluster: Cluster, played: Callable[[Script], None]) -> None:
    async def script(company: Company) -> None:
        alice, bob, carol = await people(company, cluster)
        await enter(bob, "Bob", GARDEN)
        await enter(carol, "Carol", GARDEN)
        await alice.expect(here("Bob"))
        await alice.expect(here("Carol"))
        await bob.expect(here("Carol"))
        before = len(company.transcript.entries)
        upgrade = [sys.executable, "-m", "megaphone", "upgrade", "--force", "--config"]
        upgrading = await asyncio.create_subprocess_exec(*upgrade, str(cluster.nodes[1].config_path))
        assert await upgrading.wait() == 0
        assert await muc(carol).set_self_nick(GARDEN, "Caroline", timeout=WAIT_SECONDS) == "Caroline"
        await bob.expect(here("Caroline"))
        assert await muc(bob).set_self_nick(GARDEN, "Bobby", timeout=WAIT_SECONDS) == "Bobby"
        await alice.expect(here("Bobby"))
        await carol.expect(here("Bobby"))
        bob.send_message(GARDEN, "hello", mtype="groupchat")
        await carol.expect(stanza("message", kind="groupchat", of=f"{GARDEN}/Bobby", child=BODY))
        since = [each.element for each in company.transcript.entries[before:] if each.direction == "in"]
        left = [each for each in since if each is not None and each.get("type") == "unavailable"]
        assert all("303" in statuses(each) for each in left)
        await muc(alice).destroy(GARDEN)
        await bob.expect(gone("Bobby"))

    played(script)


def test_a_worker_is_killed_and_who_comes_back_has_not_been_away(
    cluster: Cluster, played: Callable[[Script], None]
) -> None:
    home = home_of(BOB.jid, 2)
    room = next(jid for jid in (JID(f"room{number}@{ROOMS}") for number in range(99)) if home_of(str(jid), 2) != home)

    async def script(company: Company) -> None:
        alice, bob, _ = [
            await company.enter(account, *PLUGINS, endpoint=node.direct)
            for account, node in zip((ALICE, BOB, CAROL), cluster.nodes, strict=True)
        ]
        await enter(alice, "Alice", room)
        await configure(alice, room)
        await enter(bob, "Bob", room)
        await alice.expect(stanza("presence", of=f"{room}/Bob"))
        workers = cluster.nodes[1].request("GET", "/status")["workers"]
        (killed,) = [each["pid"] for each in workers if each["worker"] == home_of(str(room), 2)]
        os.kill(killed, signal.SIGKILL)
        while len(now := cluster.nodes[1].workers()) < 2 or killed in now:
            await asyncio.sleep(0.1)
        ping = bob.plugin["xep_0410"].send_self_ping
        while await ping(JID(f"{room}/Bob"), timeout=1) is not PingStatus.DISCONNECTED:
            await asyncio.sleep(0.1)
        await enter(bob, "Bob", room)
        await asyncio.sleep(RESUME_SECONDS + 2)  # nobody leaves meanwhile
        seen = [each.element for each in company.transcript.entries if each.client == alice.name]
        left = [each.get("from") for each in seen if each is not None and each.get("type") == "unavailable"]
        assert f"{room}/Bob" not in left
        bob.send_message(room, "back", mtype="groupchat")
        await alice.expect(said("back"))
        await muc(alice).destroy(room)

    played(script)


def test_a_node_is_killed(cluster: Cluster, played: Callable[[Script], None]) -> None:
    async def script(company: Company) -> None:
        alice, bob, carol = await people(company, cluster)
        await enter(bob, "Bob", GARDEN)
        await enter(carol, "Carol", GARDEN)
        await alice.expect(here("Bob"))
        await alice.expect(here("Carol"))
        cluster.nodes[1].kill()
        (left,) = await alice.expect(gone("Bob"))  # when nobody could resume any more
        assert statuses(left) == {"333"}
        await carol.expect(gone("Bob"))
        cluster.nodes[1].start_again()
        cluster.until_members("a", "b", "c")
        again = await company.enter(BOB, *PLUGINS, endpoint=cluster.nodes[1].direct)
        _, _, others, _ = await enter(again, "Bob", GARDEN)
        assert sorted(each["from"].resource for each in others) == ["Alice", "Bob", "Carol"]
        await alice.expect(here("Bob"))
        cluster.nodes[1].stop()
        (left,) = await alice.expect(gone("Bob"))
        assert statuses(left) == {"332"}
        cluster.nodes[1].start_again()
        cluster.until_members("a", "b", "c")

    played(script)

"""Histories across nodes: slixmpp reads a page on one node and the next on another, profanity joins at a third."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slixmpp import JID

from tests.e2e.test_embedded_archive import ROOM_PLUGINS, USER_PLUGINS, pages
from tests.e2e.test_embedded_rooms import configure, enter
from tests.e2e.test_embedded_terminals import profanity_home
from tests.scenarios.client import Client, stanza
from tests.scenarios.company import WAIT_SECONDS, Company, Script, play
from tests.scenarios.histories import assert_whole_and_equal, become_equal
from tests.scenarios.terminal import Terminal
from tests.servers.certificates import CertificateAuthority
from tests.servers.cluster import Cluster
from tests.servers.model import ALICE, BOB, CAROL, ROOMS

Played = Callable[[Script], None]
BODY = "{jabber:client}body"
SID = "{urn:xmpp:sid:0}stanza-id"
LIBRARY = JID(f"library@{ROOMS}")
PAGE = 7
LINES = 45


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Cluster]:
    """Three nodes that archive what users say, too."""
    directory = tmp_path_factory.mktemp("cluster")
    with Cluster(directory, authority, archive={"users": True, "page_messages": 20}) as cluster:
        yield cluster


@pytest.fixture
def played(cluster: Cluster, authority: CertificateAuthority) -> Played:
    return lambda script: play(cluster.nodes[0], authority.certificate, script)


def heard_id(message: object) -> str:
    mark = message.find(SID)  # type: ignore[attr-defined]
    assert mark is not None
    return mark.get("id") or ""


async def page(client: Client, jid: JID | None, after: str | None) -> tuple[list[tuple[str, str]], str, bool]:
    """One page of an archive: ids and bodies, the last id, and whether it was the last page."""
    rsm = {"max": PAGE} if after is None else {"max": PAGE, "after": after}
    answer = await client.plugin["xep_0313"].retrieve(jid, rsm=rsm, timeout=WAIT_SECONDS)
    results = answer["mam"]["results"]
    found = [(each["mam_result"]["id"], each["mam_result"]["forwarded"]["stanza"]["body"]) for each in results]
    end = answer["mam_fin"]
    return found, end["rsm"]["last"], str(end["complete"]).lower() == "true"


async def pages_in_turn(clients: list[Client], jid: JID | None = None) -> list[tuple[str, str]]:
    """A whole archive: the first page at the first client's node, the next one at the next client's, and so on."""
    found: list[tuple[str, str]] = []
    after, complete = None, False
    while not complete:
        clients = [*clients[1:], clients[0]]
        some, after, complete = await page(clients[-1], jid, after)
        found += some
    return found


def test_a_room_is_paged_across_nodes(played: Played, cluster: Cluster) -> None:
    async def script(company: Company) -> None:
        alice, bob, carol = [
            await company.enter(account, *ROOM_PLUGINS, endpoint=node.direct)
            for account, node in zip((ALICE, BOB, CAROL), cluster.nodes, strict=True)
        ]
        await enter(alice, "Alice", LIBRARY)
        await configure(alice, LIBRARY, persistentroom=True)
        await enter(bob, "Bob", LIBRARY)
        await alice.expect(stanza("presence", of=f"{LIBRARY}/Bob"))
        live = []
        for number in range(LINES):
            speaker, nick, listener = ((alice, "Alice", bob), (bob, "Bob", alice))[number % 2]
            speaker.send_message(LIBRARY, f"{number}", mtype="groupchat")
            (heard,) = await listener.expect(stanza("message", kind="groupchat", of=f"{LIBRARY}/{nick}", child=BODY))
            live.append((heard_id(heard), f"{number}"))
        await become_equal([node.data for node in cluster.nodes], str(LIBRARY), LINES)
        for clients in ([alice, bob, carol], [carol, bob], [bob, alice]):
            assert await pages_in_turn(clients, LIBRARY) == live
        assert await pages(carol, LIBRARY, reverse=True) == live
        lines = assert_whole_and_equal([node.data for node in cluster.nodes], str(LIBRARY))
        assert [(each["id"], each["text"]) for each in lines if each["kind"] == "message"] == live
        # and the history of who joins, on a node where nobody was
        _, _, _, history = await enter(carol, "Carol", LIBRARY, maxstanzas=5)
        assert [(each["stanza_id"]["id"], each["body"]) for each in history] == live[-5:]

    played(script)


def test_what_a_user_said_is_paged_across_nodes(played: Played, cluster: Cluster) -> None:
    """Bob reads with two clients, one on each of two nodes, on neither of which Alice is."""

    async def script(company: Company) -> None:
        alice = await company.enter(ALICE, *USER_PLUGINS, endpoint=cluster.nodes[0].direct)
        bob = await company.enter(BOB, *USER_PLUGINS, endpoint=cluster.nodes[1].direct)
        other = await company.enter(BOB, *USER_PLUGINS, endpoint=cluster.nodes[2].direct)
        live = []
        for number in range(20):
            alice.send_message(JID(BOB.jid), f"a{number}", mtype="chat")
            (heard,) = await bob.expect(stanza("message", kind="chat", of=alice.boundjid.full, child=BODY))
            (same,) = await other.expect(stanza("message", kind="chat", of=alice.boundjid.full, child=BODY))
            assert heard_id(heard) == heard_id(same)
            live.append((heard_id(heard), f"a{number}"))
        await become_equal([node.data for node in cluster.nodes[1:]], BOB.jid, len(live), kind="user")
        assert await pages_in_turn([bob, other]) == live
        assert await pages_in_turn([other, bob]) == live

    played(script)


@pytest.mark.skipif(shutil.which("profanity") is None, reason="profanity is not installed")
def test_profanity_shows_what_was_said_on_another_node(played: Played, cluster: Cluster, home: Path) -> None:
    room = f"veranda@{ROOMS}"
    environment = profanity_home(home, cluster.nodes[2])

    async def script(company: Company) -> None:
        alice = await company.enter(ALICE, *ROOM_PLUGINS, endpoint=cluster.nodes[0].direct)
        bob = await company.enter(BOB, *ROOM_PLUGINS, endpoint=cluster.nodes[1].direct)
        await enter(alice, "Alice", JID(room))
        await configure(alice, JID(room), persistentroom=True)
        await enter(bob, "Bob", JID(room))
        for speaker, nick, listener, text in (
            (alice, "Alice", bob, "the first word"),
            (bob, "Bob", alice, "the last wörd ♥"),
        ):
            speaker.send_message(room, text, mtype="groupchat")
            await listener.expect(stanza("message", kind="groupchat", of=f"{room}/{nick}", child=BODY))
        await become_equal([node.data for node in cluster.nodes], room, 2)
        async with Terminal(home, ["profanity", "--account", CAROL.jid], environment) as terminal:
            await terminal.until("logged in successfully, online (priority 0)")
            terminal.type(f"/join {room}")
            screen = await terminal.until("the last wörd ♥")
            assert "the first word" in screen
            assert screen.index("the first word") < screen.index("the last wörd ♥")
            terminal.type("good evening")
            for each in (alice, bob):
                await each.expect(stanza("message", kind="groupchat", of=f"{room}/Carol", child=BODY))
            bob.send_message(room, "and one more", mtype="groupchat")
            await terminal.until("and one more")
            terminal.type("/quit")
            await terminal.ended()

    played(script)

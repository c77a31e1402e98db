"""slixmpp reads archives at the embedded service: of a room, and of users on two workers, also after a restart."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from slixmpp import JID
from slixmpp.exceptions import IqError

from tests.e2e.test_embedded_rooms import configure, enter
from tests.scenarios.client import Client, stanza
from tests.scenarios.company import WAIT_SECONDS, Company, Script, play
from tests.servers.certificates import CertificateAuthority
from tests.servers.embedded import Embedded
from tests.servers.model import ALICE, BOB, CAROL, ROOMS

Played = Callable[[Script], None]
ROOM_PLUGINS = ("xep_0045", "xep_0030", "xep_0313", "xep_0359", "xep_0421", "xep_0424", "xep_0425")
USER_PLUGINS = ("xep_0030", "xep_0280", "xep_0313", "xep_0359", "xep_0424")
LIBRARY = JID(f"library@{ROOMS}")
BODY = "{jabber:client}body"
SID = "{urn:xmpp:sid:0}stanza-id"
MODERATED = "{urn:xmpp:message-moderate:1}moderated"


@pytest.fixture(scope="module")
def archiving(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Embedded]:
    """A service with archives of users, on two workers."""
    service = Embedded(tmp_path_factory.mktemp("archiving"), authority, archive={"users": True, "page_messages": 20})
    service.register()
    try:
        service.start()
        yield service
    finally:
        service.stop()


@pytest.fixture
def played(archiving: Embedded, authority: CertificateAuthority) -> Played:
    return lambda script: play(archiving, authority.certificate, script)


async def pages(client: Client, jid: JID | None = None, *, size: int = 7, **options: Any) -> list[tuple[str, str]]:
    """Ids and bodies of a whole archive, oldest first, read page by page as slixmpp does."""
    found = []
    archive = client.plugin["xep_0313"].iterate(jid, rsm={"max": size}, **options)
    async for message in archive:
        result = message["mam_result"]
        found.append((result["id"], result["forwarded"]["stanza"]["body"]))
    return found[::-1] if options.get("reverse") else found


async def features(client: Client, jid: str) -> set[str]:
    info = await client.plugin["xep_0030"].get_info(jid=jid, timeout=WAIT_SECONDS)
    return set(info["disco_info"]["features"])


def test_a_room_is_read_by_pages(played: Played, archiving: Embedded) -> None:
    before: list[tuple[str, str]] = []

    async def talk(company: Company) -> None:
        alice, bob = [await company.enter(account, *ROOM_PLUGINS) for account in (ALICE, BOB)]
        await enter(alice, "Alice", LIBRARY)
        await configure(alice, LIBRARY, persistentroom=True)
        await enter(bob, "Bob", LIBRARY)
        assert {"urn:xmpp:mam:2", "urn:xmpp:mam:2#extended", "urn:xmpp:message-moderate:1"} <= await features(
            bob, LIBRARY
        )
        live = []
        for number in range(45):
            alice.send_message(LIBRARY, f"{number}", mtype="groupchat")
            (heard,) = await bob.expect(stanza("message", kind="groupchat", of=f"{LIBRARY}/Alice", child=BODY))
            mark = heard.find(SID)
            assert mark is not None
            live.append((mark.get("id") or "", f"{number}"))
        before.extend(live)
        for options in ({"size": 7}, {"size": 20}, {"size": 7, "reverse": True}):
            assert await pages(bob, LIBRARY, **options) == live

    async def read_again(company: Company) -> None:
        carol = await company.enter(CAROL, *ROOM_PLUGINS)
        assert await pages(carol, LIBRARY) == before  # without being in the room
        _, _, _, history = await enter(carol, "Carol", LIBRARY, maxstanzas=3)
        assert [each["body"] for each in history] == ["42", "43", "44"]
        assert [each["stanza_id"]["id"] for each in history] == [id_ for id_, _ in before[-3:]]
        with pytest.raises(IqError) as refused:
            await carol.plugin["xep_0313"].retrieve(LIBRARY, rsm={"after": "nonsense"}, timeout=WAIT_SECONDS)
        assert refused.value.condition == "item-not-found"
        metadata = await carol.plugin["xep_0313"].get_archive_metadata(LIBRARY, timeout=WAIT_SECONDS)
        assert metadata["mam_metadata"]["start"]["id"] == before[0][0]
        assert metadata["mam_metadata"]["end"]["id"] == before[-1][0]

    played(talk)
    archiving.stop()
    archiving.start()
    played(read_again)


def test_messages_of_a_room_are_taken_back_and_away(played: Played) -> None:
    room = JID(f"court@{ROOMS}")

    async def script(company: Company) -> None:
        alice, bob, carol = [await company.enter(account, *ROOM_PLUGINS) for account in (ALICE, BOB, CAROL)]
        await enter(alice, "Alice", room)
        await configure(alice, room, persistentroom=True)
        await enter(bob, "Bob", room)
        ids = []
        for body in ("first", "second", "third"):
            bob.send_message(room, body, mtype="groupchat")
            (heard,) = await alice.expect(stanza("message", kind="groupchat", of=f"{room}/Bob", child=BODY))
            mark = heard.find(SID)
            assert mark is not None
            ids.append(mark.get("id") or "")
        bob.plugin["xep_0424"].send_retraction(room, ids[0], mtype="groupchat")
        await alice.expect(stanza("message", of=f"{room}/Bob", child="{urn:xmpp:message-retract:1}retract"))
        await alice.plugin["xep_0425"].moderate(room, ids[2], "not here", timeout=WAIT_SECONDS)
        (told,) = await bob.expect(stanza("message", of=str(room), child=MODERATED))
        assert told.findtext(".//{urn:xmpp:message-retract:1}reason") == "not here"
        with pytest.raises(IqError) as refused:
            await bob.plugin["xep_0425"].moderate(room, ids[1], timeout=WAIT_SECONDS)
        assert refused.value.condition == "forbidden"
        found = await pages(carol, room)
        assert [body for id_, body in found if id_ in ids] == ["", "second", ""]
        _, _, _, history = await enter(carol, "Carol", room)
        assert [each["body"] for each in history] == ["second"]

    played(script)


def test_users_read_what_they_said_elsewhere(played: Played, archiving: Embedded) -> None:
    """Alice and Bob are at home on two workers."""
    archives: dict[str, list[tuple[str, str]]] = {}

    async def talk(company: Company) -> None:
        alice = await company.enter(ALICE, *USER_PLUGINS)
        bob = await company.enter(BOB, *USER_PLUGINS, stream_management=True)
        assert {"urn:xmpp:mam:2", "urn:xmpp:mam:2#extended"} <= await features(bob, BOB.jid)
        for number in range(25):
            alice.send_message(JID(BOB.jid), f"a{number}", mtype="chat")
            (heard,) = await bob.expect(stanza("message", kind="chat", of=alice.boundjid.full, child=BODY))
            (mark,) = heard.findall(SID)
            assert mark.get("by") == BOB.jid
            archives.setdefault(BOB.jid, []).append((mark.get("id") or "", f"a{number}"))
            bob.send_message(JID(ALICE.jid), f"b{number}", mtype="chat")
            await alice.expect(stanza("message", kind="chat", of=bob.boundjid.full, child=BODY))
        expected = [f"{who}{number}" for number in range(25) for who in "ab"]
        for client in (alice, bob):
            for options in ({"size": 7}, {"size": 20, "reverse": True}):
                found = await pages(client, **options)
                assert [body for _, body in found] == expected
            assert len({id_ for id_, _ in found}) == 50
        assert [each for each in await pages(bob) if each[1][0] == "a"] == archives[BOB.jid]
        archives[BOB.jid] = await pages(bob)
        with pytest.raises(IqError) as refused:
            await alice.plugin["xep_0313"].retrieve(JID(BOB.jid), timeout=WAIT_SECONDS)
        assert refused.value.condition == "service-unavailable"

    async def read_again(company: Company) -> None:
        bob = await company.enter(BOB, *USER_PLUGINS)
        assert await pages(bob) == archives[BOB.jid]
        assert await pages(bob, with_jid=JID(ALICE.jid)) == archives[BOB.jid]
        assert await pages(bob, with_jid=JID(CAROL.jid)) == []

    played(talk)
    archiving.stop()
    archiving.start()
    played(read_again)


def test_what_is_archived_is_safe_when_it_is_acknowledged(played: Played, archiving: Embedded) -> None:
    """XEP-0198: what the service has acknowledged is in both archives, whatever becomes of its processes."""

    async def talk(company: Company) -> None:
        carol = await company.enter(CAROL, *USER_PLUGINS, stream_management=True)
        for number in range(30):
            carol.send_message(JID(BOB.jid), f"safe {number}", mtype="chat")
        management = carol.plugin["xep_0198"]
        management.request_ack()
        async with asyncio.timeout(WAIT_SECONDS):
            while management.unacked_queue:
                await asyncio.sleep(0.01)
                management.request_ack()

    async def read(company: Company) -> None:
        for account in (CAROL, BOB):
            client = await company.enter(account, *USER_PLUGINS)
            found = [body for _, body in await pages(client) if body.startswith("safe")]
            assert found == [f"safe {number}" for number in range(30)]

    played(talk)
    archiving.stop()
    archiving.start()
    played(read)

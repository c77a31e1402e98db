"""slixmpp's rooms at the embedded service, with people of both workers in them (XEP-0045, 0249, 0359, 0410, 0421)."""

from collections.abc import Callable
from typing import Any

import pytest
from slixmpp import JID
from slixmpp.exceptions import IqError, PresenceError
from slixmpp.plugins.xep_0410 import PingStatus

from tests.scenarios.client import Client, stanza
from tests.scenarios.company import WAIT_SECONDS, Company, Script, event, soon
from tests.servers.model import ALICE, BOB, CAROL, ROOMS

Played = Callable[[Script], None]
PLUGINS = ("xep_0045", "xep_0249", "xep_0359", "xep_0410", "xep_0421", "xep_0030")
GARDEN = JID(f"garden@{ROOMS}")
SUBJECT = "{jabber:client}subject"
STANZA_ID = "{urn:xmpp:sid:0}stanza-id"
OCCUPANT_ID = "{urn:xmpp:occupant-id:0}occupant-id"
USER = "{http://jabber.org/protocol/muc#user}"
STATUS = f"{USER}x/{USER}status"


def muc(client: Client) -> Any:
    return client.plugin["xep_0045"]


async def enter(client: Client, nick: str, room: JID = GARDEN, **options: Any) -> Any:
    """(own presence, subject, occupants, history)."""
    return await muc(client).join_muc_wait(room, nick, timeout=WAIT_SECONDS, **options)


async def configure(owner: Client, room: JID = GARDEN, **fields: Any) -> None:
    """Set these fields of the room's form (without `muc#roomconfig_`) and leave the others as they are."""
    form = await muc(owner).get_room_config(room)
    form.reply()
    for name, value in fields.items():
        form.set_values({f"muc#roomconfig_{name}": value})
    await muc(owner).set_room_config(room, form)


async def people(company: Company) -> tuple[Client, Client, Client]:
    """Alice, who has made the garden and is alone in it; Bob and Carol, who are not."""
    alice, bob, carol = [await company.enter(account, *PLUGINS) for account in (ALICE, BOB, CAROL)]
    own, *_ = await enter(alice, "Alice")
    assert own["muc"]["status_codes"] == {110, 201}
    await configure(alice)
    return alice, bob, carol


def gone(nick: str) -> Any:
    return stanza("presence", kind="unavailable", of=f"{GARDEN}/{nick}")


def statuses(presence: Any) -> set[str]:
    return {each.get("code") for each in presence.iterfind(STATUS)}


def test_talk(played: Played) -> None:
    async def script(company: Company) -> None:
        alice, bob, carol = await people(company)
        own, subject, others, history = await enter(bob, "Bob ♥")
        assert (own["muc"]["affiliation"], own["muc"]["role"]) == ("none", "participant")
        assert not subject["subject"]
        assert [each["from"].resource for each in others] == ["Alice", "Bob ♥"]
        assert not history
        await alice.expect(stanza("presence", of=f"{GARDEN}/Bob ♥"))
        muc(alice).set_subject(GARDEN, "Röses & <thorns>")
        await bob.expect(stanza("message", kind="groupchat", of=f"{GARDEN}/Alice", child=SUBJECT))
        ids = set()
        for speaker, nick in ((alice, "Alice"), (bob, "Bob ♥"), (bob, "Bob ♥")):
            message = speaker.make_message(GARDEN, f"hello from {nick}", mtype="groupchat")
            message.send()
            marks = set()
            for listener in (alice, bob):
                (heard,) = await listener.expect(stanza("message", of=f"{GARDEN}/{nick}", child="{jabber:client}body"))
                assert heard.get("id") == message["id"]  # by which the speaker knows its own
                mark, occupant = heard.find(STANZA_ID), heard.find(OCCUPANT_ID)
                assert mark is not None
                assert occupant is not None
                assert mark.get("by") == GARDEN
                marks.add((mark.get("id"), occupant.get("id")))
            assert len(marks) == 1
            ids |= marks
        assert len({mark for mark, _ in ids}) == 3
        assert len({occupant for _, occupant in ids}) == 2
        _, subject, _, history = await enter(carol, "Carol", maxstanzas=2)
        assert subject["subject"] == "Röses & <thorns>"
        assert [each["body"] for each in history] == ["hello from Bob ♥"] * 2
        carol.send_message(f"{GARDEN}/Bob ♥", "between us", mtype="chat")
        (private,) = await bob.expect(stanza("message", kind="chat", of=f"{GARDEN}/Carol"))
        assert private.findtext("{jabber:client}body") == "between us"
        assert await muc(carol).set_self_nick(GARDEN, "Carola", timeout=WAIT_SECONDS) == "Carola"
        (renamed,) = await alice.expect(gone("Carol"))
        assert statuses(renamed) == {"303"}
        await alice.expect(stanza("presence", of=f"{GARDEN}/Carola"))
        with pytest.raises(PresenceError) as refused:
            await enter(await company.enter(CAROL, *PLUGINS), "Alice")
        assert refused.value.condition == "conflict"
        ping = carol.plugin["xep_0410"].send_self_ping
        assert await ping(JID(f"{GARDEN}/Carola"), timeout=10) is PingStatus.JOINED
        carol.send_presence(pto=f"{GARDEN}/Carola", ptype="unavailable", pstatus="good night")
        (left,) = await alice.expect(gone("Carola"))
        assert left.findtext("{jabber:client}status") == "good night"
        assert await ping(JID(f"{GARDEN}/Carola"), timeout=10) is PingStatus.DISCONNECTED
        bob.abort()  # whoever is gone from the service is gone from its rooms
        await alice.expect(gone("Bob ♥"))
        await muc(alice).destroy(GARDEN)

    played(script)


def test_who_may(played: Played) -> None:
    async def script(company: Company) -> None:
        alice, bob, carol = await people(company)
        await enter(bob, "Bob")
        await enter(carol, "Carol")
        await muc(alice).set_role(GARDEN, "Bob", "none", reason="too loud")
        (kicked,) = await bob.expect(gone("Bob"))
        assert statuses(kicked) == {"110", "307"}
        assert kicked.findtext(f".//{USER}reason") == "too loud"
        (seen,) = await carol.expect(gone("Bob"))
        assert statuses(seen) == {"307"}
        await enter(bob, "Bob")
        await muc(alice).set_affiliation(GARDEN, "outcast", jid=BOB.jid)
        (banned,) = await bob.expect(gone("Bob"))
        assert statuses(banned) == {"110", "301"}
        with pytest.raises(PresenceError) as refused:
            await enter(bob, "Bob")
        assert refused.value.condition == "forbidden"
        assert await muc(alice).get_affiliation_list(GARDEN, "outcast") == [BOB.jid]
        await muc(alice).set_affiliation(GARDEN, "none", jid=BOB.jid)
        await enter(bob, "Bob")
        # a moderated room: a visitor is not heard, asks for voice, and is heard
        await configure(alice, moderatedroom=True)
        await muc(alice).set_role(GARDEN, "Bob", "visitor")
        bob.send_message(GARDEN, "may I?", mtype="groupchat")
        (refusal,) = await bob.expect(stanza("message", kind="error", of=str(GARDEN)))
        assert refusal.find(".//{urn:ietf:params:xml:ns:xmpp-stanzas}forbidden") is not None
        muc(bob).request_voice(GARDEN, "participant")
        (asked,) = await alice.expect(stanza("message", of=str(GARDEN), child="{jabber:x:data}x"))
        assert "http://jabber.org/protocol/muc#request" in [each.text for each in asked.iter("{jabber:x:data}value")]
        await muc(alice).set_role(GARDEN, "Bob", "participant")
        bob.send_message(GARDEN, "thank you", mtype="groupchat")
        await carol.expect(stanza("message", kind="groupchat", of=f"{GARDEN}/Bob"))
        # affiliations, and who may not give them
        await muc(alice).set_affiliation(GARDEN, "admin", jid=CAROL.jid)
        await muc(carol).set_affiliation(GARDEN, "member", jid=BOB.jid)
        with pytest.raises(IqError) as denied:
            await muc(carol).set_affiliation(GARDEN, "owner", jid=CAROL.jid)
        assert denied.value.condition in ("forbidden", "not-allowed")
        with pytest.raises(IqError) as denied:
            await muc(bob).get_room_config(GARDEN)
        assert denied.value.condition == "forbidden"
        assert await muc(alice).get_affiliation_list(GARDEN, "admin") == [CAROL.jid]
        assert sorted(await muc(alice).get_roles_list(GARDEN, "moderator")) == ["Alice", "Carol"]
        await muc(alice).destroy(GARDEN, "the end", altroom=f"park@{ROOMS}")
        (destroyed,) = await bob.expect(gone("Bob"))
        end = destroyed.find(f".//{USER}destroy")
        assert end is not None
        assert end.get("jid") == f"park@{ROOMS}"

    played(script)


def test_closed_rooms(played: Played) -> None:
    async def script(company: Company) -> None:
        alice, bob, carol = await people(company)
        await configure(alice, membersonly=True)
        with pytest.raises(PresenceError) as refused:
            await enter(bob, "Bob")
        assert refused.value.condition == "registration-required"
        direct = event(carol, "groupchat_direct_invite")
        # slixmpp takes a room for entered that it has tried to enter, and says nothing of invitations to such
        muc(alice).invite(GARDEN, BOB.jid, "come in")
        (invitation,) = await bob.expect(stanza("message", of=str(GARDEN), child=f"{USER}invite"))
        assert invitation.findtext(f".//{USER}reason") == "come in"
        await enter(bob, "Bob")  # inviting into a members-only room makes a member (XEP-0045 section 7.8.2)
        bob.plugin["xep_0249"].send_invitation(CAROL.jid, GARDEN, reason="you too")
        invitation = (await soon(direct))["groupchat_invite"]
        assert (invitation["jid"], invitation["reason"]) == (GARDEN, "you too")
        invited = event(carol, "groupchat_invite")
        muc(alice).invite(GARDEN, CAROL.jid)
        inviter = (await soon(invited))["muc"]["invite"]["from"]
        assert inviter == f"{GARDEN}/Alice"
        muc(carol).decline(GARDEN, inviter, "no time")
        (refusal,) = await alice.expect(stanza("message", of=str(GARDEN), child=f"{USER}decline"))
        assert refusal.findtext(f".//{USER}reason") == "no time"
        await configure(alice, membersonly=False, passwordprotectedroom=True, roomsecret="sésame")
        for password in (None, "wrong"):
            with pytest.raises(PresenceError) as refused:
                await enter(carol, "Carol", password=password)
            assert refused.value.condition == "not-authorized"
        await enter(carol, "Carol", password="sésame")
        await muc(alice).destroy(GARDEN)

    played(script)


def test_what_is_listed_and_what_stays(played: Played) -> None:
    async def script(company: Company) -> None:
        alice, bob, _ = await people(company)
        disco = bob.plugin["xep_0030"]

        async def listed() -> dict[str, str]:
            items = (await disco.get_items(jid=ROOMS))["disco_items"]["items"]
            return {item[0]: item[2] for item in items}

        await configure(alice, roomname="The <Gärden>", roomdesc="of earthly delights", publicroom=True)
        assert (await listed())[str(GARDEN)].startswith("The <Gärden>")
        info = (await disco.get_info(jid=GARDEN))["disco_info"]
        assert ("conference", "text", None, "The <Gärden>") in info["identities"]
        assert {"muc_public", "muc_temporary", "muc_open", "muc_unsecured", "muc_unmoderated"} <= info["features"]
        await configure(alice, publicroom=False, persistentroom=True)
        assert str(GARDEN) not in await listed()
        assert {"muc_hidden", "muc_persistent"} <= (await disco.get_info(jid=GARDEN))["disco_info"]["features"]
        muc(alice).set_subject(GARDEN, "kept")
        alice.send_message(GARDEN, "kept, too", mtype="groupchat")
        await alice.settle()
        alice.send_presence(pto=f"{GARDEN}/Alice", ptype="unavailable")
        await alice.expect(gone("Alice"))
        own, subject, _, history = await enter(bob, "Bob")
        assert own["muc"]["status_codes"] == {110}  # it was there already
        assert (subject["subject"], [each["body"] for each in history]) == ("kept", ["kept, too"])
        await enter(alice, "Alice")
        await configure(alice, persistentroom=False)
        for client, nick in ((alice, "Alice"), (bob, "Bob")):
            client.send_presence(pto=f"{GARDEN}/{nick}", ptype="unavailable")
            await client.expect(gone(nick))
        with pytest.raises(IqError) as nothing:
            await disco.get_info(jid=GARDEN)
        assert nothing.value.condition == "item-not-found"

    played(script)

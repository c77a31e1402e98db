"""slixmpp's messages through the embedded service: carbons, client states, blocking, and what waits for who is away."""

import datetime
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
from slixmpp.exceptions import IqError

from tests.scenarios.client import stanza
from tests.scenarios.company import Company, Script, event, soon
from tests.servers.model import ALICE, BOB, CAROL, DOMAIN

Played = Callable[[Script], None]
CARBONS = "{urn:xmpp:carbons:2}"
CHAT = {"mtype": "chat"}


def test_carbons(played: Played) -> None:
    async def script(company: Company) -> None:
        desk = await company.enter(ALICE, "xep_0280", resource="desk")
        phone = await company.enter(ALICE, "xep_0280", resource="phone")
        bob = await company.enter(BOB)
        await phone.plugin["xep_0280"].enable()
        sent, received = event(phone, "carbon_sent"), event(phone, "carbon_received")
        desk.send_message(bob.boundjid, "to Bob", **CHAT)
        copy = (await soon(sent))["carbon_sent"]
        assert (copy["from"].full, copy["to"].full, copy["body"]) == (
            desk.boundjid.full,
            bob.boundjid.full,
            "to Bob",
        )
        bob.send_message(desk.boundjid, "to the desk", **CHAT)
        copy = (await soon(received))["carbon_received"]
        assert (copy["from"].full, copy["to"].full, copy["body"]) == (
            bob.boundjid.full,
            desk.boundjid.full,
            "to the desk",
        )
        await phone.plugin["xep_0280"].disable()
        desk.send_message(bob.boundjid, "no copy", **CHAT)
        await company.settle()
        copies = [
            entry
            for entry in company.transcript.entries
            if entry.element is not None and entry.direction == "in" and entry.element.find(f"{CARBONS}*") is not None
        ]
        assert len(copies) == 2
        with pytest.raises(IqError):  # nobody else may ask for it
            await bob.make_iq_set(ET.Element(f"{CARBONS}enable"), ito=ALICE.jid).send()

    played(script)


def test_an_inactive_client_is_spared(played: Played) -> None:
    """XEP-0352: presence waits, the newest of each sender, until something comes that does not wait."""

    async def script(company: Company) -> None:
        alice = await company.enter(ALICE, resource="desk")
        phone = await company.enter(ALICE, resource="phone")
        phone.plugin["xep_0352"].send_inactive()
        await phone.settle()
        for number in range(5):
            alice.send_presence(pstatus=f"status {number}")
        await alice.settle()
        alice.send_message(phone.boundjid, "wake up", **CHAT)
        await phone.expect(stanza("message", of=alice.boundjid.full))
        assert [status for status in _statuses(company, phone.name) if status] == ["status 4"]
        phone.plugin["xep_0352"].send_active()
        await phone.settle()
        for number in range(5, 8):
            alice.send_presence(pstatus=f"status {number}")
        await company.settle()
        assert [status for status in _statuses(company, phone.name) if status] == [
            f"status {number}" for number in range(4, 8)
        ]

    played(script)


def _statuses(company: Company, client: str) -> list[str]:
    return [
        entry.element.findtext("{jabber:client}status", "")
        for entry in company.transcript.entries
        if entry.client == client
        and entry.direction == "in"
        and entry.element is not None
        and entry.element.tag == "{jabber:client}presence"
    ]


def test_blocking(played: Played) -> None:
    async def script(company: Company) -> None:
        alice = await company.enter(ALICE, "xep_0191")
        phone = await company.enter(ALICE, "xep_0191")
        bob = await company.enter(BOB)
        blocking = alice.plugin["xep_0191"]
        await phone.plugin["xep_0191"].get_blocked()  # who has asked for the list is told of changes
        told = event(phone, "blocked")
        await blocking.block([BOB.jid])
        assert {str(item["jid"]) for item in (await soon(told))["block"]} == {BOB.jid}
        assert await blocking.get_blocked_jids() == {BOB.jid}
        bob.send_message(ALICE.jid, "let me in", **CHAT)
        (refusal,) = await bob.expect(stanza("message", of=ALICE.jid, kind="error"))
        assert refusal.find(".//{urn:ietf:params:xml:ns:xmpp-stanzas}service-unavailable") is not None
        alice.send_message(BOB.jid, "and you?", **CHAT)
        (refusal,) = await alice.expect(stanza("message", of=BOB.jid, kind="error"))
        assert refusal.find(".//{urn:xmpp:blocking:errors}blocked") is not None
        await blocking.unblock([BOB.jid])
        assert await blocking.get_blocked_jids() == set()
        bob.send_message(alice.boundjid, "at last", **CHAT)
        (heard,) = await alice.expect(stanza("message", of=bob.boundjid.full, kind="chat"))
        assert heard.findtext("{jabber:client}body") == "at last"

    played(script)


def test_what_waits_for_who_is_away(played: Played) -> None:
    async def script(company: Company) -> None:
        bob = await company.enter(BOB)
        before = datetime.datetime.now(datetime.UTC)
        for number in range(3):
            bob.send_message(CAROL.jid, f"message {number}", **CHAT)
        bob.say(f"<message to='{CAROL.jid}' type='headline'><body>old news tomorrow</body></message>")
        composing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>"
        bob.say(f"<message to='{CAROL.jid}' type='chat'>{composing}</message>")
        await bob.settle()
        carol = company.client(CAROL, "xep_0203")
        heard: list[tuple[str, datetime.datetime, str]] = []
        carol.add_event_handler(
            "message", lambda it: heard.append((it["body"], it["delay"]["stamp"], it["delay"]["from"].full))
        )
        await carol.login()
        await carol.settle()
        assert not heard  # a client without presence gets none (XEP-0160 section 3)
        carol.send_presence()
        await carol.settle()
        assert [body for body, _, _ in heard] == [f"message {number}" for number in range(3)]
        for _, stamp, by in heard:
            assert before - datetime.timedelta(seconds=2) <= stamp <= datetime.datetime.now(datetime.UTC)
            assert by == DOMAIN
        heard.clear()
        await carol.leave()
        again = await company.enter(CAROL)
        again.add_event_handler("message", lambda it: heard.append((it["body"], it["delay"]["stamp"], "")))
        await again.settle()
        assert not heard

    played(script)

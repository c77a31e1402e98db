"""slixmpp asks the embedded service and a contact: discovery, capabilities, ping, version, time, storage."""

import datetime
from collections.abc import Callable

import pytest
from slixmpp.exceptions import IqError
from slixmpp.plugins import xep_0082
from slixmpp.plugins.xep_0048 import Bookmarks

import megaphone
from tests.scenarios.company import Company, Script
from tests.servers.model import ALICE, BOB, DOMAIN, ROOMS

Played = Callable[[Script], None]


def test_discovery(played: Played) -> None:
    async def script(company: Company) -> None:
        alice = await company.enter(ALICE, "xep_0030")
        disco = alice.plugin["xep_0030"]
        info = (await disco.get_info(jid=DOMAIN))["disco_info"]
        assert ("server", "im", None, "Megaphone") in info["identities"]
        assert {
            "http://jabber.org/protocol/disco#info",
            "http://jabber.org/protocol/disco#items",
            "jabber:iq:private",
            "msgoffline",
            "urn:xmpp:blocking",
            "urn:xmpp:carbons:2",
            "urn:xmpp:ping",
            "urn:xmpp:time",
            "vcard-temp",
        } <= info["features"]
        assert not [feature for feature in info["features"] if "pubsub" in feature or "mam" in feature]
        items = (await disco.get_items(jid=DOMAIN))["disco_items"]["items"]
        assert {(item[0], item[2]) for item in items} == {(ROOMS, "Rooms")}
        rooms = (await disco.get_info(jid=ROOMS))["disco_info"]
        assert ("conference", "text", None, "Rooms") in rooms["identities"]
        assert "http://jabber.org/protocol/muc" in rooms["features"]
        own = (await disco.get_info(jid=ALICE.jid))["disco_info"]
        assert ("account", "registered", None, None) in own["identities"]
        with pytest.raises(IqError) as refused:
            await disco.get_info(jid=DOMAIN, node="nowhere")
        assert refused.value.condition == "item-not-found"

    played(script)


def test_capabilities(played: Played) -> None:
    """slixmpp checks that the hash in the stream features is that of what discovery says (XEP-0115 section 5.4)."""

    async def script(company: Company) -> None:
        alice = company.client(ALICE, "xep_0115")
        await alice.login()
        known = None
        while known is None:
            await alice.settle()
            known = await alice.plugin["xep_0115"].get_caps(DOMAIN)
        assert "urn:xmpp:carbons:2" in known["features"]

    played(script)


def test_ping_version_time(played: Played) -> None:
    async def script(company: Company) -> None:
        plugins = ("xep_0199", "xep_0092", "xep_0202")
        alice = await company.enter(ALICE, *plugins)
        bob = await company.enter(BOB, *plugins)
        for to in (DOMAIN, ROOMS, ALICE.jid, bob.boundjid.full):
            assert (await alice.plugin["xep_0199"].send_ping(to, timeout=10))["type"] == "result"
        version = (await alice.plugin["xep_0092"].get_version(DOMAIN))["software_version"]
        assert (version["name"], version["version"]) == ("Megaphone", megaphone.__version__)
        assert (await alice.plugin["xep_0092"].get_version(bob.boundjid.full))["software_version"]["name"] == "Slixmpp"
        answer = (await alice.plugin["xep_0202"].get_entity_time(DOMAIN))["entity_time"].xml
        time = xep_0082.parse(answer.findtext("{urn:xmpp:time}utc"))  # slixmpp 1.17 itself would put a second Z to it
        assert abs((time - datetime.datetime.now(datetime.UTC)).total_seconds()) < 60
        # a resource that is not there, or has never heard of what is asked
        for jid in (f"{BOB.jid}/nowhere", "nobody@" + DOMAIN):
            with pytest.raises(IqError) as refused:
                await alice.plugin["xep_0199"].send_ping(jid)
            assert refused.value.condition == "service-unavailable"

    played(script)


def test_storage(played: Played) -> None:
    async def script(company: Company) -> None:
        alice = await company.enter(ALICE, "xep_0048", "xep_0049", "xep_0054")
        bookmarks = Bookmarks()
        bookmarks.add_conference(f"gärten@{ROOMS}", "Alice", autojoin=True, name="Gärten & <Parks>")
        await alice.plugin["xep_0049"].store(bookmarks)
        card = alice.plugin["xep_0054"].make_vcard()
        card["FN"] = "Alice Ä. <Wunderland>"
        await alice.plugin["xep_0054"].publish_vcard(card)
        # another of her devices, and somebody else
        phone = await company.enter(ALICE, "xep_0048", "xep_0049")
        kept = (await phone.plugin["xep_0049"].retrieve("bookmarks"))["private"]["bookmarks"]["conferences"]
        assert [(each["jid"], each["name"]) for each in kept] == [(f"gärten@{ROOMS}", "Gärten & <Parks>")]
        bob = await company.enter(BOB, "xep_0054")
        assert (await bob.plugin["xep_0054"].get_vcard(ALICE.jid))["vcard_temp"]["FN"] == "Alice Ä. <Wunderland>"
        nothing = await bob.plugin["xep_0054"].get_vcard(BOB.jid, local=False, cached=False)
        assert len(nothing["vcard_temp"].xml) == 0  # XEP-0054 section 3.1: empty if there is none

    played(script)

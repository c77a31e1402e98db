"""slixmpp keeps its roster at the embedded service, and two users learn to see each other's presence."""

from collections.abc import Callable

from tests.scenarios.client import Client, stanza
from tests.scenarios.company import Company, Script
from tests.servers.model import BOB, CAROL

Played = Callable[[Script], None]
ROSTER = "{jabber:iq:roster}query"
VERSION = "{urn:xmpp:features:rosterver}ver"


async def forget(*clients: Client) -> None:
    """Empty the rosters, so that the next test finds them so."""
    for client in clients:
        for jid in list(client.client_roster.keys()):
            if jid != client.boundjid.bare and client.client_roster.has_jid(jid):
                await client.del_roster_item(jid)


def test_a_roster(played: Played) -> None:
    async def script(company: Company) -> None:
        one = await company.enter(CAROL)
        two = await company.enter(CAROL)
        await one.update_roster(BOB.jid, name="Bob & <Söhne>", groups=["Friends", "Wörk"])
        (push,) = await two.expect(stanza("iq", kind="set", child=ROSTER))
        item = two.client_roster[BOB.jid]
        assert (item["name"], sorted(item["groups"]), item["subscription"]) == (
            "Bob & <Söhne>",
            ["Friends", "Wörk"],
            "none",
        )
        # a version that is current brings an empty result (RFC 6121 section 2.6.3), any other the whole roster
        version = push[0].get("ver")
        assert version
        answer = await two.ask("get", f"<query xmlns='jabber:iq:roster' ver='{version}'/>")
        assert len(answer) == 0
        answer = await two.ask("get", "<query xmlns='jabber:iq:roster' ver=''/>")
        assert [item.get("jid") for item in answer[0]] == [BOB.jid]
        assert answer[0].get("ver") == version
        late = company.client(CAROL)
        late.client_roster.version = version
        await late.login()
        await late.get_roster()  # slixmpp names the version that it knows
        assert BOB.jid not in late.client_roster
        await one.del_roster_item(BOB.jid)
        await two.expect(stanza("iq", kind="set", child=ROSTER))
        answer = await two.ask("get", f"<query xmlns='jabber:iq:roster' ver='{version}'/>")
        assert len(answer[0]) == 0

    played(script)


def test_contacts_see_each_other(played: Played) -> None:
    async def script(company: Company) -> None:
        bob = await company.enter(BOB)
        carol = await company.enter(CAROL)
        bob.send_presence(pto=CAROL.jid, ptype="subscribe")
        await carol.expect(stanza("presence", kind="subscribe", of=BOB.jid))
        carol.send_presence(pto=BOB.jid, ptype="subscribed")
        await bob.expect(
            stanza("presence", kind="subscribed", of=CAROL.jid), stanza("presence", of=carol.boundjid.full)
        )
        carol.send_presence(pto=BOB.jid, ptype="subscribe")
        await bob.expect(stanza("presence", kind="subscribe", of=CAROL.jid))
        bob.send_presence(pto=CAROL.jid, ptype="subscribed")
        await carol.expect(stanza("presence", kind="subscribed", of=BOB.jid), stanza("presence", of=bob.boundjid.full))
        await company.settle()
        assert bob.client_roster[CAROL.jid]["subscription"] == "both"
        assert carol.client_roster[BOB.jid]["subscription"] == "both"
        bob.send_presence(pshow="dnd", pstatus="zu tun", ppriority=5)
        await carol.expect(stanza("presence", of=bob.boundjid.full, child="{jabber:client}show"))
        assert carol.client_roster.presence(BOB.jid)[bob.boundjid.resource]["status"] == "zu tun"
        another = await company.enter(BOB)
        # who comes sees who is there (RFC 6121 section 4.3), and is seen
        await another.expect(stanza("presence", of=carol.boundjid.full), stanza("presence", of=bob.boundjid.full))
        await carol.expect(stanza("presence", of=another.boundjid.full))
        await another.leave()
        await carol.expect(stanza("presence", of=another.boundjid.full, kind="unavailable"))
        bob.abort()  # no word of goodbye
        await carol.expect(stanza("presence", of=bob.boundjid.full, kind="unavailable"))
        bob = await company.enter(BOB)
        await carol.expect(stanza("presence", of=bob.boundjid.full))
        carol.send_presence(pto=BOB.jid, ptype="unsubscribed")
        await bob.expect(
            stanza("presence", of=CAROL.jid, kind="unsubscribed"),
            stanza("presence", of=carol.boundjid.full, kind="unavailable"),
        )
        await company.settle()
        assert bob.client_roster[CAROL.jid]["subscription"] == "from"
        await forget(bob, carol)

    played(script)

"""The roster: get, set, remove, pushes, versions, and what is refused (RFC 6121 section 2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.stream.stanza import Stanza
from tests.unit.service.world import World

GET = "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>"


def set_item(item: str) -> str:
    return f"<iq type='set' id='s'><query xmlns='jabber:iq:roster'>{item}</query></iq>"


def test_a_roster_of_two_clients() -> None:
    World().play("""
        juliet/balcony >> <iq type='get' id='1'><query xmlns='jabber:iq:roster' ver=''/></iq>
        juliet/balcony << <iq to='juliet@example.org/balcony' type='result' id='1'>
            <query xmlns='jabber:iq:roster' ver='0'/></iq>
        juliet/chamber >> <iq to='juliet@example.org' type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>
        juliet/chamber << <iq to='juliet@example.org/chamber' from='juliet@example.org' type='result' id='1'>
            <query xmlns='jabber:iq:roster' ver='0'/></iq>
        juliet/garden binds

        juliet/balcony >> <iq type='set' id='2'><query xmlns='jabber:iq:roster'>
            <item jid='Nurse@Example.org' name='My &lt;Nurse'><group>Servants</group><group>Friends</group></item>
            </query></iq>
        juliet/balcony << <iq to='juliet@example.org/balcony' type='set' id='*'><query xmlns='jabber:iq:roster' ver='1'>
            <item jid='nurse@example.org' name='My &lt;Nurse' subscription='none'>
            <group>Servants</group><group>Friends</group></item></query></iq>
        juliet/balcony << <iq to='juliet@example.org/balcony' type='result' id='2'/>
        juliet/chamber << <iq to='juliet@example.org/chamber' type='set' id='*'><query xmlns='jabber:iq:roster' ver='1'>
            <item jid='nurse@example.org' name='My &lt;Nurse' subscription='none'>
            <group>Servants</group><group>Friends</group></item></query></iq>
        juliet/chamber >> <iq type='result' id='push-2'/>

        # the current version needs no transfer, another one does
        juliet/garden >> <iq type='get' id='3'><query xmlns='jabber:iq:roster' ver='1'/></iq>
        juliet/garden << <iq to='juliet@example.org/garden' type='result' id='3'/>
        juliet/garden >> <iq type='get' id='3'><query xmlns='jabber:iq:roster' ver='0'/></iq>
        juliet/garden << <iq to='juliet@example.org/garden' type='result' id='3'>
            <query xmlns='jabber:iq:roster' ver='1'>
            <item jid='nurse@example.org' name='My &lt;Nurse' subscription='none'>
            <group>Servants</group><group>Friends</group></item></query></iq>
        juliet/garden ends
        juliet/chamber ends

        juliet/balcony >> <iq type='set' id='4'><query xmlns='jabber:iq:roster'>
            <item jid='nurse@example.org' subscription='remove'/></query></iq>
        juliet/balcony << <iq to='juliet@example.org/balcony' type='set' id='*'><query xmlns='jabber:iq:roster' ver='2'>
            <item jid='nurse@example.org' subscription='remove'/></query></iq>
        juliet/balcony << <iq to='juliet@example.org/balcony' type='result' id='4'/>
    """)


@pytest.mark.parametrize(
    ("item", "condition"),
    [
        ("", "bad-request"),
        ("<item jid='a@example.org'/><item jid='b@example.org'/>", "bad-request"),
        ("<contact xmlns='urn:x'/>", "bad-request"),
        ("<item/>", "jid-malformed"),
        ("<item jid='a b@example.org'/>", "jid-malformed"),
        ("<item jid='juliet@example.org'/>", "not-allowed"),
        ("<item jid='a@example.org' subscription='remove'/>", "item-not-found"),
        ("<item jid='a@example.org'><group>x</group><group>x</group></item>", "bad-request"),
        ("<item jid='a@example.org'><group/></item>", "not-acceptable"),
        (f"<item jid='a@example.org'><group>{'x' * 51}</group></item>", "not-acceptable"),
        (f"<item jid='a@example.org' name='{'x' * 51}'/>", "not-acceptable"),
        ("<item jid='a@example.org'><group>1</group><group>2</group><group>3</group></item>", "not-acceptable"),
        ("<item jid='c@example.org'/>", "resource-constraint"),
    ],
)
def test_refused(item: str, condition: str) -> None:
    world = World(roster_items=2, roster_groups_per_item=2, roster_name_bytes=50)
    for contact in ("x", "y"):
        if condition == "resource-constraint":
            world.send("juliet/balcony", set_item(f"<item jid='{contact}@example.org'/>"))
            world.take("juliet/balcony")
    world.bind("juliet/balcony") if "juliet/balcony" not in world.sessions else None
    before = dict(world.sessions["juliet/balcony"].user.roster)
    world.send("juliet/balcony", set_item(item))
    (answer,) = world.take("juliet/balcony")
    assert f"<{condition} ".encode() in answer
    assert world.sessions["juliet/balcony"].user.roster == before


def test_a_roster_is_its_owners() -> None:
    world = World()
    world.send("romeo/orchard", "<presence/>")
    world.take("romeo/orchard")
    for stanza in (GET, set_item("<item jid='a@example.org'/>")):
        world.send("juliet/balcony", stanza.replace("<iq", "<iq to='romeo@example.org'"))
        (answer,) = world.take("juliet/balcony")
        assert b"<service-unavailable" in answer
    assert world.take("romeo/orchard") == []


class RosterOf:
    """What a client of RFC 6121 section 2.6 has: items by JID, and the version."""

    def __init__(self) -> None:
        self.items: dict[str, bytes] = {}
        self.version = ""

    def take(self, stanzas: list[bytes]) -> None:
        for data in stanzas:
            query = Stanza.read(data).child("jabber:iq:roster") if b"jabber:iq:roster" in data else None
            if query is None:
                continue
            self.version = query.get("ver", "")
            if b"type='result'" in data:
                self.items = {}
            for item in query:
                facts = (item.get("name"), item.get("subscription"), item.get("ask"), *(each.text for each in item))
                self.items[item.get("jid", "")] = repr(facts).encode()
                if item.get("subscription") == "remove":
                    del self.items[item.get("jid", "")]


CONTACTS = st.sampled_from(["romeo@example.org", "nurse@example.org", "verona@conference.example.org"])
STEPS = st.one_of(
    st.builds("<item jid='{}' name='{}'/>".format, CONTACTS, st.sampled_from("abc")).map(set_item),
    st.builds("<item jid='{}' subscription='remove'/>".format, CONTACTS).map(set_item),
    st.builds(
        "<presence to='{}' type='{}'/>".format,
        CONTACTS,
        st.sampled_from(["subscribe", "subscribed", "unsubscribe", "unsubscribed"]),
    ),
)


@given(st.lists(st.tuples(st.sampled_from(["juliet/balcony", "romeo/orchard", "juliet/chamber", "away"]), STEPS)))
def test_all_clients_have_the_same_roster_in_the_end(steps: list[tuple[str, str]]) -> None:
    world = World()
    rosters = {"juliet/balcony": RosterOf(), "juliet/chamber": RosterOf(), "romeo/orchard": RosterOf()}
    for name in rosters:
        world.send(name, GET)

    def come_back() -> None:
        if "juliet/chamber" not in world.sessions:  # with what it has
            version = rosters["juliet/chamber"].version
            world.send("juliet/chamber", GET.replace("<query", f"<query ver='{version}'"))

    for name, step in steps:
        if name != "away":
            come_back()
            world.send(name, step)
        elif "juliet/chamber" in world.sessions:
            rosters["juliet/chamber"].take(world.take("juliet/chamber"))
            world.end("juliet/chamber")
    come_back()
    for name, roster in rosters.items():
        roster.take(world.take(name))
        user = world.sessions[name].user
        assert roster.version == str(user.roster_version)
        assert set(roster.items) == {str(jid) for jid, item in user.roster.items() if item.listed}
    assert rosters["juliet/balcony"].items == rosters["juliet/chamber"].items
    # and what is stored is what is in memory
    for session in world.sessions.values():
        kept = world.store.users[session.user.jid]
        assert kept.roster == session.user.roster
        assert kept.version == session.user.roster_version

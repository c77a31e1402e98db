"""The block list (XEP-0191): both directions, presence, pushes, and what is refused."""

import pytest

from megaphone.service.ports import RosterItem
from megaphone.service.session import User
from megaphone.stream.jid import JID
from tests.unit.service.world import World

JULIET, ROMEO = JID("juliet", "example.org"), JID("romeo", "example.org")


def block(*jids: str, verb: str = "block") -> str:
    items = "".join(f"<item jid='{jid}'/>" for jid in jids)
    return f"<iq type='set' id='b'><{verb} xmlns='urn:xmpp:blocking'>{items}</{verb}></iq>"


def friends() -> World:
    world = World()
    world.store.put_roster_item(JULIET, RosterItem(ROMEO, subscription="both"), 1)
    world.store.put_roster_item(ROMEO, RosterItem(JULIET, subscription="both"), 1)
    for name in ("juliet/balcony", "romeo/orchard"):
        world.send(name, "<presence/>")
    for name in world.clients:
        world.take(name)
    return world


def test_a_quarrel() -> None:
    friends().play("""
        juliet/balcony >> <iq type='get' id='1'><blocklist xmlns='urn:xmpp:blocking'/></iq>
        juliet/balcony << <iq to='juliet@example.org/balcony' type='result' id='1'>
            <blocklist xmlns='urn:xmpp:blocking'/></iq>
        juliet/balcony >> <iq type='set' id='2'><block xmlns='urn:xmpp:blocking'><item jid='romeo@example.org'/>
            </block></iq>
        juliet/balcony << <presence to='juliet@example.org/balcony' from='romeo@example.org' type='unavailable'/>
        juliet/balcony << <iq to='juliet@example.org/balcony' type='set' id='*'>
            <block xmlns='urn:xmpp:blocking'><item jid='romeo@example.org'/></block></iq>
        juliet/balcony << <iq to='juliet@example.org/balcony' type='result' id='2'/>
        romeo/orchard << <presence to='romeo@example.org' from='juliet@example.org/balcony' type='unavailable'/>

        # he is not heard, whatever he says, and is told what he is told of one who does not exist
        romeo/orchard >> <message to='juliet@example.org' id='m'><body>Why?</body></message>
        romeo/orchard << <message to='romeo@example.org/orchard' from='juliet@example.org' id='m' type='error'>
            <error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>
        romeo/orchard >> <iq to='juliet@example.org/balcony' type='get' id='i'><ping xmlns='urn:xmpp:ping'/></iq>
        romeo/orchard << <iq to='romeo@example.org/orchard' from='juliet@example.org/balcony' id='i' type='error'>
            <error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>
        romeo/orchard >> <iq to='juliet@example.org' type='get' id='i'><vCard xmlns='vcard-temp'/></iq>
        romeo/orchard << <iq to='romeo@example.org/orchard' from='juliet@example.org' id='i' type='error'>
            <error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>
        romeo/orchard >> <presence><show>away</show></presence>
        romeo/orchard << <presence to='romeo@example.org/orchard' from='romeo@example.org/orchard'>
            <show>away</show></presence>
        romeo/orchard >> <presence to='juliet@example.org' type='subscribe'/>
        romeo/orchard >> <presence to='juliet@example.org' type='probe'/>

        # she cannot speak to him either, by mistake
        juliet/balcony >> <message to='romeo@example.org/orchard' id='m'/>
        juliet/balcony << <message to='juliet@example.org/balcony' from='romeo@example.org/orchard' id='m' type='error'>
            <error type='modify'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>
            <blocked xmlns='urn:xmpp:blocking:errors'/></error></message>
        juliet/balcony >> <iq to='romeo@example.org/orchard' type='get' id='i'><ping xmlns='urn:xmpp:ping'/></iq>
        juliet/balcony << <iq to='juliet@example.org/balcony' from='romeo@example.org/orchard' id='i' type='error'>
            <error type='modify'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>
            <blocked xmlns='urn:xmpp:blocking:errors'/></error></iq>
        juliet/balcony >> <presence to='romeo@example.org' type='subscribe'/>
        juliet/balcony << <presence to='juliet@example.org/balcony' from='romeo@example.org' type='error'>
            <error type='modify'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>
            <blocked xmlns='urn:xmpp:blocking:errors'/></error></presence>
        juliet/balcony >> <presence to='romeo@example.org/orchard'/>
        juliet/balcony << <presence to='juliet@example.org/balcony' from='romeo@example.org/orchard' type='error'>
            <error type='modify'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>
            <blocked xmlns='urn:xmpp:blocking:errors'/></error></presence>
        juliet/balcony >> <presence><show>xa</show></presence>
        juliet/balcony << <presence to='juliet@example.org/balcony' from='juliet@example.org/balcony'>
            <show>xa</show></presence>

        # others are not concerned
        nurse/hall >> <message to='juliet@example.org'><body>Madam!</body></message>
        juliet/balcony << <message to='juliet@example.org' from='nurse@example.org/hall'><body>Madam!</body></message>

        # peace
        juliet/balcony >> <iq type='set' id='3'><unblock xmlns='urn:xmpp:blocking'/></iq>
        juliet/balcony << <iq to='juliet@example.org/balcony' type='set' id='*'><unblock xmlns='urn:xmpp:blocking'/>
            </iq>
        juliet/balcony << <iq to='juliet@example.org/balcony' type='result' id='3'/>
        romeo/orchard << <presence to='romeo@example.org' from='juliet@example.org/balcony'><show>xa</show></presence>
        juliet/balcony << <presence to='juliet@example.org/balcony' from='romeo@example.org/orchard'>
            <show>away</show></presence>
    """)


def test_the_list_is_kept_and_pushed_to_who_has_asked() -> None:
    world = World()
    world.send("juliet/chamber", "<iq type='get' id='1'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
    world.bind("juliet/garden")
    world.send("juliet/balcony", block("b.example.com", "a@example.com/x", "a@example.com/x"))
    assert len(world.take("juliet/chamber")) == 2
    assert world.take("juliet/garden") == []
    world.send("juliet/balcony", block("nobody@example.com", verb="unblock"))
    world.send("juliet/balcony", block("b.example.com", verb="unblock"))
    assert len(world.take("juliet/chamber")) == 2
    assert list(world.store.users[JULIET].blocked) == [JID("a", "example.com", "x")]
    for name in tuple(world.sessions):
        world.end(name)
    world.services[0].home.forget("juliet")
    world.send("juliet/balcony", "<iq type='get' id='1'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
    assert b"<item jid='a@example.com/x'/></blocklist>" in world.take("juliet/balcony")[-1]
    assert not world.sessions["juliet/balcony"].plain_sender


def test_directed_presence_is_ended_by_a_block() -> None:
    world = World()
    world.send("juliet/balcony", "<presence to='verona@conference.example.org/juliet'/>")
    world.send("juliet/balcony", "<presence to='mantua@conference.example.org/juliet'/>")
    world.take("elsewhere")
    world.send("juliet/balcony", block("verona@conference.example.org"))
    assert world.take("elsewhere") == [
        b"<presence to='verona@conference.example.org/juliet' from='juliet@example.org/balcony' type='unavailable'/>"
    ]
    world.end("juliet/balcony")
    assert len(world.take("elsewhere")) == 1


@pytest.mark.parametrize(
    ("blocked", "jid", "expected"),
    [
        ("a@b.org", "a@b.org", True),
        ("a@b.org", "a@b.org/x", True),
        ("a@b.org", "c@b.org", False),
        ("a@b.org", "b.org", False),
        ("a@b.org/x", "a@b.org/x", True),
        ("a@b.org/x", "a@b.org/y", False),
        ("a@b.org/x", "a@b.org", False),
        ("b.org", "b.org", True),
        ("b.org", "a@b.org/x", True),
        ("b.org", "a@c.b.org", False),
        ("b.org/x", "a@b.org/x", True),
        ("b.org/x", "b.org/x", True),
        ("b.org/x", "a@b.org/y", False),
        ("example.org", "juliet@example.org/x", False),
        ("juliet@example.org", "juliet@example.org", False),
    ],
)
def test_whom_it_covers(blocked: str, jid: str, expected: bool) -> None:
    user = User("juliet", "example.org", None)
    user.blocked = frozenset({JID.parse(blocked)})
    assert user.blocks(JID.parse(jid)) is expected


@pytest.mark.parametrize(
    ("content", "condition"),
    [
        ("", "bad-request"),
        ("<entry jid='a@b.org'/>", "bad-request"),
        ("<item/>", "jid-malformed"),
        ("<item jid='@'/>", "jid-malformed"),
        ("<item jid='a@b.org'/><item jid='b@b.org'/><item jid='c@b.org'/>", "resource-constraint"),
    ],
)
def test_refused(content: str, condition: str) -> None:
    world = World(blocked_jids=2)
    world.send("juliet/balcony", f"<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'>{content}</block></iq>")
    (answer,) = world.take("juliet/balcony")
    assert f"<{condition} ".encode() in answer
    assert world.sessions["juliet/balcony"].user.blocked == frozenset()

"""What the store's rows of a user have become by another's doing, and what clients learn of it."""

from __future__ import annotations

from dataclasses import replace

from megaphone.service.ports import RosterItem
from megaphone.stream.jid import JID
from tests.unit.service.twin_store import Kept
from tests.unit.service.world import DOMAIN, World

JULIET, ROMEO, NURSE = (JID(name, DOMAIN) for name in ("juliet", "romeo", "nurse"))
ROSTER = "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>"
BLOCKS = "<iq type='get' id='b'><blocklist xmlns='urn:xmpp:blocking'/></iq>"


def entered(*names: str) -> World:
    world = World()
    for name in names:
        world.send(name, ROSTER)
        world.send(name, BLOCKS)
        world.send(name, "<presence/>")
    for name in names:
        world.take(name)
    return world


def refreshed(world: World, local: str = "juliet") -> None:
    """Rows are compared with what the service has had, which is the twin's no more."""
    world.services[0].refresh(local, world.now)
    world._run()


def kept(world: World, user: JID = JULIET) -> Kept:
    return world.store.users[user]


def put(world: World, **values: object) -> None:
    jid = values.pop("jid", ROMEO)
    assert isinstance(jid, JID)
    kept(world).roster = {**kept(world).roster, jid: RosterItem(jid, **values)}  # type: ignore[arg-type]


def test_nothing_has_changed() -> None:
    world = entered("juliet/balcony")
    refreshed(world)
    world.play("")


def test_items_come_change_and_go() -> None:
    world = entered("juliet/balcony", "juliet/chamber")
    world.send("juliet/chamber", "<presence type='unavailable'/>")
    world.take("juliet/balcony"), world.take("juliet/chamber")
    put(world, name="Romeo", groups=("Montague",))
    refreshed(world)
    for name in ("juliet/balcony", "juliet/chamber"):
        (push,) = world.take(name)
        assert b"<item jid='romeo@example.org' name='Romeo' subscription='none'><group>Montague</group></item>" in push
    put(world, name="Romeo", ask=True)
    refreshed(world)
    assert b"ask='subscribe'" in world.take("juliet/balcony")[0]
    kept(world).roster = {}
    refreshed(world)
    assert b"subscription='remove'" in world.take("juliet/balcony")[0]
    world.take("juliet/chamber")
    world.play("")


def test_a_request_alone_is_no_push() -> None:
    world = entered("juliet/balcony")
    put(world, request=b"<presence type='subscribe'/>", listed=False)
    refreshed(world)
    assert world.take("juliet/balcony") == []
    kept(world).roster = {}
    refreshed(world)
    assert world.take("juliet/balcony") == []


def test_who_may_see_presence_sees_it_and_who_may_not_sees_it_end() -> None:
    world = entered("juliet/balcony", "romeo/orchard")
    put(world, subscription="from")
    refreshed(world)
    world.play("""
        juliet/balcony << <iq type='set' id='*' to='juliet@example.org/balcony'><query xmlns='jabber:iq:roster' ver='*'>
            <item jid='romeo@example.org' subscription='from'/></query></iq>
        romeo/orchard << <presence from='juliet@example.org/balcony' to='romeo@example.org'/>
    """)
    put(world, subscription="none")
    refreshed(world)
    world.take("juliet/balcony")
    world.play("""
        romeo/orchard << <presence type='unavailable' from='juliet@example.org/balcony' to='romeo@example.org'/>
    """)


def test_who_is_blocked_neither_sees_nor_is_seen() -> None:
    world = entered("juliet/balcony", "romeo/orchard")
    put(world, subscription="both")
    refreshed(world)
    world.take("juliet/balcony"), world.take("romeo/orchard")
    kept(world).blocked = {ROMEO: None}
    refreshed(world)
    world.play("""
        romeo/orchard << <presence type='unavailable' from='juliet@example.org/balcony' to='romeo@example.org'/>
        juliet/balcony << <presence type='unavailable' from='romeo@example.org' to='juliet@example.org/balcony'/>
        juliet/balcony << <iq type='set' id='*' to='juliet@example.org/balcony'>
            <block xmlns='urn:xmpp:blocking'><item jid='romeo@example.org'/></block></iq>
    """)
    kept(world).blocked = {}
    kept(world, ROMEO).roster = {JULIET: RosterItem(JULIET, subscription="both")}
    refreshed(world, "romeo")
    world.take("romeo/orchard"), world.take("juliet/balcony")
    refreshed(world)
    world.play("""
        romeo/orchard << <presence from='juliet@example.org/balcony' to='romeo@example.org'/>
        juliet/balcony << <iq type='set' id='*' to='juliet@example.org/balcony'>
            <unblock xmlns='urn:xmpp:blocking'><item jid='romeo@example.org'/></unblock></iq>
        juliet/balcony << <presence from='romeo@example.org/orchard' to='juliet@example.org/balcony'/>
    """)


def test_an_account_that_is_removed_has_no_sessions() -> None:
    world = entered("juliet/balcony", "juliet/chamber")
    del world.store.users[JULIET]
    refreshed(world)
    assert {client.closed for client in world.clients.values()} == {"not-authorized"}
    assert world.services[0].home.users == {}


def test_who_has_no_session_is_read_again() -> None:
    world = entered("juliet/balcony")
    world.end("juliet/balcony")
    put(world, jid=NURSE, name="Nurse")
    refreshed(world)
    world.send("juliet/balcony", ROSTER)
    assert b"name='Nurse'" in world.take("juliet/balcony")[0]


def test_a_version_never_goes_back() -> None:
    world = entered("juliet/balcony")
    for _ in range(3):
        world.send(
            "juliet/balcony",
            "<iq type='set' id='1'><query xmlns='jabber:iq:roster'>"
            "<item jid='nurse@example.org' name='x'/></query></iq>",
        )
    before = world.services[0].home.users["juliet"].roster_version
    kept(world).version = 0
    kept(world).roster = {jid: replace(item, name="y") for jid, item in kept(world).roster.items()}
    refreshed(world)
    assert world.services[0].home.users["juliet"].roster_version >= before

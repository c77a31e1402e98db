"""What the store's rows of a user have become by another's doing, and what clients learn of it."""

from __future__ import annotations

from dataclasses import replace

from megaphone.service.home import REPLACED_LIMIT
from megaphone.service.ports import RosterItem, What
from megaphone.service.session import User
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


class OtherNode:
    """What `service.ports.Elsewhere` is where the user's other clients have their homes on one other node."""

    def __init__(self) -> None:
        self.told: list[What] = []

    def others(self, _: User) -> bool:
        return True

    def available(self, _: User) -> bool:
        return True

    def is_first(self, _: User) -> bool:
        return True

    def changed(self, _: User) -> None:
        pass

    def tell(self, what: What, *_: object, **__: object) -> None:
        self.told.append(what)

    def ask(self, what: What, *_: object, **__: object) -> None:
        self.told.append(what)


def named(world: World, name: str) -> None:
    """Juliet's client names Romeo."""
    item = f"<item jid='{ROMEO}' name='{name}'/>"
    world.send("juliet/balcony", f"<iq type='set' id='s'><query xmlns='jabber:iq:roster'>{item}</query></iq>")
    world.take("juliet/balcony")


def test_a_row_that_is_written_late_does_not_undo_what_was_made_of_it() -> None:
    world = entered("juliet/balcony")
    home = world.services[0].home
    home.elsewhere = other = OtherNode()  # type: ignore[assignment]
    asks = RosterItem(ROMEO, subscription="to", request=b"<presence type='subscribe'/>")
    home_item = lambda: home.users["juliet"].roster.get(ROMEO)  # noqa: E731
    world.services[0].contact_changed("juliet", asks)  # the other node has it first, and tells of it at once
    world.send("juliet/balcony", f"<presence type='subscribed' to='{ROMEO}'/>")
    assert home_item() == replace(asks, subscription="both", request=None)
    assert What.CONTACT in other.told
    world.take("juliet/balcony")
    put(world, subscription="to", request=asks.request)  # its row comes, and was written later than ours
    refreshed(world)
    assert home_item() == kept(world).roster[ROMEO] == replace(asks, subscription="both", request=None)
    assert world.take("juliet/balcony") == []
    # but what the other node says itself holds, also if it is what was there before
    world.services[0].contact_changed("juliet", asks)
    put(world, subscription="to", request=asks.request)
    refreshed(world)
    assert home_item() == kept(world).roster[ROMEO] == asks


def test_an_item_that_was_removed_does_not_come_back_with_a_row_that_is_written_late() -> None:
    world = entered("juliet/balcony")
    home = world.services[0].home
    home.elsewhere = OtherNode()  # type: ignore[assignment]
    named(world, "Romeo")
    before = kept(world).roster[ROMEO]
    world.send(
        "juliet/balcony",
        "<iq type='set' id='x'><query xmlns='jabber:iq:roster'>"
        f"<item jid='{ROMEO}' subscription='remove'/></query></iq>",
    )
    world.take("juliet/balcony")
    kept(world).roster = {ROMEO: before}
    refreshed(world)
    assert ROMEO not in kept(world).roster
    assert ROMEO not in home.users["juliet"].roster
    assert world.take("juliet/balcony") == []


def test_what_was_written_again_once_gives_way() -> None:
    """A node that has missed our word, and holds on to its own change as we do, must have the last one some time."""
    world = entered("juliet/balcony")
    home = world.services[0].home
    home.elsewhere = OtherNode()  # type: ignore[assignment]
    named(world, "Romeo")
    before = kept(world).roster[ROMEO]
    named(world, "Montague")
    ours = kept(world).roster[ROMEO]
    for expected in (ours, before):
        kept(world).roster = {ROMEO: before}
        refreshed(world)
        assert home.users["juliet"].roster[ROMEO] == kept(world).roster[ROMEO] == expected


def test_what_is_remembered_of_changes_is_limited() -> None:
    world = entered("juliet/balcony")
    home = world.services[0].home
    home.elsewhere = OtherNode()  # type: ignore[assignment]
    user = home.users["juliet"]
    for number in range(REPLACED_LIMIT + 5):
        home.put_item(user, RosterItem(JID(f"r{number}", DOMAIN)), changed=True)
    assert user.replaced is not None
    assert [jid.local for jid in user.replaced] == [f"r{number}" for number in range(5, REPLACED_LIMIT + 5)]

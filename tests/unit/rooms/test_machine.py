"""A room in the hands of many: whatever they do, everybody sees the same room in the same order.

order        what any two occupants have got of the room's messages while both were there is the same
no gap       history and live messages together are what has been said, without one missing or twice
picture      who an occupant believes to be there, with role and affiliation, is who is there
audience     whom `fan_out` reaches, and as what, is who is there
store        a room loaded from its store is the room
moving       nor is any of this different where the rooms go on in another process, whenever that happens
home lost    a home's death removes its users, and no others
"""

from collections import defaultdict
from collections.abc import Iterator
from xml.etree.ElementTree import Element

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from megaphone.rooms.moving import Change, Moving, snapshot, take
from megaphone.rooms.ports import Affiliation, Role
from megaphone.rooms.room import Room
from megaphone.rooms.rooms import Rooms
from megaphone.stream.jid import JID
from tests.unit.rooms.town import ROOM, START, Town, person

NAMES = st.sampled_from(["prince", "romeo", "romeo/2", "juliet", "juliet/2", "tybalt", "mercutio"])
NUMBERS = st.integers(0, 59)
NICKS = st.sampled_from(["a", "b", "c", "d"])
USER = "{http://jabber.org/protocol/muc#user}"
CLIENT = "{jabber:client}"


class Client:
    """What one client believes: whom it sees, and what has been said."""

    def __init__(self) -> None:
        self.inside = False
        self.nick = ""
        self.seen: dict[str, tuple[str, str]] = {}
        self.bodies: list[int] = []
        self.entering: list[int] = []

    def take(self, stanza: Element) -> None:
        nick = JID.parse(stanza.get("from", "")).resource
        if stanza.tag == f"{CLIENT}message":
            body = stanza.findtext(f"{CLIENT}body")
            if stanza.get("type") == "groupchat" and body is not None:
                self.bodies.append(int(body))
        elif stanza.tag == f"{CLIENT}presence" and stanza.get("type") != "error":
            item = stanza.find(f"{USER}x/{USER}item")
            assert item is not None
            codes = [each.get("code") for each in stanza.iter(f"{USER}status")]
            own = "110" in codes
            if stanza.get("type") == "unavailable":
                self.seen.pop(nick, None)
                if own and "303" not in codes:
                    self.inside = False
                    self.seen.clear()
                return
            if own:
                if not self.inside:
                    assert self.bodies == []  # history comes behind self-presence
                self.inside = True
                self.nick = nick
            self.seen[nick] = (item.get("affiliation", ""), item.get("role", ""))


class Machine(RuleBasedStateMachine):
    """People who enter, leave, talk, change nicks, roles, affiliations and the configuration."""

    def __init__(self) -> None:
        super().__init__()
        self.town = Town()
        self.clients: dict[JID, Client] = defaultdict(Client)
        self.said: list[int] = []
        self.moving: tuple[Moving, Rooms] | None = None

    @initialize(persistent=st.booleans(), whois=st.sampled_from(["anyone", "moderators"]))
    def open_room(self, persistent: bool, whois: str) -> None:
        self.town.enter("owner")
        self.town.configure("owner", persistentroom=str(int(persistent)), whois=whois, historylength="200")
        self.say("owner", "<presence to='verona@r.x/owner'><x xmlns='muc'/></presence>")
        for name, nick in (("romeo", "a"), ("juliet", "b"), ("juliet/2", "b")):
            self.enter(name, nick)

    def inside(self, number: int) -> str:
        """One of those who are in the room; the owner, who never changes, if nobody else is."""
        names = [f"{jid.local}/{jid.resource}" for jid, each in self.clients.items() if each.inside]
        names.remove("owner/c")
        return names[number % len(names)] if names else "owner/c"

    @property
    def room(self) -> Room:
        room = self.town.rooms.room(ROOM)
        assert room is not None
        return room

    def say(self, name: str, text: str) -> None:
        self.town.now += 0.25
        self.town.say(name, text)
        self.deliver()

    def deliver(self) -> None:
        for jid in list(self.town.inboxes):
            client = self.clients[jid]
            for stanza in self.town.taken(f"{jid.local}/{jid.resource}"):
                client.take(stanza)

    @rule(name=NAMES, nick=NICKS)
    def enter(self, name: str, nick: str) -> None:
        jid = person(name)
        if not self.clients[jid].inside:
            self.clients[jid] = Client()
            self.say(name, f"<presence to='verona@r.x/{nick}'><x xmlns='muc'/></presence>")
            client = self.clients[jid]
            if client.inside:
                assert client.bodies == self.said  # the history is everything so far, once

    @rule(number=NUMBERS, nick=NICKS)
    def change_nick(self, number: int, nick: str) -> None:
        name = self.inside(number)
        if name != "owner/c":
            self.say(name, f"<presence to='verona@r.x/{nick}'><show>away</show></presence>")

    @rule(number=NUMBERS, how=st.sampled_from(["type='unavailable'", "type='error'"]))
    def leave(self, number: int, how: str) -> None:
        name = self.inside(number)
        if name != "owner/c":
            self.say(name, f"<presence to='verona@r.x' {how}/>")

    @rule(number=NUMBERS)
    def talk(self, number: int) -> None:
        before = len(self.room.tail)
        self.say(
            self.inside(number), f"<message to='verona@r.x' type='groupchat'><body>{len(self.said)}</body></message>"
        )
        if len(self.room.tail) > before:
            self.said.append(len(self.said))

    @rule(nick=NICKS, role=st.sampled_from(Role), actor=st.sampled_from(["owner", "romeo", "tybalt"]))
    def change_role(self, nick: str, role: Role, actor: str) -> None:
        self.administer(actor, f"<item nick='{nick}' role='{role}'/>")

    @rule(
        name=st.sampled_from(["romeo", "juliet", "tybalt", "mercutio"]),
        affiliation=st.sampled_from(Affiliation),
        actor=st.sampled_from(["owner", "owner", "romeo"]),
    )
    def change_affiliation(self, name: str, affiliation: Affiliation, actor: str) -> None:
        self.administer(actor, f"<item jid='{name}@x' affiliation='{affiliation}'/>")

    def administer(self, actor: str, item: str) -> None:
        self.say(actor, f"<iq to='verona@r.x' type='set' id='a'><query xmlns='muc#admin'>{item}</query></iq>")

    @rule(key=st.sampled_from(["membersonly", "moderatedroom", "changesubject", "persistentroom"]), value=st.booleans())
    def configure(self, key: str, value: bool) -> None:
        field = f"<field var='muc#roomconfig_{key}'><value>{int(value)}</value></field>"
        x = f"<x xmlns='jabber:x:data' type='submit'>{field}</x>"
        self.say("owner", f"<iq to='verona@r.x' type='set' id='c'><query xmlns='muc#owner'>{x}</query></iq>")

    @rule(roles=st.sets(st.sampled_from(["moderator", "participant", "visitor"])))
    def broadcast_presence_of(self, roles: set[str]) -> None:
        values = "".join(f"<value>{role}</value>" for role in sorted(roles))
        field = f"<field var='muc#roomconfig_presencebroadcast'>{values}</field>"
        x = f"<x xmlns='jabber:x:data' type='submit'>{field}</x>"
        self.say("owner", f"<iq to='verona@r.x' type='set' id='c'><query xmlns='muc#owner'>{x}</query></iq>")

    @rule(names=st.sets(st.sampled_from(["romeo", "juliet", "tybalt", "mercutio", "prince"]), max_size=3))
    def lose_home(self, names: set[str]) -> None:
        before = set(self.room.occupants.by_session)
        self.town.rooms.home_lost(lambda jid: jid.local in names, self.town.now)
        self.deliver()
        assert set(self.room.occupants.by_session) == {jid for jid in before if jid.local not in names}

    @precondition(lambda self: self.room.persistent)
    @rule()
    def load_again(self) -> None:
        again = Town(store=self.town.store, archive=self.town.archive)
        again.now = START
        again.rooms.load()
        room = again.rooms.room(ROOM)
        assert room is not None
        assert room.record == self.room.record
        assert list(room.affiliations) == list(self.room.affiliations)
        assert (
            room.affiliations.owners
            == self.room.affiliations.owners
            == sum(each.affiliation is Affiliation.OWNER for each in room.affiliations)
        )
        assert room.tail.all() == self.room.tail.all()

    @rule()
    def begin_moving(self) -> None:
        if self.moving is None:
            self.moving = (Moving(self.town.rooms), self.town.new_rooms())
            self.carry(self.moving[0].everything())

    @precondition(lambda self: self.moving is not None)
    @rule()
    def follow(self) -> None:
        assert self.moving is not None
        self.carry(self.moving[0].changes())

    @rule()
    def move(self) -> None:
        self.begin_moving()
        self.follow()
        assert self.moving is not None
        moving, successor = self.moving
        moving.end()
        before = self.town.rooms
        assert {room.jid: snapshot(room) for room in before} == {room.jid: snapshot(room) for room in successor}
        for room in before:
            again = successor.room(room.jid)
            assert again is not None
            assert [each.mark for each in room.occupants] == [each.mark for each in again.occupants]
        assert before.items() == successor.items()
        self.town.rooms = successor
        self.moving = None
        assert self.town.inboxes == {}  # nobody has heard of it

    def carry(self, changes: Iterator[Change]) -> None:
        """Bring changes over, through the wire."""
        assert self.moving is not None
        for change in changes:
            take(self.moving[1], msgspec.msgpack.decode(msgspec.msgpack.encode(change), type=Change))

    @rule(number=NUMBERS, nick=NICKS)
    def ask(self, number: int, nick: str) -> None:
        self.say(
            self.inside(number),
            f"<iq to='verona@r.x/{nick}' type='get' id='q{number}'><query xmlns='jabber:iq:version'/></iq>",
        )

    @invariant()
    def everybody_sees_the_room(self) -> None:
        room = self.town.rooms.room(ROOM)
        if room is None:
            return
        shown = room.config.presence_broadcast
        for jid, occupant in room.occupants.by_session.items():
            expected = {
                each.nick: (str(room.affiliations.of(each.bare)), str(each.role))
                for each in room.occupants
                if each.role in shown or each is occupant
            }
            client = self.clients[jid]
            assert client.inside
            assert client.nick == occupant.nick
            assert client.seen == expected
        for jid, client in self.clients.items():
            assert client.inside is (jid in room.occupants.by_session)

    @invariant()
    def everybody_has_what_was_said(self) -> None:
        for client in self.clients.values():
            if client.inside:
                assert client.bodies == self.said

    @invariant()
    def the_host_knows_who_is_there(self) -> None:
        room = self.town.rooms.room(ROOM)
        if room is None:
            return
        expected = {jid: each.role is Role.MODERATOR for jid, each in room.occupants.by_session.items()}
        assert self.town.audience[ROOM] == expected

    @invariant()
    def indices_agree(self) -> None:
        room = self.town.rooms.room(ROOM)
        if room is None:
            return
        occupants = room.occupants
        assert {each.nick: each for each in occupants} == occupants.by_nick
        assert {jid: each for each in occupants for jid in each.sessions} == occupants.by_session
        assert sorted(each.nick for own in occupants.by_bare.values() for each in own) == sorted(occupants.by_nick)
        for each in occupants:
            assert each.jid == ROOM.at(each.nick)
            assert {jid.bare for jid in each.sessions} == {each.bare}


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)

"""Any interleaving of entering, leaving, renaming, losses, cuts and deaths on three nodes ends with equal views.

What happens is drawn, and when each thing arrives; then the nodes are joined again, all arrives, and the lost leave.
The three nodes must believe the same of the room, and each client the same of its occupants as its node.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.rooms.ports import Role
from megaphone.stream.jid import JID
from megaphone.stream.stanza import parse
from tests.unit.rooms.sea import RESUME_SECONDS, Node, Sea
from tests.unit.rooms.town import DOMAIN, ROOM, person

NODES = ("a", "b", "c")
PEOPLE = ("romeo", "juliet", "nurse", "paris")
CLIENTS = [f"{name}/{resource}" for name in PEOPLE for resource in ("1", "2")]
NICKS = ("n", "m", "o")
JOIN = "<x xmlns='muc'/>"

_node = st.sampled_from(NODES)
_pair = st.sampled_from([("a", "b"), ("a", "c"), ("b", "c")])
_step = st.one_of(
    st.tuples(st.just("enter"), _node, st.sampled_from(CLIENTS), st.sampled_from(NICKS)),
    st.tuples(st.just("enter"), _node, st.sampled_from(CLIENTS), st.sampled_from(NICKS)),
    st.tuples(st.just("leave"), _node, st.sampled_from(CLIENTS)),
    st.tuples(st.just("away"), _node, st.sampled_from(CLIENTS), st.sampled_from(("away", "dnd", "xa"))),
    st.tuples(st.just("role"), _node, st.sampled_from(NICKS), st.sampled_from(("visitor", "participant", "none"))),
    st.tuples(st.just("arrive"), st.permutations(NODES), st.integers(1, 6)),
    st.tuples(st.just("arrive"), st.permutations(NODES), st.integers(1, 6)),
    st.tuples(st.just("calm")),
    st.tuples(st.just("lose"), st.permutations(NODES)),
    st.tuples(st.just("separate"), _pair),
    st.tuples(st.just("heal"), _pair),
    st.tuples(st.just("die"), _node),
    st.tuples(st.just("pass"), st.sampled_from((0.001, 1.0, 400.0))),
)


class Screens:
    """What each client believes of the room, from the presence that it has got."""

    def __init__(self, sea: Sea) -> None:
        self.sea = sea
        self.occupants: dict[tuple[str, JID], dict[str, tuple[str, str]]] = {}
        for node in sea.nodes.values():
            node.on_removed = lambda session, node=node: self.empty(node, session)  # type: ignore[misc]

    def look(self) -> None:
        for node in self.sea.nodes.values():
            for session in node.inboxes:
                self.look_at(node, session)

    def look_at(self, node: Node, session: JID) -> None:
        screen = self.occupants.setdefault((node.name, session), {})
        for data in node.inboxes.get(session, []):
            self._see(screen, data)
        node.inboxes.get(session, []).clear()

    def empty(self, node: Node, session: JID) -> None:
        """The room speaks to a session no more: it leaves, or its place has been taken by one at another node."""
        self.look_at(node, session)
        self.occupants[node.name, session].clear()

    @staticmethod
    def _see(screen: dict[str, tuple[str, str]], data: bytes) -> None:
        tree = parse(data)
        if tree.tag != "{jabber:client}presence" or tree.get("type") == "error":
            return
        nick = (tree.get("from") or "").partition("/")[2]
        own = tree.find(".//{http://jabber.org/protocol/muc#user}status[@code='110']") is not None
        if tree.get("type") == "unavailable":
            new = tree.find(".//{http://jabber.org/protocol/muc#user}status[@code='303']") is not None
            assert screen.pop(nick, None) is not None or own, f"{nick} has not been there"
            if own and not new:
                screen.clear()
        else:
            item = tree.find(".//{http://jabber.org/protocol/muc#user}item")
            assert item is not None
            screen[nick] = (item.get("role") or "", tree.findtext("{jabber:client}show") or "")

    def forget(self, node: str) -> None:
        self.occupants = {key: screen for key, screen in self.occupants.items() if key[0] != node}


def do(sea: Sea, screens: Screens, step: tuple) -> None:  # type: ignore[type-arg]
    match step:
        case ("enter", node, client, nick):
            sea[node].say(client, f"<presence to='{ROOM}/{nick}'>{JOIN}</presence>")
        case ("leave", node, client):
            sea[node].say(client, f"<presence to='{ROOM}' type='unavailable'/>")
        case ("away", node, client, show):
            room = sea[node].rooms.room(ROOM)
            occupant = None if room is None else room.occupants.by_session.get(person(client))
            if occupant is not None and room is not None and person(client) not in room.occupants.remote:
                sea[node].say(client, f"<presence to='{ROOM}/{occupant.nick}'><show>{show}</show></presence>")
        case ("role", node, nick, role):
            room = sea[node].rooms.room(ROOM)
            occupant = None if room is None else room.occupants.by_nick.get("host")
            if occupant is not None:
                item = f"<item nick='{nick}' role='{role}'/>"
                sea[node].say(
                    "host/1", f"<iq to='{ROOM}' type='set' id='a'><query xmlns='muc#admin'>{item}</query></iq>"
                )
        case ("arrive", (one, other, _), count):
            for _ in range(count):
                sea.arrive(one, other)
        case ("calm",):
            sea.calm()
        case ("lose", (one, other, _)):
            if sea.under_way[one, other]:
                sea.under_way[one, other].popleft()
        case ("separate", (one, other)):
            sea.separate(one, other)
        case ("heal", (one, other)):
            sea.heal(one, other)
        case ("die", node):
            sea.die(node)
            screens.forget(node)
        case ("pass", seconds):
            sea.pass_(seconds)
    screens.look()


def finish(sea: Sea, screens: Screens) -> None:
    for one, other in (("a", "b"), ("a", "c"), ("b", "c")):
        sea.heal(one, other)
    sea.calm()
    sea.pass_(RESUME_SECONDS + 1)
    for _ in range(4):  # rounds of Still, and of silence that is noticed, for events that were lost at the end
        for _ in range(6):
            sea.pass_(10)
        for _ in range(70):
            sea.pass_(1)
        sea.calm()
    screens.look()


def check(sea: Sea, screens: Screens) -> None:
    views = sea.views()
    assert views["a"] == views["b"]
    assert views["b"] == views["c"]
    for name, node in sea.nodes.items():
        room = node.rooms.room(ROOM)
        assert room is not None
        local = {jid for jid in room.occupants.by_session if jid not in room.occupants.remote}
        assert set(node.audience.get(ROOM, {})) == local
        for session in local:
            occupant = room.occupants.by_session[session]
            assert node.audience[ROOM][session] is (occupant.role is Role.MODERATOR)
            expected = {
                each.nick: (str(each.role), parse(each.presence).findtext("{jabber:client}show") or "")
                for each in room.occupants
            }
            assert screens.occupants[name, session] == expected, (
                name,
                session,
                screens.occupants[name, session],
                expected,
            )


def begin() -> tuple[Sea, Screens]:
    """A persistent room that somebody, who stays, has made on the first node."""
    sea = Sea(*NODES)
    sea["a"].say("host/1", f"<presence to='{ROOM}/host'>{JOIN}</presence>")
    sea.calm()
    form = (
        "<x xmlns='jabber:x:data' type='submit'><field var='muc#roomconfig_persistentroom'><value>1</value></field></x>"
    )
    sea["a"].say("host/1", f"<iq to='{ROOM}' type='set' id='o'><query xmlns='muc#owner'>{form}</query></iq>")
    sea.replicate()
    sea.calm()
    screens = Screens(sea)
    screens.look()
    assert all(node.rooms.room(JID("verona", DOMAIN)) is not None for node in sea.nodes.values())
    return sea, screens


@settings(max_examples=300, deadline=None)
@given(st.lists(_step, max_size=60))
def test_any_interleaving_ends_with_equal_views(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    sea, screens = begin()
    for step in steps:
        do(sea, screens, step)
    finish(sea, screens)
    check(sea, screens)

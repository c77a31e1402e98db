"""Rooms of one name, one after the other, on several nodes: what is late of the last one never becomes the next one's.

Events and rows go different ways, so either may come first.
"""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.rooms.events import About, Still
from megaphone.rooms.ports import Affiliation
from tests.unit.rooms.sea import RESUME_SECONDS, Sea
from tests.unit.rooms.test_several_nodes import JOIN, OPEN, enter, hush
from tests.unit.rooms.town import ROOM, person

NODES = ("a", "b", "c")
PAIRS = tuple(permutations(NODES, 2))
DESTROY = f"<iq to='{ROOM}' type='set' id='d'><query xmlns='muc#owner'><destroy/></query></iq>"


def configure(persistent: bool) -> str:
    value = int(persistent)
    field = f"<field var='muc#roomconfig_persistentroom'><value>{value}</value></field>"
    form = f"<x xmlns='jabber:x:data' type='submit'>{field}</x>"
    return f"<iq to='{ROOM}' type='set' id='o'><query xmlns='muc#owner'>{form}</query></iq>"


def ban(name: str) -> str:
    item = f"<item jid='{name}@x' affiliation='outcast'/>"
    return f"<iq to='{ROOM}' type='set' id='a'><query xmlns='muc#admin'>{item}</query></iq>"


def bring_all(sea: Sea) -> None:
    sea.calm()
    for _ in range(20):
        news = [sea.bring(one, other) for one, other in PAIRS]
        sea.calm()
        if not any(news):
            return
    raise AssertionError("the rows never come to rest")


def made(persistent: bool, *, banned: str = "") -> Sea:
    """A room that romeo has made on the first node, and that all nodes have."""
    sea = Sea(*NODES)
    enter(sea, "a", "romeo")
    sea["a"].say("romeo", configure(persistent))
    if banned:
        sea["a"].say("romeo", ban(banned))
    bring_all(sea)
    enter(sea, "b", "juliet")
    enter(sea, "c", "mercutio")
    sea.pass_(1)
    hush(sea)
    return sea


def of_one_mind(sea: Sea) -> None:
    """All nodes have the same room, if any, in memory as in their rows."""
    found = []
    for node in sea.nodes.values():
        room = node.rooms.room(ROOM)
        record = node.store.room(ROOM)
        assert (room is None) == (record is None), node.name
        if room is not None and record is not None:
            assert room.record == record
            assert room.life in (None, node.store.ended(ROOM))
            affiliations = {each.jid: each.affiliation for each in room.affiliations}
            assert affiliations == {each.jid: each.affiliation for each in node.store.affiliations(ROOM)}
            found.append((record, affiliations))
        else:
            found.append(None)
    assert found[0] == found[1] == found[2]
    views = sea.views()
    assert views["a"] == views["b"] == views["c"]


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("first", ["events", "rows"])
def test_destroyed_and_made_again_at_once(persistent: bool, first: str) -> None:
    sea = made(persistent, banned="nurse")
    before = sea["a"].rooms.room(ROOM)
    sea["a"].say("romeo", DESTROY)
    enter_again = f"<presence to='{ROOM}/romeo'>{JOIN}</presence>"
    if first == "rows":
        sea.bring("a", "b")
        sea.bring("a", "c")
        sea["a"].say("romeo", enter_again)
    else:
        sea["a"].say("romeo", enter_again)
        for other in ("b", "c"):
            while sea.arrive("a", other):
                pass
            sea[other].rooms.refresh(ROOM, sea.now)  # of a row that was written before
            assert sea[other].rooms.room(ROOM) is None
    sea["a"].say("romeo", OPEN)
    bring_all(sea)
    of_one_mind(sea)
    room = sea["b"].rooms.room(ROOM)
    assert room is not None
    assert room is not before
    assert not room.config.persistent
    assert {each.jid: each.affiliation for each in room.affiliations} == {person("romeo").bare: Affiliation.OWNER}
    assert set(sea.views()["c"]) == {"romeo"}
    enter(sea, "b", "nurse")
    assert set(sea.views()["a"]) == {"romeo", "nurse"}


def test_made_again_at_another_node_before_the_row_has_gone_there() -> None:
    sea = made(True)
    sea["a"].say("romeo", DESTROY)
    sea.calm()
    enter(sea, "b", "juliet")
    sea["b"].say("juliet", OPEN)
    assert sea["b"].rooms.room(ROOM) is not None
    bring_all(sea)
    of_one_mind(sea)
    room = sea["a"].rooms.room(ROOM)
    assert room is not None
    assert room.creator == person("juliet").bare
    assert set(sea.views()["c"]) == {"juliet"}


@pytest.mark.parametrize("persistent", [False, True])
def test_the_rows_of_the_next_room_come_before_the_word_of_the_end(persistent: bool) -> None:
    sea = made(persistent)
    sea["a"].say("romeo", DESTROY)
    sea["a"].say("romeo", f"<presence to='{ROOM}/romeo'>{JOIN}</presence>")
    sea.pass_(1.1)  # nobody answers
    sea["a"].say("romeo", configure(persistent))
    for other in ("b", "c"):
        assert sea.bring("a", other)
    bring_all(sea)
    of_one_mind(sea)
    assert set(sea.views()["b"]) == {"romeo"}
    (gone,) = [each for each in sea["b"].taken("juliet") if each.get("from") == f"{ROOM}/juliet"]
    assert gone.find(".//{http://jabber.org/protocol/muc#user}destroy") is not None


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("first", ["events", "rows"])
def test_made_again_and_destroyed_again_at_once(persistent: bool, first: str) -> None:
    sea = made(persistent)
    sea["a"].say("romeo", DESTROY)
    sea.calm()
    enter(sea, "a", "romeo")
    sea["a"].say("romeo", configure(persistent))
    bring_all(sea)
    enter(sea, "b", "juliet")
    hush(sea)
    sea["a"].say("romeo", DESTROY)
    if first == "events":
        sea.calm()
    bring_all(sea)
    sea.pass_(3)
    bring_all(sea)
    (gone,) = [each for each in sea["b"].taken("juliet") if each.get("from") == f"{ROOM}/juliet"]
    assert gone.find(".//{http://jabber.org/protocol/muc#user}destroy") is not None
    assert all(node.rooms.room(ROOM) is None and node.store.room(ROOM) is None for node in sea.nodes.values())


def test_destroyed_while_a_node_was_cut_off_and_made_again() -> None:
    sea = made(True)
    sea.separate("a", "c")
    sea.separate("b", "c")
    sea["a"].say("romeo", DESTROY)
    sea.calm()
    sea.pass_(1)
    enter(sea, "a", "romeo")
    sea["a"].say("romeo", configure(persistent=True))
    hush(sea)
    for other in ("a", "b"):
        sea.heal("c", other)
    bring_all(sea)
    (gone,) = [each for each in sea["c"].taken("mercutio") if each.get("from") == f"{ROOM}/mercutio"]
    assert gone.find(".//{http://jabber.org/protocol/muc#user}destroy") is not None
    of_one_mind(sea)
    assert set(sea.views()["c"]) == {"romeo"}


def test_an_old_description_is_not_taken() -> None:
    sea = made(False)
    old = sea["c"].rooms.room(ROOM)
    assert old is not None
    about = About(
        *(sea["c"].origin, ROOM, False, old.config.values(), old.creator, old.created, old.secret, None),
        ((person("romeo").bare, "owner", ""),),
    )
    sea["a"].say("romeo", DESTROY)
    sea.calm()
    sea["b"].say("juliet", f"<presence to='{ROOM}/juliet'>{JOIN}</presence>")
    assert ROOM in sea["b"].others.holding
    sea["b"].others.take(about, sea.now)
    assert sea["b"].rooms.room(ROOM) is None
    sea.calm()
    room = sea["b"].rooms.room(ROOM)
    assert room is not None
    assert room.creator == person("juliet").bare


# --- a worker begins, and does not know the other nodes yet ---


def test_what_was_said_before_anybody_was_known_is_heard_soon() -> None:
    sea = made(True)
    sea.die("b")
    for other in ("a", "c"):
        sea.known.discard(("b", other))
        sea.under_way["b", other].clear()
    sea["b"].others.sweep(sea.now)
    sea["b"].deaf = True
    sea["b"].say("juliet", f"<presence to='{ROOM}/juliet'>{JOIN}</presence>")
    sea["b"].others.sweep(sea.now)
    assert ROOM in sea["b"].others._reminding.unheard
    sea["b"].deaf = False
    for other in ("a", "c"):
        sea.known.add(("b", other))
        sea["b"].others.joined(sea[other].key, sea.now)
    sea.calm()
    assert not sea["b"].others._reminding.unheard
    hush(sea)
    sea.pass_(RESUME_SECONDS + 1)
    sea.calm()
    assert not sea["a"].taken("romeo"), "nobody has been away"
    assert sea.views()["a"] == sea.views()["b"] == sea.views()["c"]


def test_who_enters_waits_until_the_nodes_are_known() -> None:
    sea = made(True)
    sea.die("b")
    for other in ("a", "c"):
        sea.known.discard(("b", other))
    sea["b"].found = False
    sea["b"].say("juliet", f"<presence to='{ROOM}/juliet'>{JOIN}</presence>")
    sea["b"].others.sweep(sea.now)
    assert not sea["b"].taken("juliet")
    for other in ("a", "c"):
        sea.known.add(("b", other))
        sea["b"].others.joined(sea[other].key, sea.now)
    sea["b"].found = True
    sea.calm()
    nicks = [(each.get("from") or "").partition("/")[2] for each in sea["b"].taken("juliet") if "presence" in each.tag]
    assert nicks[-1] == "juliet"
    assert set(nicks) == {"romeo", "mercutio", "juliet"}


def test_who_enters_waits_no_longer_than_a_second_for_nodes_that_are_not_found() -> None:
    sea = Sea("a")
    sea["a"].found = False
    sea["a"].others._found = False
    sea["a"].say("romeo", f"<presence to='{ROOM}/romeo'>{JOIN}</presence>")
    assert not sea["a"].taken("romeo")
    sea.pass_(1.1)
    assert sea["a"].taken("romeo")


def test_a_wire_that_was_away_says_again_what_may_not_have_been_heard() -> None:
    sea = made(True)
    sea["b"].say("juliet", f"<presence to='{ROOM}/capulet'/>")
    sea.under_way["b", "a"].clear()
    sea["b"].others.up(False, sea.now)
    sea["b"].others.up(True, sea.now)
    sea.calm()
    assert sea.views()["a"] == sea.views()["b"]
    assert not sea["b"].others._reminding.unheard


def test_still_of_a_room_that_is_no_more_here() -> None:
    sea = made(False)
    sea["a"].others.take(Still(sea["b"].origin, ROOM, 0), sea.now)
    sea.calm()
    assert sea.views()["a"] == sea.views()["b"]


# --- any order ---

_step = st.one_of(
    st.tuples(st.just("enter"), st.sampled_from(NODES), st.sampled_from(("romeo", "juliet", "nurse"))),
    st.tuples(st.just("open"), st.sampled_from(NODES), st.booleans()),
    st.tuples(st.just("destroy"), st.sampled_from(NODES)),
    st.tuples(st.just("again"), st.sampled_from(NODES), st.booleans()),
    st.tuples(st.just("leave"), st.sampled_from(NODES), st.sampled_from(("romeo", "juliet", "nurse"))),
    st.tuples(st.just("ban"), st.sampled_from(NODES), st.sampled_from(("romeo", "juliet", "nurse"))),
    st.tuples(st.just("arrive"), st.sampled_from(PAIRS), st.integers(1, 5)),
    st.tuples(st.just("rows"), st.sampled_from(PAIRS)),
    st.tuples(st.just("pass"), st.sampled_from((0.001, 0.2, 1.5))),
)


def do(sea: Sea, step: tuple) -> None:  # type: ignore[type-arg]
    match step:
        case ("enter", node, name):
            sea[node].say(f"{name}-{node}", f"<presence to='{ROOM}/{name}-{node}'>{JOIN}</presence>")
        case ("leave", node, name):
            sea[node].say(f"{name}-{node}", f"<presence to='{ROOM}' type='unavailable'/>")
        case ("again", node, persistent):
            room = sea[node].rooms.room(ROOM)
            if room is not None and room.creator in {each.bare for each in sea[node].connected}:
                sea[node].say(room.creator.local, DESTROY)
                sea[node].say(room.creator.local, f"<presence to='{ROOM}/{room.creator.local}'>{JOIN}</presence>")
                sea.pass_(1.1)
                sea[node].say(room.creator.local, configure(persistent))
        case ("open" | "destroy" | "ban", node, *rest):
            room = sea[node].rooms.room(ROOM)
            owners = [] if room is None else [each for each in room.affiliations if each.affiliation == "owner"]
            here = [each.jid.local for each in owners if each.jid.local.endswith(f"-{node}")]
            if here and step[0] == "ban":
                sea[node].say(here[0], ban(f"{rest[0]}-a"))
            elif here:
                sea[node].say(here[0], DESTROY if step[0] == "destroy" else configure(rest[0]))
        case ("arrive", (one, other), count):
            for _ in range(count):
                sea.arrive(one, other)
        case ("rows", (one, other)):
            sea.bring(one, other)
        case ("pass", seconds):
            sea.pass_(seconds)


@settings(max_examples=600, deadline=None)
@given(st.lists(_step, max_size=50))
def test_any_order_ends_with_one_room_or_none(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    sea = Sea(*NODES)
    for step in steps:
        do(sea, step)
    for _ in range(3):
        sea.calm()
        bring_all(sea)
        sea.pass_(RESUME_SECONDS + 1)
    for name in NODES:  # a room that nobody has opened yet is nowhere else
        room = sea[name].rooms.room(ROOM)
        if room is not None and room.locked:
            sea[name].say(room.creator.local, configure(persistent=True))
            bring_all(sea)
    for _ in range(70):
        sea.pass_(1)
    sea.calm()
    bring_all(sea)
    of_one_mind(sea)

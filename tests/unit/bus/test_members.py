"""The view of a cluster, as a property of all that a store can say: who joins and leaves, and nobody is forgotten."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from megaphone.bus.members import LATE_SECONDS, MEMBERS_LIMIT, Member, View, decode_member, encode_member
from megaphone.errors import KeysError

LEASE_SECONDS = 3


def member(number: int, start: int = 1, **fields: object) -> Member:
    made = Member(
        name=f"node{number}",
        node_key=number.to_bytes(32, "big"),
        incarnation=start.to_bytes(8, "big"),
        since_ms=1000 * start,
        lease_seconds=LEASE_SECONDS,
    )
    return msgspec.structs.replace(made, **fields)


class Told:
    """A view, and what it has told."""

    def __init__(self, own: str = "") -> None:
        self.events: list[tuple[str, str]] = []
        self.present: dict[str, Member] = {}
        self.view = View(joined=self.joined, left=self.left, changed=self.changed, own=own)

    def joined(self, one: Member) -> None:
        assert one.key not in self.present
        self.present[one.key] = one
        self.events.append(("joined", one.name))

    def left(self, one: Member) -> None:
        assert self.present.pop(one.key) == one
        self.events.append(("left", one.name))

    def changed(self, was: Member, one: Member) -> None:
        assert self.present[one.key] == was != one
        self.present[one.key] = one
        self.events.append(("changed", one.name))

    def say(self, one: Member, now: float) -> None:
        self.view.take(one.key, encode_member(one), now)


def test_a_life() -> None:
    told = Told()
    told.view.hear(True, 0.0)
    told.say(member(1), 0.0)
    told.say(member(1), 1.0)
    told.say(member(1, offers=("muc",)), 1.5)
    told.view.tick(4.4)
    assert told.events == [("joined", "node1"), ("changed", "node1")]
    told.view.tick(4.5)
    assert told.events[2:] == [("left", "node1")]
    told.say(member(1), 5.0)
    told.view.leave(member(1).key, member(1, 2).incarnation)
    assert told.present
    told.view.leave(member(1).key, member(1).incarnation)
    told.view.leave(member(1).key, member(1).incarnation)
    assert told.events[3:] == [("joined", "node1"), ("left", "node1")]


def test_a_node_that_was_started_again_has_left_and_joined() -> None:
    told = Told()
    told.say(member(1), 0.0)
    told.say(member(1, 2), 1.0)
    assert told.events == [("joined", "node1"), ("left", "node1"), ("joined", "node1")]
    told.say(member(1, 1), 1.5)  # a store that was rolled back
    assert told.present[member(1).key] == member(1, 2)
    assert len(told.events) == 3


def test_nobody_leaves_while_nothing_is_heard() -> None:
    told = Told()
    told.view.hear(True, 0.0)
    told.view.tick(0.0)
    told.say(member(1), 0.0)
    told.view.hear(False, 1.0)
    for tenth in range(1000):
        told.view.tick(tenth / 10)
    assert told.present
    told.view.hear(True, 100.0)
    told.view.tick(100.5)
    told.say(member(2), 101.0)
    for tenth in range(1010, 1030):
        told.view.tick(tenth / 10)
    assert told.events == [("joined", "node1"), ("joined", "node2")]
    told.view.tick(103.0)
    assert told.events[2:] == [("left", "node1")]


def test_who_was_away_itself_does_not_think_so_of_others() -> None:
    told = Told()
    told.view.hear(True, 0.0)
    told.view.tick(0.0)
    told.say(member(1), 0.0)
    told.view.tick(50.0)
    assert told.present
    for tenth in range(501, 531):
        told.view.tick(tenth / 10)
    assert not told.present
    assert LATE_SECONDS < LEASE_SECONDS


@given(phases=st.lists(st.integers(0, 9), min_size=3, max_size=3), stall=st.integers(0, 100))
def test_a_store_that_takes_nobodys_word_says_nothing_of_anybody(phases: list[int], stall: int) -> None:
    """Each says its key once in a second until the store takes no more; afterwards those who live say it again."""
    told = Told(own=member(0).key)
    told.view.hear(True, 0.0)
    for tenth in range(50 + stall + 20):
        for number, phase in enumerate(phases):
            if tenth % 10 == phase and not 50 <= tenth < 50 + stall:
                told.say(member(number), tenth / 10)
        told.view.tick(tenth / 10)
    assert [event for event, _ in told.events] == ["joined"] * 3
    for tenth in range(50 + stall + 20, 50 + stall + 20 + 10 * LEASE_SECONDS + 1):  # two of them are dead
        told.say(member(0), tenth / 10)
        told.view.tick(tenth / 10)
    assert told.present.keys() == {member(0).key}


def test_a_node_that_is_no_member_itself_sees_others_leave() -> None:
    told = Told(own=member(0).key)
    told.view.hear(True, 0.0)
    for one in (member(0), member(1)):
        told.say(one, 0.0)
    for tenth in range(25):
        told.view.tick(tenth / 10)
    told.view.leave(member(0).key, member(0).incarnation)
    for tenth in range(25, 25 + 10 * LEASE_SECONDS + 1):
        told.view.tick(tenth / 10)
    assert told.events[2:] == [("left", "node0"), ("left", "node1")]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b"null",
        encode_member(member(2)),
        encode_member(member(1, name="")),
        encode_member(member(1, lease_seconds=0)),
        encode_member(member(1, incarnation=b"short")),
        encode_member(member(1, addresses=("x",) * 65)),
    ],
)
def test_what_no_node_says_changes_nothing(value: bytes) -> None:
    told = Told()
    told.say(member(1), 0.0)
    with pytest.raises(KeysError):
        told.view.take(member(1).key, value, 1.0)
    assert told.events == [("joined", "node1")]


def test_a_later_version_may_say_more() -> None:
    said = msgspec.json.encode({**msgspec.to_builtins(member(1)), "moon": "full"})
    assert decode_member(member(1).key, said) == member(1)


def test_too_many_nodes() -> None:
    told = Told()
    for number in range(MEMBERS_LIMIT):
        told.say(member(number), 0.0)
    with pytest.raises(KeysError, match="1024"):
        told.say(member(MEMBERS_LIMIT), 0.0)
    told.say(member(5, 2), 0.0)  # one of them, started again
    assert len(told.present) == MEMBERS_LIMIT


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(value: bytes) -> None:
    told = Told()
    with contextlib.suppress(KeysError):
        told.view.take(member(1).key, value, 0.0)
    assert told.present == {}


class ViewMachine(RuleBasedStateMachine):
    """Nodes that live, die and start again, a store that is away at times, and a view that ticks all the time."""

    def __init__(self) -> None:
        super().__init__()
        self.told = Told()
        self.now = 0.0
        self.starts: dict[int, int] = {}
        self.said: dict[int, float] = {}  # when the key was said last; gone when the node has left in order
        self.hears = False
        self.heard_since = 0.0

    @rule(number=st.integers(0, 3), again=st.booleans())
    def say(self, number: int, again: bool) -> None:
        self.starts[number] = self.starts.get(number, 1) + again
        self.said[number] = self.now
        self.told.say(member(number, self.starts[number]), self.now)

    @rule(number=st.integers(0, 3))
    def leave(self, number: int) -> None:
        one = member(number, self.starts.get(number, 1))
        self.told.view.leave(one.key, one.incarnation)
        self.said.pop(number, None)

    @rule(number=st.integers(0, 3))
    def roll_back(self, number: int) -> None:
        if number in self.said and self.starts[number] > 1:
            self.told.say(member(number, self.starts[number] - 1), self.now)

    @rule(hears=st.booleans())
    def hear(self, hears: bool) -> None:
        if hears and not self.hears:
            self.heard_since = self.now
        self.hears = hears
        self.told.view.hear(hears, self.now)

    @rule(ticks=st.integers(1, 20))
    def pass_time(self, ticks: int) -> None:
        for _ in range(ticks):
            self.now += 0.25
            self.told.view.tick(self.now)
            if self.hears:
                for number, when in list(self.said.items()):
                    if max(when, self.heard_since) + LEASE_SECONDS <= self.now:
                        del self.said[number]

    @invariant()
    def the_view_is_who_is_there(self) -> None:
        assert self.told.view.members == self.told.present
        assert sorted(self.told.present) == sorted(member(number).key for number in self.said)
        for number in self.said:
            assert self.told.present[member(number).key].since_ms == 1000 * self.starts[number]


TestView = ViewMachine.TestCase

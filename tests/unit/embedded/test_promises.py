"""Promises: kept in order, never before what they depend on is safe, and never left lying."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from megaphone.embedded.promises import Promises


class Store:
    """A store that counts."""

    position = 0
    committed = 0


class Bus:
    """Three workers, of which we are the second."""

    index = 1
    workers = 3

    def __init__(self) -> None:
        self.said = [0, 0, 0]
        self.heard = [0, 0, 0]

    def promised(self, peer: int) -> int:
        """What has been said to be kept."""
        assert peer != self.index
        return self.said[peer]

    def has_confirmed(self, peer: int) -> int:
        """What of it is safe."""
        assert peer != self.index
        return self.heard[peer]


def test_with_nothing_to_wait_for_it_is_kept_at_once() -> None:
    kept: list[str] = []
    for peers in (None, Bus()):
        promises = Promises(Store(), peers)
        assert promises.all_kept
        promises.when_safe(lambda: kept.append("safe"))
        promises.when_written(lambda: kept.append("written"))
        assert len(promises) == 0
    assert kept == ["safe", "written"] * 2


def test_it_waits_for_the_store_and_for_each_peer() -> None:
    store, bus, kept = Store(), Bus(), list[int]()
    promises = Promises(store, bus)
    store.position, bus.said[0], bus.said[2] = 5, 3, 7
    promises.when_safe(lambda: kept.append(1))
    store.position = 9  # later writes are not this promise's
    bus.said[0] = 4
    for store.committed, bus.heard[0], bus.heard[2] in ((5, 0, 7), (5, 3, 6), (4, 3, 7)):
        promises.look()
        assert kept == []
    store.committed = 5
    promises.look()
    assert kept == [1]
    assert not promises.all_kept  # the later write, the later frame


def test_an_answer_to_a_peer_waits_for_the_store_alone() -> None:
    """Else two workers that have told each other something would wait for each other for ever."""
    store, bus, kept = Store(), Bus(), list[str]()
    promises = Promises(store, bus)
    store.position, bus.said[0] = 1, 1
    promises.when_safe(lambda: kept.append("client"))
    promises.when_written(lambda: kept.append("peer"))
    store.committed = 1
    promises.look()
    assert kept == ["peer"]
    bus.heard[0] = 1
    promises.look()
    assert kept == ["peer", "client"]


def test_a_promise_that_makes_another() -> None:
    store, kept = Store(), list[int]()
    promises = Promises(store, None)
    store.position = 1

    def first() -> None:
        kept.append(1)
        store.position = 2
        promises.when_safe(lambda: kept.append(2))

    promises.when_safe(first)
    store.committed = 1
    promises.look()
    assert (kept, len(promises)) == ([1], 1)
    store.committed = 2
    promises.look()
    assert (kept, len(promises)) == ([1, 2], 0)


def test_while_held_nothing_is_kept() -> None:
    kept: list[str] = []
    promises = Promises(Store(), Bus())
    promises.hold(True)
    promises.when_safe(lambda: kept.append("client"))
    promises.when_written(lambda: kept.append("peer"))
    promises.look()
    assert kept == []
    assert not promises.all_kept
    promises.hold(False)
    assert kept == ["peer", "client"]
    assert promises.all_kept


def test_what_is_told_to_other_nodes_waits_for_the_store_alone() -> None:
    """Else two nodes that have asked each other would wait for each other for ever."""
    store, kept = Store(), list[str]()
    promises = Promises(store, None)
    first, second = promises.ask(), promises.ask()
    promises.when_safe(lambda: kept.append("client"))
    promises.when_written(lambda: kept.append("peer"))
    promises.when_stored(lambda: kept.append("node"))
    store.position = 1
    promises.when_stored(lambda: kept.append("node later"))
    assert kept == ["node"]
    assert not promises.settled
    store.committed = 1
    promises.look()
    assert kept == ["node", "node later"]
    promises.answered(second)
    assert kept == ["node", "node later"]
    promises.answered(first)
    promises.answered(first)
    assert kept == ["node", "node later", "peer", "client"]
    assert promises.all_kept
    assert promises.settled


class Kept(RuleBasedStateMachine):
    """Writes, frames, requests, commits, confirmations in any order: what is kept is safe, and what is safe is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.store, self.bus = Store(), Bus()
        self.promises = Promises(self.store, self.bus)
        self.made: list[tuple[int, int, int, int]] = []  # what each promise depends on
        self.asked: list[int] = []
        self.unanswered: set[int] = set()
        self.kept: list[int] = []

    @rule()
    def write(self) -> None:
        self.store.position += 1

    @rule(peer=st.sampled_from([0, 2]))
    def say(self, peer: int) -> None:
        self.bus.said[peer] += 1

    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        self.store.committed = data.draw(st.integers(self.store.committed, self.store.position))
        self.promises.look()

    @rule(data=st.data(), peer=st.sampled_from([0, 2]))
    def confirm(self, data: st.DataObject, peer: int) -> None:
        self.bus.heard[peer] = data.draw(st.integers(self.bus.heard[peer], self.bus.said[peer]))
        self.promises.look()

    @rule()
    def ask(self) -> None:
        self.asked.append(self.promises.ask())
        self.unanswered.add(self.asked[-1])

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        if self.unanswered:
            number = data.draw(st.sampled_from(sorted(self.unanswered)))
            self.unanswered.discard(number)
            self.promises.answered(number)

    @rule()
    def promise(self) -> None:
        number = len(self.made)
        self.made.append((self.store.position, self.bus.said[0], self.bus.said[2], len(self.asked)))
        self.promises.when_safe(lambda: self.kept.append(number))

    @invariant()
    def kept_in_order_and_exactly_when_safe(self) -> None:
        assert self.kept == list(range(len(self.kept)))
        answered = min((self.asked.index(each) for each in self.unanswered), default=len(self.asked))
        now = (self.store.committed, self.bus.heard[0], self.bus.heard[2], answered)
        safe = [all(has >= needs for has, needs in zip(now, each, strict=True)) for each in self.made]
        assert all(safe[: len(self.kept)])
        assert len(self.kept) == len(self.made) or not safe[len(self.kept)]
        assert len(self.promises) == len(self.made) - len(self.kept)


TestKept = Kept.TestCase

"""Our own feed goes on behind our furthest entry, here or not: whatever the disk loses, nobody forks himself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from megaphone.errors import HistoryError
from megaphone.history.answers import Missing, Refusal
from megaphone.history.memory import MemoryStore
from megaphone.storage.history_file import HistoryFile
from tests.unit.history.nodes import Node, assert_same, connected
from tests.unit.history.origins import NOW_MS, ROOM, texts

Store = MemoryStore | HistoryFile
STORES = ["memory", "SQLite"]


@contextmanager
def stores(kind: str) -> Iterator[tuple[Store, Store]]:
    """Two empty stores; nothing that was put into them has been refused at the end."""
    if kind == "memory":
        yield MemoryStore(), MemoryStore()
        return
    # in memory, where there is one: what a disk that stalls does is not asked here
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as directory:
        one, other = (HistoryFile(str(Path(directory) / f"{name}.sqlite3")) for name in ("one", "other"))
        try:
            yield one, other
            assert one._writer.dropped == other._writer.dropped == 0
        finally:
            assert one.close() == other.close() == 0


@pytest.fixture(params=STORES)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Node, Node]]:
    """Two nodes that both have what Anna has said: a, b, c."""
    with stores(request.param) as (one, other):
        anna, bert = Node("anna", one), Node("bert", other)
        for text in "abc":
            anna.say(text)
        sync(anna, bert)
        yield anna, bert


def lose(node: Node, first: int, last: int) -> None:
    """Lose entries of a node's own from its disk, which shows when it starts."""
    assert isinstance(node.store, Store)
    node.store.drop(ROOM.id, node.origin, first, last)
    node.restart()


def sync(one: Node, other: Node, now_ms: int = NOW_MS) -> None:
    for link in one.links:
        link.cut()
    link = connected(one, other, now_ms)
    link.run(now_ms)
    for passed_ms in range(1000, 120_000, 1000):
        if all(each.is_settled(ROOM.id) for each in link.conversations.values()):
            break
        link.tick(now_ms + passed_ms)
        link.run(now_ms + passed_ms)
    link.cut()


def assert_not_excluded(*nodes: Node) -> None:
    for node in nodes:
        assert node.log.exclusions == {}
        assert node.refusals == []


@pytest.mark.parametrize(("first", "last"), [(3, 3), (2, 3), (1, 3)])
def test_what_is_said_before_what_is_lost_comes_back(pair: tuple[Node, Node], first: int, last: int) -> None:
    anna, bert = pair
    lose(anna, first, last)
    (batch,) = anna.say("d")
    assert batch.seq == 4
    assert anna.log.missing() == [Missing(anna.origin, first, last)]
    sync(anna, bert)
    assert_not_excluded(anna, bert)
    assert texts(anna.log) == texts(bert.log) == ["a", "b", "c", "d"]
    assert_same(anna, bert)


def test_what_is_lost_comes_back_before_anything_is_said(pair: tuple[Node, Node]) -> None:
    anna, bert = pair
    lose(anna, 2, 3)
    sync(anna, bert)
    (batch,) = anna.say("d")
    assert batch.seq == 4
    sync(anna, bert)
    assert_not_excluded(anna, bert)
    assert texts(anna.log) == texts(bert.log) == ["a", "b", "c", "d"]


def test_what_is_lost_while_a_node_runs(pair: tuple[Node, Node]) -> None:
    """Its log is told to look again, as after a damage that shows when something is read."""
    anna, bert = pair
    assert isinstance(anna.store, Store)
    anna.store.drop(ROOM.id, anna.origin, 2, 3)
    anna.log.reload()
    anna.say("d")
    sync(anna, bert)
    assert_not_excluded(anna, bert)
    assert texts(anna.log) == texts(bert.log) == ["a", "b", "c", "d"]


def test_a_clock_goes_on_behind_what_is_lost(pair: tuple[Node, Node]) -> None:
    """The time of day has gone back since: a clock that falls within a feed would be a fork."""
    anna, bert = pair
    anna.say("fast", now_ms=NOW_MS + 50_000)
    sync(anna, bert)
    lose(anna, 1, 4)
    (batch,) = anna.say("e")
    (fast,) = bert.log.page(1)
    assert batch.entries[0].clock > fast.entry.clock
    sync(anna, bert)
    assert_not_excluded(anna, bert)
    assert texts(anna.log) == texts(bert.log) == ["a", "b", "c", "fast", "e"]


def test_the_place_of_what_nobody_has_stays_empty(pair: tuple[Node, Node]) -> None:
    """Whether somebody has heard it is nothing that we can know."""
    anna, bert = pair
    anna.say("heard by nobody")
    lose(anna, 4, 4)
    (batch,) = anna.say("e")
    assert batch.seq == 5
    sync(anna, bert)
    assert_not_excluded(anna, bert)
    assert texts(anna.log) == texts(bert.log) == ["a", "b", "c", "e"]
    assert anna.log.missing() == bert.log.missing() == [Missing(anna.origin, 4, 4)]


def test_an_excluded_node_says_nothing(pair: tuple[Node, Node]) -> None:
    """Also when none of its own entries is left."""
    anna, _ = pair
    twin = Node("anna", rooms=[ROOM])
    (batch,) = twin.say("x")
    assert anna.replica.accept(batch, NOW_MS).refusal is Refusal.FORK
    lose(anna, 1, 3)
    with pytest.raises(HistoryError, match="needs a new key"):
        anna.say("d")


def test_a_store_that_knows_nothing_forks_unless_it_hears_first(pair: tuple[Node, Node]) -> None:
    """What `Replica` warns of: the key is there, and the store is a new one."""
    anna, bert = pair
    with stores("SQLite") as (early, late):
        hasty, patient = Node("anna", early), Node("anna", late)
        sync(patient, bert)
        (batch,) = patient.say("d")
        assert batch.seq == 4
        sync(patient, bert)
        assert_not_excluded(patient, bert)
        assert texts(patient.log) == texts(bert.log) == ["a", "b", "c", "d"]
        hasty.say("x")
        sync(hasty, bert)
        assert bert.log.exclusions[anna.origin][0] == 1


Step = tuple[str, int]
WHAT = ["say", "say", "lose", "sync", "sync", "clock"]
STEPS = st.lists(st.tuples(st.sampled_from(WHAT), st.integers(0, 40)), min_size=6, max_size=25)


@pytest.mark.parametrize("kind", STORES)
@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
@example(steps=[("say", 2), ("sync", 0), ("lose", 1), ("say", 0)])
@example(steps=[("clock", 40), ("say", 2), ("sync", 0), ("lose", 5), ("clock", 0), ("say", 0)])
def test_nobody_forks_himself(kind: str, steps: list[Step]) -> None:
    """Entries are said, synced and lost at the end of one's own feed, and the time of day jumps a little.

    What both had comes back; what only one had is lost, and nothing is said a second time at its place.
    """
    with stores(kind) as (one, other):
        anna, bert = Node("anna", one), Node("bert", other)
        said, both, now_ms = 0, set[int](), NOW_MS
        here: set[int] = set()
        for what, how in [*steps, ("sync", 0)]:
            if what == "say":
                for batch in anna.say(*["x"] * (1 + how % 4), now_ms=now_ms):
                    assert batch.seq == said + 1
                    said = batch.last
                    here |= set(range(batch.seq, batch.last + 1))
            elif what == "lose":
                # a seal vouches for all before it: where it is lost, what nobody else has heard is as good as lost
                first = max(1, min(said - how % 6, *(here - both), said))
                lose(anna, first, max(1, said))
                here -= set(range(first, said + 1))
            elif what == "clock":
                now_ms = NOW_MS + how * 1000
            else:
                sync(anna, bert, now_ms)
                both |= here
                here = set(both)
        assert_not_excluded(anna, bert)
        assert_same(anna, bert)
        assert {placed.seq for placed in anna.log.page(1000)} == both

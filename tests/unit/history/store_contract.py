"""What every EntryStore must do: a test class inherits from `StoreContract` and says how a store is made.

class TestMemoryStore(StoreContract):
    def make(self, directory: Path) -> EntryStore:
        return MemoryStore()
"""

import random
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import pytest

from megaphone.errors import HistoryError
from megaphone.history.batch import Batch
from megaphone.history.clock import Clock, day
from megaphone.history.content import Content
from megaphone.history.entry import FIRST, Entry, EntryID, Kind, Origin, entry, entry_id
from megaphone.history.manifest import Manifest, RoomID
from megaphone.history.ports import EntryStore, Placed, Span, Tip

DAY_MS = 86_400_000
ROOM = Manifest("muc", "hall@rooms.example")
OTHER = Manifest("lan", "kitchen")
ANNA, BERT = Origin(b"a" * 32), Origin(b"b" * 32)


class Written(NamedTuple):
    """A batch and the ids of its entries, as they are put."""

    batch: Batch
    ids: tuple[EntryID, ...]

    @property
    def placed(self) -> list[Placed]:
        before = (self.batch.previous, *self.ids)
        return [
            Placed(self.batch.origin, seq, id_, previous, each)
            for seq, (id_, previous, each) in enumerate(
                zip(self.ids, before[:-1], self.batch.entries, strict=True), self.batch.seq
            )
        ]


class Author:
    """One origin writing on: batches whose chain is right and whose seals are only bytes (a store checks none)."""

    def __init__(self, origin: Origin, room: RoomID = ROOM.id) -> None:
        self.origin, self.room = origin, room
        self.seq, self.previous = 0, FIRST

    def write(self, *times: int, sealed: bool = True) -> Written:
        """Write one entry for each of these times (milliseconds since 1970)."""
        contents = [Content(f"author {at}", f"line {now_ms}".encode()) for at, now_ms in enumerate(times)]
        return self.say(Kind.MESSAGE, list(zip(times, contents, strict=True)), sealed=sealed)

    def erase(self, kind: Kind, now_ms: int, target: EntryID) -> Written:
        """Write a tombstone."""
        return self.say(kind, [(now_ms, Content("author 0", b"", target))])

    def say(self, kind: Kind, said: Sequence[tuple[int, Content]], *, sealed: bool = True) -> Written:
        """Write entries of a kind, each at its time."""
        first, before, ids, entries = self.seq + 1, self.previous, [], []
        for now_ms, content in said:
            self.seq += 1
            each = entry(Clock(now_ms << 16), kind, content.encode())
            self.previous = entry_id(self.room, self.origin, self.seq, self.previous, each)
            ids.append(self.previous)
            entries.append(each)
        seal = (sha256(self.previous).digest() * 2) if sealed else b""
        return Written(Batch(self.room, self.origin, first, before, tuple(entries), seal), tuple(ids))


@runtime_checkable
class Dropping(Protocol):
    """A store that forgets entries: what retention and damage do."""

    def drop(self, room: RoomID, origin: Origin, first: int, last: int) -> int: ...


def put(store: EntryStore, *written: Written) -> None:
    for each in written:
        store.put(each.batch, each.ids)


def tip_of(written: Written) -> Tip:
    """The last of these entries, as a store remembers it."""
    last = written.placed[-1]
    return Tip(last.seq, last.id, last.entry.clock)


def bare(written: Written) -> Written:
    """The same batch without the contents."""
    entries = tuple(each._replace(content=None) for each in written.batch.entries)
    return Written(written.batch._replace(entries=entries), written.ids)


def digests_of(placed: Sequence[Placed]) -> dict[int, tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    for each in placed:
        count, total = found.get(day(each.entry.clock), (0, 0))
        found[day(each.entry.clock)] = (count + 1, (total + int.from_bytes(each.id[:16])) % 2**128)
    return found


def place(placed: Placed) -> tuple[Clock, Origin, int]:
    return (placed.entry.clock, placed.origin, placed.seq)


class StoreContract:
    """The contract. Reads see all writes at once; nothing here waits for a write to be durable."""

    def make(self, directory: Path) -> EntryStore:
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path: Path) -> EntryStore:
        store = self.make(tmp_path)
        store.put_room(ROOM)
        return store

    def test_rooms_are_kept_once(self, store: EntryStore) -> None:
        store.put_room(OTHER)
        store.put_room(ROOM)
        assert sorted(store.rooms()) == sorted([ROOM, OTHER])

    def test_of_an_unknown_room_there_is_nothing_and_nothing_can_be_put(self, store: EntryStore) -> None:
        written = Author(ANNA, OTHER.id).write(1)
        with pytest.raises(HistoryError) as caught:
            put(store, written)
        assert caught.value.reason == "unknown-room"
        assert store.spans(OTHER.id) == store.digests(OTHER.id) == store.exclusions(OTHER.id) == {}
        assert store.newest(OTHER.id, 10) == store.feed(OTHER.id, ANNA, 1, 9) == list(store.ids(OTHER.id)) == []
        assert store.find(OTHER.id, written.ids[0]) is None
        assert store.seal(OTHER.id, ANNA, 1) is None

    def test_an_empty_room_is_empty(self, store: EntryStore) -> None:
        assert store.spans(ROOM.id) == store.digests(ROOM.id) == store.exclusions(ROOM.id) == {}
        assert store.newest(ROOM.id, 10) == store.feed(ROOM.id, ANNA, 1, 9) == list(store.ids(ROOM.id)) == []
        assert store.seal(ROOM.id, ANNA, 1) is None

    def test_a_batch_is_given_out_as_it_was_put(self, store: EntryStore) -> None:
        written = Author(ANNA).write(1, 2, 3)
        put(store, written)
        assert store.feed(ROOM.id, ANNA, 1, 3) == written.placed
        assert store.feed(ROOM.id, ANNA, 2, 2) == written.placed[1:2]
        assert store.feed(ROOM.id, ANNA, 3, 2**63 - 1) == written.placed[2:]
        assert store.feed(ROOM.id, BERT, 1, 3) == []
        assert [store.find(ROOM.id, id_) for id_ in written.ids] == written.placed
        assert store.find(ROOM.id, EntryID(bytes(32))) is None
        assert sorted(store.ids(ROOM.id)) == sorted(written.ids)
        assert store.spans(ROOM.id) == {ANNA: [Span(1, 3, FIRST, written.ids[-1])]}

    def test_entries_that_mention_something(self, store: EntryStore) -> None:
        written = Author(ANNA).write(1, 2, 3)
        put(store, written)
        for placed in written.placed:
            content = placed.entry.content
            assert content is not None
            assert placed.seq in store.mentions(ROOM.id, ANNA, 1, 3, content[1:])
            assert store.mentions(ROOM.id, ANNA, placed.seq + 1, 9, content) == []
        assert store.mentions(ROOM.id, ANNA, 1, 3, b"nobody says this") == []
        store.erase(ROOM.id, written.placed[1].id)
        assert store.mentions(ROOM.id, ANNA, 1, 3, b"nobody says this") == [2]

    def test_rooms_do_not_mix(self, store: EntryStore) -> None:
        store.put_room(OTHER)
        here, there = Author(ANNA).write(1, 2), Author(ANNA, OTHER.id).write(3)
        put(store, here, there)
        assert store.newest(ROOM.id, 10) == here.placed
        assert store.newest(OTHER.id, 10) == there.placed
        assert store.find(OTHER.id, here.ids[0]) is None

    def test_positions_of_writes_rise(self, store: EntryStore) -> None:
        author = Author(ANNA)
        positions = []
        for each in (author.write(1), author.write(2)):
            positions.append(store.put(each.batch, each.ids))
        positions.append(store.erase(ROOM.id, each.ids[0]))
        positions.append(store.exclude(ROOM.id, ANNA, 2, b"proof"))
        assert positions == sorted(set(positions))

    def test_the_first_seal_at_or_after_a_seq(self, store: EntryStore) -> None:
        author = Author(ANNA)
        two, three, five = author.write(1, 2), author.write(3, sealed=False), author.write(4, 5)
        put(store, two, three, five)
        assert store.seal(ROOM.id, ANNA, 1) == store.seal(ROOM.id, ANNA, 2) == (2, two.batch.seal)
        assert store.seal(ROOM.id, ANNA, 3) == store.seal(ROOM.id, ANNA, 5) == (5, five.batch.seal)
        assert store.seal(ROOM.id, ANNA, 6) is None
        assert store.seal(ROOM.id, BERT, 1) is None

    @pytest.mark.parametrize("seed", range(10))
    def test_spans_in_any_order_of_arrival(self, store: EntryStore, seed: int) -> None:
        author, choice = Author(ANNA), random.Random(seed)
        all_written = [author.write(*range(at * 10, at * 10 + choice.randint(1, 4))) for at in range(1, 13)]
        arriving = all_written[:]
        choice.shuffle(arriving)
        here: dict[int, Placed] = {}
        for written in arriving:
            put(store, written)
            here |= {each.seq: each for each in written.placed}
            spans: list[Span] = []
            for seq in sorted(here):
                if spans and spans[-1].last == seq - 1:
                    spans[-1] = spans[-1]._replace(last=seq, head=here[seq].id)
                else:
                    spans.append(Span(seq, seq, here[seq].previous, here[seq].id))
            assert store.spans(ROOM.id) == {ANNA: spans}
            assert store.feed(ROOM.id, ANNA, 1, 10**6) == [here[seq] for seq in sorted(here)]
        assert store.spans(ROOM.id) == {ANNA: [Span(1, author.seq, FIRST, author.previous)]}

    def test_the_order_of_the_log_is_clock_origin_seq(self, store: EntryStore) -> None:
        anna, bert = Author(ANNA), Author(BERT)
        written = [bert.write(1, 5), anna.write(1, 3), bert.write(9), anna.write(4, 9)]
        put(store, *reversed(written))
        log = sorted((each for one in written for each in one.placed), key=place)
        assert store.newest(ROOM.id, 100) == log
        assert store.newest(ROOM.id, 3) == log[-3:]
        assert store.newest(ROOM.id, 0) == []
        for at, each in enumerate(log):
            assert store.newest(ROOM.id, 2, place(each)) == log[max(0, at - 2) : at]
        assert store.newest(ROOM.id, 2, (Clock(log[-1].entry.clock + 1), ANNA, 1)) == log[-2:]

    def test_digests_and_ids_by_day(self, store: EntryStore) -> None:
        anna, bert = Author(ANNA), Author(BERT)
        written = [anna.write(1, 2, DAY_MS - 1), anna.write(DAY_MS), bert.write(5 * DAY_MS, 5 * DAY_MS + 1)]
        put(store, *written)
        placed = [each for one in written for each in one.placed]
        assert store.digests(ROOM.id) == digests_of(placed)
        assert sorted(store.digests(ROOM.id)) == [0, 1, 5]
        for at in (0, 1, 2, 5):
            assert sorted(store.ids(ROOM.id, at)) == sorted(each.id for each in placed if day(each.entry.clock) == at)

    def test_the_tip_is_the_furthest_entry_that_was_ever_put(self, store: EntryStore) -> None:
        anna = Author(ANNA)
        first, second, third = anna.write(1, 2), anna.write(3), anna.write(4, 5)
        assert store.tip(ROOM.id, ANNA) is store.tip(OTHER.id, ANNA) is None
        tips = []
        for each in (first, third, second):
            put(store, each)
            tips.append(store.tip(ROOM.id, ANNA))
        assert tips == [tip_of(first), tip_of(third), tip_of(third)]
        assert store.tip(ROOM.id, BERT) is store.tip(OTHER.id, ANNA) is None
        store.erase(ROOM.id, third.ids[-1])
        assert store.tip(ROOM.id, ANNA) == tip_of(third)

    def test_the_tip_stays_when_its_entry_goes(self, store: EntryStore) -> None:
        anna, bert = Author(ANNA), Author(BERT)
        early, late, others = anna.write(1, 2), anna.write(3, 4), bert.write(5)
        put(store, early, late, others)
        store.exclude(ROOM.id, ANNA, 2, b"proof")
        assert store.tip(ROOM.id, ANNA) == tip_of(late)
        store.exclude(ROOM.id, ANNA, 1, b"proof")
        assert ANNA not in store.spans(ROOM.id)
        assert store.tip(ROOM.id, ANNA) == tip_of(late)
        assert store.tip(ROOM.id, BERT) == tip_of(others)

    def test_a_feed_that_was_dropped_comes_back_from_its_beginning(self, store: EntryStore) -> None:
        assert isinstance(store, Dropping)
        anna = Author(ANNA)
        early, late = anna.write(1, 2), anna.write(3, 4)
        put(store, early, late)
        store.drop(ROOM.id, ANNA, 3, 4)
        assert store.tip(ROOM.id, ANNA) == tip_of(late)
        store.drop(ROOM.id, ANNA, 1, 4)
        assert store.spans(ROOM.id) == {}
        assert store.tip(ROOM.id, ANNA) == tip_of(late)
        put(store, early)
        assert store.tip(ROOM.id, ANNA) == tip_of(late)  # what comes late does not take it back
        assert store.spans(ROOM.id) == {ANNA: [Span(1, 2, FIRST, early.ids[-1])]}
        put(store, late)
        assert store.newest(ROOM.id, 9) == [*early.placed, *late.placed]

    def test_an_erased_entry_keeps_its_place(self, store: EntryStore) -> None:
        written = Author(ANNA).write(1, 2, 3)
        put(store, written)
        spans, digests = store.spans(ROOM.id), store.digests(ROOM.id)
        store.erase(ROOM.id, written.ids[1])
        gone = bare(written).placed[1]
        assert store.find(ROOM.id, written.ids[1]) == gone
        assert store.feed(ROOM.id, ANNA, 1, 3) == [written.placed[0], gone, written.placed[2]]
        assert store.newest(ROOM.id, 2) == [gone, written.placed[2]]
        assert (store.spans(ROOM.id), store.digests(ROOM.id)) == (spans, digests)
        store.erase(ROOM.id, EntryID(bytes(32)))
        assert (store.spans(ROOM.id), store.digests(ROOM.id)) == (spans, digests)

    def test_a_bare_entry_gets_its_content_back(self, store: EntryStore) -> None:
        written = Author(ANNA).write(1, 2)
        put(store, bare(written))
        assert store.newest(ROOM.id, 9) == bare(written).placed
        store.restore(ROOM.id, written.ids[1], written.batch.entries[1].content or b"")
        assert store.newest(ROOM.id, 9) == [bare(written).placed[0], written.placed[1]]
        assert store.find(ROOM.id, written.ids[1]) == written.placed[1]
        assert store.digests(ROOM.id) == digests_of(written.placed)

    def test_tombstones_by_their_target(self, store: EntryStore) -> None:
        anna, bert = Author(ANNA), Author(BERT)
        target, elsewhere = anna.write(1, 2), EntryID(b"e" * 32)
        mine = anna.erase(Kind.RETRACTION, 3, target.ids[0])
        theirs = bert.erase(Kind.MODERATION, 4, target.ids[0])
        waiting = bert.erase(Kind.MODERATION, 5, elsewhere)
        put(store, target, mine, theirs, waiting)
        assert sorted(store.tombstones(ROOM.id, target.ids[0])) == sorted([*mine.placed, *theirs.placed])
        assert store.tombstones(ROOM.id, target.ids[1]) == []
        assert store.tombstones(ROOM.id, elsewhere) == store.tombstones(ROOM.id) == waiting.placed
        assert store.tombstones(OTHER.id) == []

    def test_the_target_of_a_tombstone_may_come_later(self, store: EntryStore) -> None:
        target = Author(ANNA).write(1)
        early = Author(BERT).erase(Kind.MODERATION, 2, target.ids[0])
        put(store, early)
        assert store.tombstones(ROOM.id) == early.placed
        put(store, target)
        assert store.tombstones(ROOM.id) == []
        assert store.tombstones(ROOM.id, target.ids[0]) == early.placed

    def test_only_tombstones_with_their_content_are_given_out(self, store: EntryStore) -> None:
        target = EntryID(b"t" * 32)
        tombstone = Author(ANNA).erase(Kind.RETRACTION, 1, target)
        put(store, bare(tombstone))
        assert store.tombstones(ROOM.id) == store.tombstones(ROOM.id, target) == []
        store.restore(ROOM.id, tombstone.ids[0], tombstone.batch.entries[0].content or b"")
        assert store.tombstones(ROOM.id) == store.tombstones(ROOM.id, target) == tombstone.placed
        store.erase(ROOM.id, tombstone.ids[0])
        assert store.tombstones(ROOM.id, target) == []

    def test_an_excluded_tombstone_is_gone(self, store: EntryStore) -> None:
        target = EntryID(b"t" * 32)
        put(store, Author(ANNA).erase(Kind.RETRACTION, 1, target))
        store.exclude(ROOM.id, ANNA, 1, b"proof")
        assert store.tombstones(ROOM.id) == store.tombstones(ROOM.id, target) == []

    def test_an_excluded_origin_leaves_from_a_seq_on(self, store: EntryStore) -> None:
        anna, bert = Author(ANNA), Author(BERT)
        early, late, others = anna.write(1, 2), anna.write(3, DAY_MS), bert.write(2, DAY_MS + 1)
        put(store, early, late, others)
        store.exclude(ROOM.id, ANNA, 3, b"proof")
        left = sorted([*early.placed, *others.placed], key=place)
        assert store.newest(ROOM.id, 100) == left
        assert store.digests(ROOM.id) == digests_of(left)
        assert sorted(store.ids(ROOM.id)) == sorted(each.id for each in left)
        assert store.find(ROOM.id, late.ids[0]) is None
        assert store.spans(ROOM.id)[ANNA] == [Span(1, 2, FIRST, early.ids[-1])]
        assert store.seal(ROOM.id, ANNA, 1) == (2, early.batch.seal)
        assert store.seal(ROOM.id, ANNA, 3) is None
        assert store.exclusions(ROOM.id) == {ANNA: (3, b"proof")}

    def test_a_later_exclusion_takes_the_place_of_the_one_before(self, store: EntryStore) -> None:
        put(store, Author(ANNA).write(1, 2, 3, 4))
        store.exclude(ROOM.id, ANNA, 3, b"three")
        store.exclude(ROOM.id, ANNA, 1, b"one")
        assert store.exclusions(ROOM.id) == {ANNA: (1, b"one")}
        assert store.newest(ROOM.id, 9) == []
        assert store.digests(ROOM.id) == store.spans(ROOM.id) == {}

    def test_an_origin_of_which_nothing_is_here_can_be_excluded(self, store: EntryStore) -> None:
        store.exclude(ROOM.id, BERT, 7, b"proof")
        assert store.exclusions(ROOM.id) == {BERT: (7, b"proof")}
        assert store.spans(ROOM.id) == {}

    def test_entries_of_every_size_and_kind(self, store: EntryStore) -> None:
        author = Author(ANNA)
        author.seq, author.previous = 2**40, EntryID(b"p" * 32)
        contents = [Content("", b"").encode(), Content("name", b"\0\xff" * 100_000, b"t" * 32).encode()]
        entries = tuple(
            Entry(Clock(2**62 + at), kind, content, sha256(content).digest())
            for at, (kind, content) in enumerate(zip((4, 255), contents, strict=True))
        )
        ids = []
        previous = author.previous
        for at, each in enumerate(entries):
            previous = entry_id(ROOM.id, ANNA, 2**40 + at, previous, each)
            ids.append(previous)
        written = Written(Batch(ROOM.id, ANNA, 2**40, author.previous, entries, b"s" * 64), tuple(ids))
        put(store, written)
        assert store.newest(ROOM.id, 9) == written.placed
        assert store.spans(ROOM.id) == {ANNA: [Span(2**40, 2**40 + 1, author.previous, ids[-1])]}

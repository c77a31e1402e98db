"""Our own feed: ids stand at once, one seal for each flush, and never two things at one seq."""

import pytest

from megaphone.errors import HistoryError
from megaphone.history.batch import MAX_BYTES, MAX_ENTRIES, MAX_ENTRY_BYTES, Batch, encode, ids
from megaphone.history.clock import Clock
from megaphone.history.content import Content
from megaphone.history.entry import FIRST, EntryID, Kind
from megaphone.history.feed import MAX_PENDING, Feed
from megaphone.history.log import Log
from megaphone.history.memory import MemoryStore
from tests.unit.history.origins import NOW_MS, ROOM, Key, key, log, signed, state, texts

ANNA = key("anna")


def say(here: Log, text: str, at: int) -> EntryID:
    return here.append(Kind.MESSAGE, Content("anna@example", text.encode()), Clock((NOW_MS << 16) + at)).id


def reason(here: Log, kind: int, content: Content, clock: int) -> str:
    with pytest.raises(HistoryError) as caught:
        here.append(kind, content, Clock(clock))
    return caught.value.reason


class Counting(Key):
    """A signer that counts."""

    signatures = 0

    def sign(self, data: bytes) -> bytes:
        self.signatures += 1
        return super().sign(data)


def test_what_is_flushed_is_sealed_stored_and_taken_by_others() -> None:
    here, there, signer = log(own="anna"), log(), Counting("anna")
    assert here.flush(signer) is None
    said = [say(here, f"line {number}", number) for number in range(10)]
    assert texts(here) == []
    batch = here.flush(signer)
    assert batch is not None
    assert ids(batch) == said
    assert here.flush(signer) is None
    assert signer.signatures == 1
    accepted = there.accept(batch, NOW_MS)
    assert accepted.refusal is None
    assert [each.id for each in accepted.new] == said
    assert state(here) == state(there)
    assert texts(there) == [f"line {number}" for number in range(10)]
    assert here.written > 0


def test_a_flush_has_1024_entries_and_the_next_one_goes_on() -> None:
    here, there = log(own="anna"), log()
    for number in range(2 * MAX_ENTRIES + 1):
        say(here, "x", number)
    lengths = []
    while (batch := here.flush(ANNA)) is not None:
        lengths.append(len(batch.entries))
        assert there.accept(batch, NOW_MS).refusal is None
    assert lengths == [MAX_ENTRIES, MAX_ENTRIES, 1]
    assert there.heads() == {ANNA.origin: 2 * MAX_ENTRIES + 1}
    assert there.missing() == []


def test_a_flush_is_cut_at_a_mebibyte() -> None:
    here, there = log(own="anna"), log()
    for number in range(9):
        say(here, "x" * (MAX_ENTRY_BYTES - 100), number)
    batches: list[Batch] = []
    while (batch := here.flush(ANNA)) is not None:
        batches.append(batch)
        assert len(encode(batch)) <= MAX_BYTES + 170
        assert there.accept(batch, NOW_MS).refusal is None
    assert [len(batch.entries) for batch in batches] == [4, 4, 1]  # 1 MiB less some bytes holds just four


def test_what_cannot_be_appended() -> None:
    here = log(own="anna")
    say(here, "x", 5)
    clock = NOW_MS << 16
    assert reason(here, 1, Content("a", b"x"), clock + 5) == "clock-order"
    assert reason(here, 1, Content("a", bytes(MAX_ENTRY_BYTES)), clock + 6) == "too-large"
    assert reason(here, 1, Content("a", b"x", b"t" * 32), clock + 6) == "malformed"
    assert reason(here, Kind.RETRACTION, Content("a", b"x"), clock + 6) == "malformed"
    forged = signed("romeo's own", "romeo@example", b"x", room=ROOM._replace(name="another@rooms"))
    assert reason(here, 1, forged, clock + 6) == "forged-author"
    here.append(1, signed("romeo's own", "romeo@example", b"x"), Clock(clock + 6))
    with pytest.raises(ValueError, match="key"):
        log().append(1, Content("a", b"x"), Clock(1))
    with pytest.raises(ValueError, match="key"):
        here.flush(key("bert"))
    assert here.flush(ANNA) is not None


def test_waiting_entries_are_bounded() -> None:
    feed = Feed(ROOM.id, ANNA.origin, 0, FIRST, Clock(-1))
    for number in range(MAX_PENDING):
        feed.append(1, b"x", Clock(number))
    with pytest.raises(HistoryError) as caught:
        feed.append(1, b"x", Clock(MAX_PENDING))
    assert caught.value.reason == "too-large"
    assert feed.seq == feed.pending == MAX_PENDING


def test_a_store_that_takes_nothing_loses_nothing() -> None:
    class Full(MemoryStore):
        is_full = True

        def put(self, batch: Batch, ids: object) -> int:
            if self.is_full:
                raise OSError("no space")
            return super().put(batch, ids)  # type: ignore[arg-type]

    store = Full()
    here = log(store, own="anna")
    first = say(here, "one", 1)
    with pytest.raises(OSError, match="space"):
        here.flush(ANNA)
    second = say(here, "two", 2)
    assert here.heads() == {}
    store.is_full = False
    batch = here.flush(ANNA)
    assert batch is not None
    assert ids(batch) == [first, second]
    assert texts(here) == ["one", "two"]


def test_after_a_restart_the_feed_goes_on() -> None:
    store = MemoryStore()
    there = log()
    for number in range(4):
        here = log(store, own="anna")
        say(here, f"line {number}", number)
        batch = here.flush(ANNA)
        assert batch is not None
        assert batch.seq == number + 1
        assert there.accept(batch, NOW_MS).refusal is None
    assert reason(log(store, own="anna"), 1, Content("a", b"x"), (NOW_MS << 16) + 3) == "clock-order"
    assert state(log(store)) == state(there)


def test_a_node_that_has_forgotten_learns_from_others_what_it_has_said() -> None:
    """A backup was put back: what was said after it comes from others, before or while something new waits."""
    before, there = log(own="anna"), log()
    say(before, "one", 1)
    say(before, "two", 2)
    batch = before.flush(ANNA)
    assert batch is not None
    there.accept(batch, NOW_MS)
    now = log(own="anna")
    moved = say(now, "three", 1)
    assert now.accept(batch, NOW_MS).refusal is None
    last = now.flush(ANNA)
    assert last is not None
    assert (last.seq, last.previous) == (3, ids(batch)[-1])
    assert ids(last) != [moved]
    assert there.accept(last, NOW_MS).refusal is None
    assert texts(there) == texts(now) == ["one", "two", "three"]

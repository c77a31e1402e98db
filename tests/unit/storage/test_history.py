"""Replicated histories on SQLite: the contract of an EntryStore, in a node's database and in a file of its own."""

import os
import stat
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from megaphone.errors import HistoryError, StorageFullError
from megaphone.history.entry import FIRST
from megaphone.history.ports import EntryStore, Span
from megaphone.storage.database import connect, prepare
from megaphone.storage.history import ENTRY_COST_BYTES, SQLiteHistory
from megaphone.storage.history_feeds import SEAL_ENTRIES
from megaphone.storage.history_file import HistoryFile
from megaphone.storage.node_key import verify
from megaphone.storage.storage import Storage
from tests.unit.history.store_contract import StoreContract
from tests.unit.storage.histories import DAY_MS, OTHER, ROOM, START_MS, Writing, placed_of, write_file

ANNA, BERT = Writing("anna").origin, Writing("bert").origin


class _Closing(StoreContract):
    """Closes what it makes; everything must have been written, and nothing refused."""

    @pytest.fixture(autouse=True)
    def closing(self) -> Iterator[None]:
        self.opened: list[Callable[[], int]] = []
        yield
        assert [close() for close in self.opened] == [0] * len(self.opened)


class TestHistoryFile(_Closing):
    def make(self, directory: Path) -> EntryStore:
        store = HistoryFile(str(directory / "anna.sqlite3"))
        self.opened.append(store.close)
        self.opened.append(lambda: store._writer.dropped)
        return store


class TestSQLiteHistory(_Closing):
    def make(self, directory: Path) -> EntryStore:
        prepare(str(directory))
        storage = Storage(str(directory))
        history = SQLiteHistory(storage)
        self.opened += [storage.close, lambda: storage.writer.dropped, lambda: history.close_reader() or 0]
        return history


class TestReopened(_Closing):
    """Every read is by another process, as it were, that knows nothing but the file."""

    def make(self, directory: Path) -> EntryStore:
        store = _Reopening(str(directory / "anna.sqlite3"))
        self.opened += [store.close, lambda: store._writer.dropped]
        return store


class _Reopening(HistoryFile):
    """Forgets all it has in memory before each read."""

    def _room(self, room: bytes) -> object:  # type: ignore[override]
        self._writer.settle_all()
        self._rooms.clear()
        return super()._room(room)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[HistoryFile]:
    opened = HistoryFile(str(tmp_path / "anna.sqlite3"), verifier=verify)
    opened.put_room(ROOM)
    yield opened
    assert opened.close() == 0
    assert opened._writer.dropped == 0


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    written = write_file(tmp_path / "anna.sqlite3")
    store = HistoryFile(str(written.path), verifier=verify)
    assert (store.found, store.put_aside) == ([], "")
    assert sorted(store.rooms()) == sorted([ROOM, OTHER])
    for room in (ROOM, OTHER):
        put = {each for (id_, *_), each in written.entries.items() if id_ == room.id}
        assert len(store.newest(room.id, 1000)) == len(put)
    assert written.wrong(store) == []
    last = [each for each in store.newest(ROOM.id, 1000) if each.origin == ANNA][-1]
    assert store.tip(ROOM.id, ANNA) == (last.seq, last.id, last.entry.clock)
    assert store.close() == 0


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    write_file(tmp_path / "deep" / "anna.sqlite3", batches=3)
    assert stat.S_IMODE((tmp_path / "deep" / "anna.sqlite3").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "deep").stat().st_mode) == 0o700


def test_a_batch_that_comes_again_changes_nothing(store: HistoryFile) -> None:
    batch, ids = Writing("anna").batch(5)
    store.put(batch, ids)
    before = store.digests(ROOM.id)
    position = store.put(batch, ids)
    assert position == store._writer.position
    assert store.digests(ROOM.id) == before
    assert store.feed(ROOM.id, ANNA, 1, 9) == placed_of(batch, ids)


def test_runs_grow_as_long_as_nobody_else_writes(store: HistoryFile) -> None:
    anna, bert = Writing("anna"), Writing("bert")
    for each in (anna, anna, anna, bert, anna, anna):
        store.put(*each.batch(3))
    assert store.flush()
    runs = store._reader.read("SELECT seq, count, previous IS NULL FROM log_run ORDER BY n")
    assert runs == [(1, 9, 0), (1, 3, 0), (10, 6, 1)]


def test_seals_close_to_each_other_are_not_kept(store: HistoryFile) -> None:
    anna = Writing("anna")
    for _ in range(100):
        store.put(*anna.batch(10))
    assert store.flush()
    kept = [seq for (seq,) in store._reader.read("SELECT seq FROM log_seal ORDER BY seq")]
    assert kept[-1] == 1000
    assert len(kept) <= 2 * 1000 / SEAL_ENTRIES + 2
    assert max(after - before for before, after in pairwise(kept)) <= SEAL_ENTRIES
    for seq in (1, 500, 1000):
        sealed_seq, signature = store.seal(ROOM.id, ANNA, seq) or (0, b"")
        assert seq <= sealed_seq < seq + SEAL_ENTRIES
        (placed,) = store.feed(ROOM.id, ANNA, sealed_seq, sealed_seq)
        assert verify(ANNA, signature, b"megaphone seal 1" + placed.id)


def test_seals_around_a_gap_are_kept(store: HistoryFile) -> None:
    anna = Writing("anna")
    batches = [anna.batch(5) for _ in range(6)]
    for at in (0, 1, 4, 5, 3):
        store.put(*batches[at])
    assert store.flush()
    kept = [seq for (seq,) in store._reader.read("SELECT seq FROM log_seal ORDER BY seq")]
    assert {10, 30} <= set(kept)


def test_numbers_that_no_row_can_hold(store: HistoryFile) -> None:
    batch, ids = Writing("anna").batch(1)
    late = batch._replace(entries=(batch.entries[0]._replace(clock=2**63),))
    for wrong in (batch._replace(seq=2**63), late):
        with pytest.raises(HistoryError, match="malformed"):
            store.put(wrong, ids)
    assert store.spans(ROOM.id) == {}


def test_the_content_of_another_entry_is_not_taken(store: HistoryFile) -> None:
    batch, ids = Writing("anna").batch(2)
    store.put(batch, ids)
    store.erase(ROOM.id, ids[0])
    with pytest.raises(HistoryError, match="malformed"):
        store.restore(ROOM.id, ids[0], batch.entries[1].content or b"")


def test_what_is_refused_leaves_no_trace_in_memory(tmp_path: Path) -> None:
    store = HistoryFile(str(tmp_path / "anna.sqlite3"), rows_limit=3, gather_seconds=600.0)
    store.put_room(ROOM)
    anna, bert = Writing("anna"), Writing("bert")
    store.put(*anna.batch(2))
    store.put(*anna.batch(2))
    spans, digests = store.spans(ROOM.id), store.digests(ROOM.id)
    later = anna.batch(2)
    for each in (later, bert.batch(1)):
        with pytest.raises(StorageFullError, match="too much is waiting"):
            store.put(*each)
    assert (store.spans(ROOM.id), store.digests(ROOM.id)) == (spans, digests)
    assert store.flush()
    store.put(*later)
    assert store.spans(ROOM.id) == {anna.origin: [Span(1, 6, FIRST, later[1][-1])]}
    assert store.close() == 0


# --- retention ------------------------------------------------------------


def test_days_before_another_one_go(store: HistoryFile) -> None:
    anna, bert = Writing("anna"), Writing("bert")
    for _ in range(4):
        store.put(*anna.batch(3, step_ms=DAY_MS // 3))
        store.put(*bert.batch(3, step_ms=DAY_MS // 3))
    days = sorted(store.digests(ROOM.id))
    everything = store.newest(ROOM.id, 100)
    dropped = store.retain(ROOM.id, from_day=days[2])
    kept = [each for each in everything if each.entry.clock >> 16 >= days[2] * DAY_MS]
    assert 0 < len(kept) == 24 - dropped < 24
    assert store.newest(ROOM.id, 100) == kept
    assert sorted(store.digests(ROOM.id)) == days[2:]
    for origin in (ANNA, BERT):
        (span,) = store.spans(ROOM.id)[origin]
        assert span.before == next(each.previous for each in kept if each.origin == origin)
    before = store.digests(ROOM.id), store.spans(ROOM.id)
    assert store.retain(ROOM.id, from_day=days[2]) == 0
    store._writer.settle_all()
    store._rooms.clear()
    assert (store.digests(ROOM.id), store.spans(ROOM.id)) == before
    assert store.check(ROOM.id) == []
    # the feed goes on where it was
    store.put(*anna.batch(1))
    assert store.spans(ROOM.id)[ANNA][-1].last == 13


def test_the_oldest_days_go_until_a_size_is_kept(store: HistoryFile) -> None:
    anna = Writing("anna")
    for _ in range(10):
        store.put(*anna.batch(4, step_ms=DAY_MS // 4, text="x" * 500))
    limit = 15 * (600 + ENTRY_COST_BYTES)
    assert 20 <= store.retain(ROOM.id, max_bytes=limit) <= 30
    kept = store.newest(ROOM.id, 100)
    assert sum(len(each.entry.content or b"") + ENTRY_COST_BYTES for each in kept) <= limit
    assert store.retain(ROOM.id, max_bytes=limit) == 0
    store.retain(ROOM.id, max_bytes=1)
    assert len(store.digests(ROOM.id)) == 1  # the newest day stays
    assert store.check(ROOM.id) == []


def test_a_room_whose_days_are_all_gone_goes_on(store: HistoryFile) -> None:
    anna = Writing("anna")
    batch, ids = anna.batch(3)
    store.put(batch, ids)
    assert store.retain(ROOM.id, from_day=START_MS // DAY_MS + 100) == 3
    assert store.spans(ROOM.id) == store.digests(ROOM.id) == {}
    assert store.tip(ROOM.id, ANNA) == (3, ids[-1], batch.entries[-1].clock)
    later, later_ids = anna.batch(1)
    store.put(later, later_ids)
    assert store.spans(ROOM.id) == {ANNA: [Span(4, 4, ids[-1], later_ids[0])]}


def test_many_feeds_in_one_page(store: HistoryFile) -> None:
    writers = [Writing(f"node {at}", at_ms=START_MS + at * 3_600_000) for at in range(60)]
    for each in writers:
        store.put(*each.batch(20))
    log = store.newest(ROOM.id, 5000)
    assert len(log) == 1200
    assert [(each.entry.clock, each.origin, each.seq) for each in log] == sorted(
        (each.entry.clock, each.origin, each.seq) for each in log
    )
    assert store.newest(ROOM.id, 30) == log[-30:]
    middle = log[600]
    assert store.newest(ROOM.id, 30, (middle.entry.clock, middle.origin, middle.seq)) == log[570:600]


def test_the_overhead_of_a_message(tmp_path: Path) -> None:
    """At most 100 bytes beside the contents: rows, indexes, seals, digests, pages that are not quite full."""
    path = tmp_path / "anna.sqlite3"
    store = HistoryFile(str(path))
    store.put_room(ROOM)
    anna, size, count = Writing("anna"), 0, 40
    for _ in range(count):
        batch, ids = anna.batch(256, text="But soft, what light through yonder window breaks? " * 3)
        size += sum(len(each.content or b"") for each in batch.entries)
        store.put(batch, ids)
    assert store.close() == 0
    connection = connect(str(path))
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    assert 0 < (os.path.getsize(path) - size) / (count * 256) <= 100

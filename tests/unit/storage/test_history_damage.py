"""What the disk has changed is found, named, never given out, dropped, and taken again from another replica."""

import random
import sqlite3
from pathlib import Path

import pytest

from megaphone.cli.main import main
from megaphone.errors import StorageError
from megaphone.storage.history_audit import Audited, audit
from megaphone.storage.history_check import ALTERED, BAD_SEAL, DIGEST, LATER_SEAL, LOST, TIP
from megaphone.storage.history_file import HistoryFile
from megaphone.storage.history_reading import Reader
from megaphone.storage.node_key import verify
from tests.unit.storage.histories import OTHER, ROOM, Writing, Written, write_file

FLIPS = 120
WRITE_VERSION = 18  # of the file's header: with a higher one it may be read, and not be written
COLUMNS = {
    "log_room": ("number", "id", "kind", "name"),
    "log_feed": ("number", "room", "origin", "tip", "excluded", "proof"),
    "log_run": ("n", "feed", "seq", "count", "previous"),
    "log_entry": ("n", "clock", "kind", "id", "hash", "content"),
    "log_seal": ("feed", "seq", "signature"),
    "log_day": ("feed", "day", "count", "sum", "bytes"),
    "log_tombstone": ("room", "target", "n"),
}
CASES = [(table, column) for table, columns in COLUMNS.items() for column in columns]
ANNA = Writing("anna").origin


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Written:
    written = write_file(tmp_path_factory.mktemp("history") / "whole.sqlite3")
    with sqlite3.connect(written.path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return written


@pytest.fixture
def written(whole: Written, tmp_path: Path) -> Written:
    path = tmp_path / "anna.sqlite3"
    path.write_bytes(whole.path.read_bytes())
    return whole._replace(path=path)


def audited(path: Path) -> Audited:
    reader = Reader(str(path))
    try:
        return audit(reader, verify)
    finally:
        reader.close()


def alter(path: Path, query: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    assert connection.execute(query, values).rowcount == 1
    connection.commit()
    connection.close()


def altered(value: object) -> object:
    """Another value of the same type."""
    if isinstance(value, int):
        return value + 1000
    if isinstance(value, str):
        return value + "x"
    assert isinstance(value, bytes)
    return value[:5] + bytes([value[5] ^ 4]) + value[6:]


def fetch_again(store: HistoryFile, written: Written) -> None:
    """What another replica would send: every batch."""
    store.put_room(ROOM)
    store.put_room(OTHER)
    for batch, ids in written.batches:
        store.put(batch, ids)


def number_of_entries(store: HistoryFile) -> int:
    return sum(len(store.newest(room.id, 10_000)) for room in (ROOM, OTHER))


def test_every_column_of_every_table_is_in_the_list(written: Written) -> None:
    connection = sqlite3.connect(written.path)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    found = {
        table: tuple(row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "suspect")
        for table in tables
    }
    connection.close()
    assert found == COLUMNS


@pytest.mark.parametrize(("table", "column"), CASES)
def test_a_changed_value_is_found_and_mended(written: Written, table: str, column: str) -> None:
    assert audited(written.path).damages == []
    connection = sqlite3.connect(written.path)
    keys = "rowid" if table not in ("log_seal", "log_day", "log_tombstone") else "*"
    rows = connection.execute(f"SELECT {column}, {keys} FROM {table} WHERE {column} IS NOT NULL").fetchall()
    value = rows[len(rows) // 2][0]
    where = f"{column} = ?"
    key: tuple[object, ...] = (value,)
    if keys == "rowid":
        where, key = "rowid = ?", (rows[len(rows) // 2][1],)
    else:
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        where = " AND ".join(f"{name} = ?" for name in names)
        key = rows[len(rows) // 2][1:]
    connection.close()
    alter(written.path, f"UPDATE {table} SET {column} = ? WHERE {where}", altered(value), *key)
    damages = audited(written.path).damages
    assert damages
    if table == "log_entry":
        assert any(each.seq and each.origin in (ANNA, Writing("bert").origin) for each in damages)
        assert {each.room for each in damages} <= {ROOM.name, OTHER.name}
    store = HistoryFile(str(written.path), verifier=verify)
    assert store.put_aside == ""
    assert store.found
    assert written.wrong(store) == []
    fetch_again(store, written)
    assert store.flush()
    assert written.wrong(store) == []
    assert number_of_entries(store) == len(written.entries)
    assert store.close() == 0
    assert store._writer.dropped == 0
    assert audited(written.path).damages == []


def test_an_altered_entry_is_named_and_is_missing(written: Written) -> None:
    store = HistoryFile(str(written.path))
    place = store.spans(ROOM.id)[ANNA][-1]
    seq = (place.first + place.last) // 2
    (placed,) = store.feed(ROOM.id, ANNA, seq, seq)
    store.close()
    alter(written.path, "UPDATE log_entry SET content = CAST('forged' AS BLOB) WHERE id = ?", placed.id)
    (damage,) = audited(written.path).damages
    assert damage == (ROOM.name, ANNA, seq, seq, ALTERED)
    told = []
    store = HistoryFile(str(written.path), on_damage=lambda room, damages: told.append((room, list(damages))))
    assert store.found == [damage]
    assert told == [(ROOM.id, [damage])]
    assert [(span.first, span.last) for span in store.spans(ROOM.id)[ANNA]] == [(1, seq - 1), (seq + 1, place.last)]
    assert store.find(ROOM.id, placed.id) is None
    assert placed not in store.newest(ROOM.id, 1000)
    assert number_of_entries(store) == len(written.entries) - 1
    assert store.close() == 0


@pytest.mark.parametrize("seq", [1, 3, "last"])
def test_a_lost_entry(written: Written, seq: int | str) -> None:
    store = HistoryFile(str(written.path))
    last = store.spans(ROOM.id)[ANNA][-1]
    at = last.last if seq == "last" else int(seq)
    (placed,) = store.feed(ROOM.id, ANNA, at, at)
    tip = store.tip(ROOM.id, ANNA)
    store.close()
    alter(written.path, "DELETE FROM log_entry WHERE id = ?", placed.id)
    damages = audited(written.path).damages
    assert (ROOM.name, ANNA, at, at, LOST) in damages
    store = HistoryFile(str(written.path), verifier=verify)
    assert at not in [each.seq for each in store.feed(ROOM.id, ANNA, 1, 1000)]
    assert store.tip(ROOM.id, ANNA) == tip  # its own node goes on behind it, lost or not
    fetch_again(store, written)
    assert written.wrong(store) == []
    assert number_of_entries(store) == len(written.entries)
    assert store.close() == 0
    assert audited(written.path).damages == []


def test_a_damage_that_shows_when_it_is_read(written: Written) -> None:
    """The file was good when it was opened."""
    told = []
    store = HistoryFile(str(written.path), on_damage=lambda room, damages: told.extend(damages))
    assert store.found == []
    (placed,) = store.feed(ROOM.id, ANNA, 4, 4)
    assert placed.entry.content is not None
    alter(written.path, "UPDATE log_entry SET kind = 9 WHERE id = ?", placed.id)
    assert [each.seq for each in store.feed(ROOM.id, ANNA, 3, 6)] == [3, 5, 6]
    assert told == [(ROOM.name, ANNA, 4, 4, ALTERED)]
    assert store.find(ROOM.id, placed.id) is None
    assert [span.first for span in store.spans(ROOM.id)[ANNA]] == [1, 5]
    assert written.wrong(store) == []
    assert store.close() == 0
    assert audited(written.path).damages == []


def test_a_running_process_knows_the_last_entry_whatever_becomes_of_the_note_of_it(written: Written) -> None:
    store = HistoryFile(str(written.path))
    tip = store.tip(ROOM.id, ANNA)
    assert tip is not None
    alter(written.path, "DELETE FROM log_entry WHERE id = ?", tip.id)
    alter(written.path, "UPDATE log_feed SET tip = NULL WHERE number = 1")
    assert [each.seq for each in store.feed(ROOM.id, ANNA, tip.seq - 1, tip.seq)] == [tip.seq - 1]
    assert store.tip(ROOM.id, ANNA) == tip
    assert store.close() == 0
    store = HistoryFile(str(written.path))
    assert store.found == []
    assert store.tip(ROOM.id, ANNA) == tip  # the repair has written it down again
    assert store.close() == 0


def test_a_damage_in_a_long_feed_is_dropped_at_the_next_start(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("megaphone.storage.history_rooms.MENDED_AT_ONCE", 5)
    monkeypatch.setattr("megaphone.storage.history_file.CHECKED_WHOLE_BYTES", 0)  # rooms are checked as they are used
    store = HistoryFile(str(written.path))
    (placed,) = store.feed(ROOM.id, ANNA, 4, 4)
    alter(written.path, "UPDATE log_entry SET kind = 9 WHERE id = ?", placed.id)
    assert [each.seq for each in store.feed(ROOM.id, ANNA, 3, 6)] == [3, 5, 6]
    assert [span.first for span in store.spans(ROOM.id)[ANNA]] == [1]
    assert store.close() == 0
    store = HistoryFile(str(written.path))
    assert [span.first for span in store.spans(ROOM.id)[ANNA]] == [1, 5]
    assert store.close() == 0
    assert audited(written.path).damages == []


def test_a_changed_digest_is_put_right(written: Written) -> None:
    store = HistoryFile(str(written.path))
    digests = store.digests(ROOM.id)
    store.close()
    first = "(SELECT min(day) FROM log_day WHERE feed = 1)"
    alter(written.path, f"UPDATE log_day SET sum = zeroblob(16) WHERE feed = 1 AND day = {first}")
    assert [each.what for each in audited(written.path).damages] == [DIGEST]
    store = HistoryFile(str(written.path))
    assert [each.what for each in store.found] == [DIGEST]
    assert store.digests(ROOM.id) == digests
    assert store.close() == 0
    assert audited(written.path).damages == []


@pytest.mark.parametrize("table", ["log_entry", "log_run", "log_day", "log_seal", "log_feed", "log_room"])
def test_all_rows_of_a_table_are_gone(written: Written, table: str) -> None:
    connection = sqlite3.connect(written.path)
    connection.execute(f"DELETE FROM {table}")
    connection.commit()
    connection.close()
    store = HistoryFile(str(written.path), verifier=verify)
    assert written.wrong(store) == []
    if table != "log_seal":  # without seals nothing can be said about the last entries, but that they are a chain
        assert store.found
    fetch_again(store, written)
    assert number_of_entries(store) == len(written.entries)
    assert written.wrong(store) == []
    assert store.close() == 0
    if table != "log_seal":
        assert audited(written.path).damages == []


class TestSeals:
    """Hashes do not help against who hashes again: seals do."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        """A feed of 30 entries with seals at 10, 20 and 30."""
        path = tmp_path / "seals.sqlite3"
        store = HistoryFile(str(path))
        store.put_room(ROOM)
        anna = Writing("anna")
        batches = [anna.batch(10) for _ in range(3)]
        store.put(*batches[2])
        store.put(*batches[1])
        store.put(*batches[0])
        assert store.close() == 0
        assert audited(path).damages == []
        return path

    def test_a_broken_seal_before_a_good_one(self, path: Path) -> None:
        alter(path, "UPDATE log_seal SET signature = zeroblob(64) WHERE seq = 20")
        assert audited(path).damages == [(ROOM.name, ANNA, 20, 20, LATER_SEAL)]
        store = HistoryFile(str(path), verifier=verify)
        assert len(store.newest(ROOM.id, 100)) == 30
        assert store.close() == 0
        assert audited(path).damages == []

    def test_a_broken_last_seal(self, path: Path) -> None:
        alter(path, "UPDATE log_seal SET signature = zeroblob(64) WHERE seq = 30")
        assert audited(path).damages == [(ROOM.name, ANNA, 21, 30, BAD_SEAL)]
        store = HistoryFile(str(path), verifier=verify)
        assert [each.seq for each in store.newest(ROOM.id, 100)] == list(range(1, 21))
        assert store.tip(ROOM.id, ANNA) is not None
        assert store.close() == 0
        assert audited(path).damages == []

    def test_a_feed_that_was_written_anew_by_somebody_without_the_key(self, path: Path, tmp_path: Path) -> None:
        store = HistoryFile(str(path))
        seals = {seq: store.seal(ROOM.id, ANNA, seq) for seq in (10, 20, 30)}
        store.close()
        path.unlink()
        forged = HistoryFile(str(path))
        forged.put_room(ROOM)
        batch, ids = Writing("anna").batch(30, text="forged")
        found = seals[30]
        assert found is not None
        forged.put(batch._replace(seal=found[1]), ids)
        forged.close()
        assert audited(path).damages == [(ROOM.name, ANNA, 1, 30, BAD_SEAL)]
        store = HistoryFile(str(path), verifier=verify)
        assert store.newest(ROOM.id, 100) == []
        assert store.close() == 0


def test_the_note_of_the_last_entry_is_put_right(written: Written) -> None:
    alter(written.path, "UPDATE log_feed SET tip = NULL WHERE number = 1")
    assert [each.what for each in audited(written.path).damages] == [TIP]
    store = HistoryFile(str(written.path))
    spans = store.spans(ROOM.id)[ANNA]
    tip = store.tip(ROOM.id, ANNA)
    assert tip is not None
    assert (tip.seq, tip.id) == (spans[-1].last, spans[-1].head)
    assert tip.clock == store.feed(ROOM.id, ANNA, tip.seq, tip.seq)[0].entry.clock
    assert store.close() == 0
    assert audited(written.path).damages == []


@pytest.mark.parametrize("part", range(4))
def test_a_bit_is_flipped_anywhere(
    whole: Written, tmp_path: Path, part: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, nothing wrong is given out, and what is not there any more was said to be damaged."""
    data = whole.path.read_bytes()
    choice = random.Random(part)
    outcomes = set()
    for number in range(FLIPS // 4):
        path = tmp_path / f"{number}.sqlite3"
        flipped = bytearray(data)
        at = choice.randrange(len(data)) if number % 3 else choice.randrange(4096)
        flipped[at] ^= 1 << choice.randrange(8)
        path.write_bytes(flipped)
        said = main(["history", "verify", str(path)])
        assert said in (0, 1), at
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        store: HistoryFile | None
        try:
            store = HistoryFile(str(path), verifier=verify)
        except StorageError:
            store = None
        if store is None:
            assert said == 1 or at == WRITE_VERSION, at
            outcomes.add("refused")
            continue
        assert whole.wrong(store) == [], at
        if number_of_entries(store) < len(whole.entries):
            assert store.found or store.put_aside, at
            assert said == 1, at
            outcomes.add("missing")
        else:
            outcomes.add("whole")
        fetch_again(store, whole)
        assert number_of_entries(store) == len(whole.entries), at
        assert whole.wrong(store) == [], at
        assert store.close() == 0
    assert {"missing", "whole"} <= outcomes


@pytest.mark.parametrize("length", [0, 1, 50, 100, 1024, 4096, 5000, 20_000])
def test_a_file_that_is_cut_off(whole: Written, tmp_path: Path, length: int) -> None:
    path = tmp_path / "anna.sqlite3"
    path.write_bytes(whole.path.read_bytes()[:length])
    store = HistoryFile(str(path), verifier=verify)
    assert whole.wrong(store) == []
    fetch_again(store, whole)
    assert number_of_entries(store) == len(whole.entries)
    assert store.close() == 0
    if length > 1:
        aside = Path(store.put_aside)
        assert aside.name.startswith("anna.sqlite3.damaged-")
        assert aside.read_bytes() == whole.path.read_bytes()[:length]


def test_what_can_be_read_of_a_broken_file_is_copied(whole: Written, tmp_path: Path) -> None:
    """Nobody else may have it: zeros over one leaf of the table of entries cost the entries of that leaf."""
    path = tmp_path / "anna.sqlite3"
    data = bytearray(whole.path.read_bytes())
    leaf = max(
        (page for page in range(1, len(data) // 4096) if data[page * 4096] == 0x0D),
        key=lambda page: bytes(data[page * 4096 : page * 4096 + 4096]).count(b"groupchat"),
    )
    data[leaf * 4096 : leaf * 4096 + 8] = b"\xa5" * 8
    path.write_bytes(data)
    store = HistoryFile(str(path), verifier=verify)
    assert store.put_aside
    assert 0 < store.salvaged < len(whole.entries)
    assert number_of_entries(store) == store.salvaged
    assert whole.wrong(store) == []
    tips = {room.id: store.tip(room.id, ANNA) for room in (ROOM, OTHER)}
    fetch_again(store, whole)
    assert number_of_entries(store) == len(whole.entries)
    assert {room.id: store.tip(room.id, ANNA) for room in (ROOM, OTHER)} == tips
    assert store.close() == 0
    assert audited(path).damages == []

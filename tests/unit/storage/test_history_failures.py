"""Disks that are full or may not be written, files that are something else: the answer, and that nothing is lost."""

import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from megaphone.errors import StorageError, StorageFullError
from megaphone.history.batch import Batch
from megaphone.history.entry import EntryID
from megaphone.storage.history_file import HistoryFile, HistoryLook
from megaphone.storage.node_key import verify
from tests.unit.storage.histories import ROOM, Writing, placed_of, write_file
from tests.unit.storage.test_failures import disk as full_disk
from tests.unit.storage.test_failures import fill
from tests.unit.storage.test_writer import wait_until

disk = full_disk
TEXT = "x" * 3000


def put_until_refused(store: HistoryFile, writer: Writing, refused: str) -> list[tuple[Batch, list[EntryID]]]:
    """Put batches until one is refused; return those that were taken. The refused one is not written on."""
    taken = []
    for _ in range(3000):
        before = writer.seq, writer.previous
        batch, ids = writer.batch(3, text=TEXT)
        if store._writer.trouble:
            with pytest.raises(StorageFullError, match=refused):
                store.put(batch, ids)
            writer.seq, writer.previous = before
            return taken
        store.put(batch, ids)
        taken.append((batch, ids))
        if len(taken) % 20 == 0:
            store.flush()
    raise AssertionError("nothing was refused")


def check_recovery(store: HistoryFile, make_full: object, make_room: object) -> None:
    assert callable(make_full)
    assert callable(make_room)
    anna = Writing("anna")
    store.put_room(ROOM)
    first = anna.batch(5)
    store.put(*first)
    assert store.flush()
    make_full()
    taken = [first, *put_until_refused(store, anna, "the disk is full")]
    assert store.committed < store._writer.position  # nobody is told that it is durable
    assert sum(len(each[1]) for each in taken) == sum(count for count, _ in store.digests(ROOM.id).values())
    with pytest.raises(StorageError, match="the disk is full"):
        store.newest(ROOM.id, 10)  # what is queued cannot be read
    make_room()
    wait_until(lambda: store._writer.trouble == "")
    assert store.flush()
    assert store.feed(ROOM.id, anna.origin, 1, 10**6) == [each for one in taken for each in placed_of(*one)]
    store.put(*anna.batch(1))
    assert store.flush()
    assert store.check(ROOM.id) == []


def test_a_full_disk_is_survived(disk: Path) -> None:
    store = HistoryFile(str(disk / "anna.sqlite3"), verifier=verify, retry_seconds=0.05)
    check_recovery(store, lambda: fill(disk), (disk / "filler").unlink)
    assert store.close() == 0


def test_a_full_file_is_survived(tmp_path: Path) -> None:
    """The same where nothing can be mounted: SQLite is told how large the file may become."""
    store = HistoryFile(str(tmp_path / "anna.sqlite3"), verifier=verify, retry_seconds=0.05)

    def limit(pages: int) -> object:
        return lambda: store._writer._connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    check_recovery(store, limit(60), limit(1_000_000))
    assert store.close() == 0


def test_a_disk_that_is_full_at_the_start(disk: Path) -> None:
    fill(disk)
    with pytest.raises(StorageError, match="the disk is full"):
        HistoryFile(str(disk / "anna.sqlite3"))


def test_a_read_only_disk(disk: Path) -> None:
    written = write_file(disk / "anna.sqlite3")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(StorageError, match="Read-only file system"):
        HistoryFile(str(written.path))
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    store = HistoryFile(str(written.path), verifier=verify)
    assert store.found == []
    assert written.wrong(store) == []
    assert store.close() == 0


def test_a_damaged_file_on_a_full_disk_is_still_read(disk: Path) -> None:
    """It cannot be mended there; what is damaged is not given out all the same."""
    written = write_file(disk / "anna.sqlite3")
    connection = sqlite3.connect(written.path)
    connection.execute("UPDATE log_entry SET kind = 9 WHERE n = 3")
    connection.commit()
    connection.close()
    look = HistoryLook(str(written.path))
    look.rooms()
    fill(disk)
    with pytest.raises(StorageError, match="the disk is full"):
        HistoryFile(str(written.path), verifier=verify, retry_seconds=0.05)
    assert written.wrong(look) == []
    assert look.damages
    look.close_reader()
    (disk / "filler").unlink()
    store = HistoryFile(str(written.path), verifier=verify)
    assert store.found
    assert written.wrong(store) == []
    assert store.close() == 0


def test_what_is_something_else_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "bookmarks.sqlite3"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE bookmark (url TEXT)")
    connection.commit()
    connection.close()
    content = path.read_bytes()
    with pytest.raises(StorageError, match="is a database, but not one of Megaphone"):
        HistoryFile(str(path))
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["bookmarks.sqlite3"]


def test_a_file_of_a_newer_megaphone(tmp_path: Path) -> None:
    written = write_file(tmp_path / "anna.sqlite3", batches=3)
    connection = sqlite3.connect(written.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageError, match="was written by a newer Megaphone"):
        HistoryFile(str(written.path))

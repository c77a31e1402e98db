"""The histories of a worker on a real database: written at the end of a turn, kept over restarts, and no longer."""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from megaphone.embedded.retention import RetentionSettings
from megaphone.errors import ArchiveError, StorageError, StorageFullError
from megaphone.history.manifest import MUC, Manifest
from megaphone.storage.database import database_path, prepare
from megaphone.storage.own_key import key_path, own_key
from megaphone.stream.archive import Wanted
from tests.unit.embedded.history_worker import DAY, HALL, NOW, Worker, assert_whole, body, said
from tests.unit.storage.conftest import ROMEO, with_accounts

__all__ = ["with_accounts"]


@pytest.fixture
def directory(tmp_path: Path, with_accounts: str) -> str:
    shutil.copytree(with_accounts, tmp_path / "data")
    return str(tmp_path / "data")


@pytest.fixture
def start(directory: str) -> Iterator[Callable[..., Worker]]:
    running: list[Worker] = []

    def begin(settings: RetentionSettings | None = None) -> Worker:
        for each in running:
            each.close()
        running[:] = [Worker(directory, settings)]
        return running[0]

    yield begin
    for each in running:
        each.close()


def test_what_was_said_is_there_after_a_restart(start: Callable[..., Worker], directory: str) -> None:
    worker = start()
    before = [worker.say(f"{number}") for number in range(5)]
    worker.say("private", ROMEO)
    worker.histories.flush()
    worker = start()
    assert worker.rooms.page(HALL, Wanted(max=10)).entries == tuple(before)
    assert worker.bodies(ROMEO) == ["private"]
    worker.say("5")
    assert worker.bodies() == ["0", "1", "2", "3", "4", "5"]
    assert assert_whole(directory) == 7


def test_what_is_said_meanwhile_is_one_batch(start: Callable[..., Worker]) -> None:
    worker = start()
    for number in range(20):
        worker.say(f"{number}")
        worker.histories.turn_ended()
    assert worker.histories.flushed == 0
    (gathered,) = worker.timers
    gathered()
    assert worker.histories.flushed == 1
    worker.histories.turn_ended()
    assert len(worker.timers) == 1


def test_nothing_counts_as_safe_before_it_is_sealed_and_written(start: Callable[..., Worker]) -> None:
    worker = start()
    worker.storage.writer.settle_all()
    kept: list[str] = []
    worker.say("one")
    worker.promises.when_safe(lambda: kept.append("one"))
    assert kept == []
    worker.storage.writer.settle_all()
    worker.promises.look()
    assert kept == ["one"]
    assert worker.histories.flushed == 1


def test_a_disk_that_takes_nothing(start: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    """New messages are refused; what was taken, and cannot be written, is not acknowledged until it is."""
    worker = start()
    worker.say("before")
    worker.histories.flush()
    worker.storage.writer.settle_all()
    kept: list[str] = []
    worker.say("taken")
    worker.storage.writer.trouble = "the disk is full"
    worker.promises.when_safe(lambda: kept.append("taken"))
    with pytest.raises(StorageFullError):
        worker.say("refused")
    assert worker.promises.held
    worker.promises.look()
    assert kept == []
    worker.storage.writer.trouble = ""
    worker.histories.sweep(0.0)
    assert not worker.promises.held
    worker.storage.writer.settle_all()
    worker.promises.look()
    assert kept == ["taken"]
    assert worker.bodies() == ["before", "taken"]


def test_a_room_of_the_same_name_begins_anew(start: Callable[..., Worker], directory: str) -> None:
    worker = start()
    first = worker.say("of the first")
    worker.rooms.forget(HALL)
    worker.time = NOW + 100
    worker.began[HALL] = worker.time
    assert worker.bodies() == []
    assert worker.rooms.find(HALL, first.id) is None
    second = worker.say("of the second")
    assert worker.bodies() == ["of the second"]
    assert worker.rooms.ends(HALL) == (second, second)
    worker.histories.flush()
    worker.storage.writer.settle_all()
    assert assert_whole(directory) == 1
    seqs = [each.seq for each in worker.histories.store.newest(Manifest(MUC, str(HALL)).id, 9)]
    assert seqs == [2]  # never again what it has said already


def test_what_could_not_be_dropped_is_not_shown(start: Callable[..., Worker]) -> None:
    worker = start()
    first = worker.say("of the first")
    worker.histories.flush()
    worker.storage.writer.settle_all()
    worker.storage.writer.trouble = "the disk is full"
    worker.rooms.forget(HALL)
    worker.storage.writer.trouble = ""
    worker.began[HALL] = NOW + 100
    worker.time = NOW + 50  # a clock that goes behind: what is said is behind the beginning all the same
    worker.say("of the second")
    assert worker.bodies() == ["of the second"]
    assert [body(each) for each in worker.rooms.tail(HALL, 9)] == ["of the second"]
    assert worker.rooms.find(HALL, first.id) is None
    for wanted in (Wanted(max=5, after=(first.id,)), Wanted(max=5, backwards=True, before=(first.id,))):
        with pytest.raises(ArchiveError):
            worker.rooms.page(HALL, wanted)


def test_as_many_as_are_kept(start: Callable[..., Worker], directory: str) -> None:
    worker = start(RetentionSettings(of_rooms=16))
    for number in range(100):
        worker.say(f"{number}")
    kept = worker.bodies()
    assert 16 <= len(kept) <= 18
    assert kept == [f"{number}" for number in range(100 - len(kept), 100)]
    assert worker.rooms.page(HALL, Wanted(max=5)).stable
    worker = start(RetentionSettings(of_rooms=4))
    worker.say("100")
    assert worker.bodies() == ["97", "98", "99", "100"]
    assert assert_whole(directory) == 4


def test_as_many_days_as_are_kept(start: Callable[..., Worker]) -> None:
    worker = start(RetentionSettings(days=3))
    for day in range(10):
        worker.time = NOW + day * DAY
        worker.say(f"{day}")
        worker.say(f"{day}", ROMEO)
    worker.look()
    assert worker.bodies() == ["6", "7", "8", "9"]
    assert worker.bodies(ROMEO) == ["6", "7", "8", "9"]
    worker.time += 30 * DAY
    worker.look()
    worker.histories.flush()
    worker.look()
    assert worker.bodies() == []


def test_archives_of_accounts_that_are_no_more(start: Callable[..., Worker], directory: str) -> None:
    worker = start()
    worker.say("secret", ROMEO)
    worker.histories.flush()
    del worker.began[ROMEO]
    assert worker.bodies(ROMEO) == []
    worker.look()
    assert assert_whole(directory) == 1  # it may be on its way from another node, for a day
    worker.time += 3 * DAY
    worker.look()
    worker.storage.writer.settle_all()
    assert assert_whole(directory) == 0


def test_damage_is_dropped_and_the_log_goes_on(start: Callable[..., Worker], directory: str) -> None:
    worker = start()
    for number in range(6):
        worker.say(f"{number}")
    worker.histories.flush()
    worker.storage.writer.settle_all()
    with contextlib.closing(sqlite3.connect(database_path(directory))) as connection:
        connection.execute("UPDATE log_entry SET content = x'00' WHERE n = 3")
        connection.commit()
    assert "2" not in worker.bodies()
    worker.say("6")
    assert worker.bodies() == ["0", "1", "3", "4", "5", "6"]
    assert not worker.rooms.page(HALL, Wanted(max=5)).stable
    assert assert_whole(directory) == 6


def test_too_large_for_an_archive(start: Callable[..., Worker]) -> None:
    worker = start()
    with pytest.raises(ArchiveError) as refused:
        worker.say("x" * 300_000)
    assert refused.value.condition == "policy-violation"
    worker.say("small")
    assert worker.bodies() == ["small"]


# --- archives before they were logs ---


def old_rows(directory: str, *, rooms: int = 0, users: int = 0, begin: int = 0) -> list[str]:
    """Write rows as versions before did; returns their ids."""
    ids = []
    with contextlib.closing(sqlite3.connect(database_path(directory))) as connection:
        for number in range(begin, begin + max(rooms, users)):
            each = said(f"old {number}", NOW - 1000 + number)
            id_ = int(each.time * 1_000_000)
            ids.append(str(id_))
            if number < begin + rooms:
                connection.execute(
                    "INSERT INTO history (room, id, time, nick, stanza, kind, author, message) VALUES"
                    " (?, ?, ?, ?, ?, ?, ?, ?)",
                    (HALL.local, id_, each.time, each.resource, each.stanza, each.kind, each.author, each.message),
                )
            if number < begin + users:
                connection.execute(
                    "INSERT INTO archive SELECT id, ?, ?, ?, ?, ?, ?, ?, ?, 0 FROM account WHERE name = ?",
                    (id_, each.time, each.kind, each.author, "x", "", each.message, each.stanza, ROMEO.local),
                )
        connection.commit()
    return ids


def test_old_archives_become_logs_once(start: Callable[..., Worker], directory: str) -> None:
    ids = old_rows(directory, rooms=2500, users=3)
    worker = start()
    worker.say("new")
    assert worker.bodies() == [*(f"old {number}" for number in range(2500)), "new"]
    assert worker.bodies(ROMEO) == ["old 0", "old 1", "old 2"]
    first = worker.rooms.page(HALL, Wanted(max=1)).entries[0]
    assert first.said.time == NOW - 1000
    behind = worker.rooms.page(HALL, Wanted(max=2, after=(ids[2],))).entries
    assert [body(each) for each in behind] == ["old 3", "old 4"]
    worker = start()
    assert len(worker.bodies()) == 2501
    assert worker.storage.read("SELECT (SELECT count(*) FROM history) + (SELECT count(*) FROM archive)") == [(0,)]
    assert assert_whole(directory) == 2504


def test_what_an_earlier_version_writes_after_that_moves_too(start: Callable[..., Worker], directory: str) -> None:
    old_rows(directory, rooms=3)
    worker = start()
    assert len(worker.bodies()) == 3
    old_rows(directory, rooms=4, begin=2)  # as if the removal of one row had been lost when a process was killed
    worker = start()
    assert worker.bodies() == [f"old {number}" for number in range(6)]
    assert assert_whole(directory) == 6


def test_old_archives_stay_while_nothing_can_be_written(start: Callable[..., Worker], directory: str) -> None:
    old_rows(directory, rooms=3)
    worker = start()
    worker.storage.writer.trouble = "the disk is full"
    with pytest.raises(StorageFullError):
        worker.rooms.tail(HALL, 5)
    worker.storage.writer.trouble = ""
    worker.histories.flush()
    assert not worker.promises.held
    assert len(worker.storage.read("SELECT 1 FROM history")) == 3
    assert worker.bodies() == ["old 0", "old 1", "old 2"]
    assert assert_whole(directory) == 3


# --- the key ---


def test_all_workers_have_one_key(directory: str) -> None:
    keys = {own_key(directory).origin for _ in range(3)}
    assert len(keys) == 1
    assert os.stat(key_path(directory)).st_mode & 0o777 == 0o600


def test_a_key_without_its_database_says_nothing_more(directory: str, tmp_path: Path) -> None:
    before = own_key(directory).origin
    other = str(tmp_path / "other")
    prepare(other)
    shutil.copy2(key_path(directory), key_path(other))
    after = own_key(other).origin
    assert after != before
    assert len([name for name in os.listdir(other) if name.startswith("node.key")]) == 2


def test_a_key_that_was_removed_is_replaced(directory: str) -> None:
    before = own_key(directory).origin
    os.unlink(key_path(directory))
    after = own_key(directory).origin
    assert after != before
    assert own_key(directory).origin == after


def test_the_key_of_another_node(directory: str, tmp_path: Path) -> None:
    own_key(directory)
    other = str(tmp_path / "other")
    prepare(other)
    own_key(other)
    shutil.copy2(key_path(other), key_path(directory))
    with pytest.raises(StorageError, match="not the key of this database"):
        own_key(directory)

"""Disks that are full, files that may not be written, pages that are damaged: the answer, and that the rest goes on."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from megaphone.errors import StorageError, StorageFullError
from megaphone.service.ports import RosterItem
from megaphone.storage.accounts import AccountBook, SQLiteAccounts
from megaphone.storage.database import connect, database_path, inspect, prepare
from megaphone.storage.storage import Storage
from megaphone.storage.users import SQLiteUsers
from megaphone.stream.jid import JID
from tests.unit.storage.conftest import CREDENTIALS, DOMAIN, JULIET, ROMEO
from tests.unit.storage.test_writer import wait_until

DISK_BYTES = 2_097_152


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes, with a database that has the account romeo."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(mounted)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"nothing may be mounted here: {made.stderr.decode()}")
    try:
        prepare(str(mounted))
        book = AccountBook(str(mounted))
        book.add("romeo", CREDENTIALS, 1.0)
        book.close()
        yield mounted
    finally:
        subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def fill(disk: Path) -> None:
    """Leave no room on the disk."""
    with (disk / "filler").open("wb", buffering=0) as filler:  # what does not fit must not wait until it is closed
        try:
            while True:
                filler.write(b"x" * 65_536)
        except OSError:
            return


def spool_until_refused(store: SQLiteUsers, storage: Storage, refused: str) -> list[bytes]:
    """Put messages until one is refused; return those that were taken."""
    taken: list[bytes] = []
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        stanza = b"%d " % len(taken) + b"x" * 4000
        try:
            store.put_offline_message(ROMEO, stanza, 1.0)
        except StorageFullError as error:
            if refused in str(error):
                return taken
            raise
        taken.append(stanza)
        if len(taken) % 50 == 0:
            storage.writer.flush()
    raise AssertionError("nothing was refused")


def check_recovery(storage: Storage, make_full: Callable[[], object], make_room: Callable[[], object]) -> None:
    """Go through a disk that becomes full and is emptied: refusals meanwhile, and nothing that was taken is lost."""
    store, accounts = SQLiteUsers(storage), SQLiteAccounts(storage)
    store.put_roster_item(ROMEO, RosterItem(JULIET, name="Juliet"), 1)
    store.put_offline_message(ROMEO, b"before", 1.0)
    assert storage.writer.flush()
    committed = storage.writer.committed
    make_full()
    taken = spool_until_refused(store, storage, "the disk is full")
    assert storage.writer.committed < storage.writer.position  # nobody is told that it is safe
    assert storage.writer.committed >= committed
    with pytest.raises(StorageFullError, match="the disk is full"):
        store.put_vcard(ROMEO, b"<vCard/>")
    with pytest.raises(StorageError, match="the disk is full"):  # it cannot know what is kept of him now
        store.load(ROMEO)
    assert accounts.credentials(ROMEO) == CREDENTIALS  # but who he is can be known
    store.remove_offline_messages(ROMEO, [1])  # removals are still taken
    make_room()
    wait_until(lambda: storage.writer.trouble == "")
    assert storage.writer.flush()
    assert [message.stanza for message in store.offline_messages(ROMEO)] == [b"before", *taken]
    store.put_vcard(ROMEO, b"<vCard/>")
    assert store.vcard(ROMEO) == b"<vCard/>"


def test_a_full_disk_is_survived(disk: Path) -> None:
    storage = Storage(str(disk), retry_seconds=0.05)
    check_recovery(storage, lambda: fill(disk), (disk / "filler").unlink)
    assert storage.close() == 0


def test_a_full_database_is_survived(directory: str) -> None:
    """The same where nothing can be mounted: SQLite is told how large the file may become."""
    storage = Storage(directory, retry_seconds=0.05)

    def limit(pages: int) -> Callable[[], object]:
        return lambda: storage.writer._connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()

    check_recovery(storage, limit(60), limit(1_000_000))
    assert storage.close() == 0


def test_what_could_not_be_written_is_counted_at_the_end(disk: Path) -> None:
    storage = Storage(str(disk), retry_seconds=0.05)
    fill(disk)
    store = SQLiteUsers(storage)
    spool_until_refused(store, storage, "the disk is full")
    queued = storage.writer.queued
    assert storage.writer.close(0.3) == queued > 0


def test_a_disk_that_is_full_at_the_start(disk: Path) -> None:
    Path(database_path(str(disk))).unlink()
    fill(disk)
    with pytest.raises(StorageError, match=r"megaphone\.sqlite3: the disk is full"):
        prepare(str(disk))


def test_a_read_only_disk(disk: Path) -> None:
    storage = Storage(str(disk))
    SQLiteUsers(storage).put_offline_message(ROMEO, b"before", 1.0)
    assert storage.close() == 0  # the kernel does not let a file system with files open for writing become read-only
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(StorageError, match="Read-only file system"):
        prepare(str(disk))
    with pytest.raises(StorageError):
        inspect(str(disk))
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    prepare(str(disk))
    storage = Storage(str(disk))
    assert [message.stanza for message in SQLiteUsers(storage).offline_messages(ROMEO)] == [b"before"]
    assert storage.close() == 0


def test_a_file_that_only_its_owner_may_write(directory: str) -> None:
    """As an ordinary user, whom root's file does not concern."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    path = Path(database_path(directory))
    for each in (path.parent, *path.parents):
        each.chmod(0o755) if each.stat().st_uid == os.geteuid() and each != Path("/") else None
    path.chmod(0o644)
    program = "import sys; from megaphone.storage import database; getattr(database, sys.argv[1])(sys.argv[2])"
    for call, said in (("inspect", "this user may not read and write it"), ("prepare", "Permission denied")):
        done = subprocess.run(
            [sys.executable, "-c", program, call, directory],
            user=65_534,
            group=65_534,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"StorageError: {path}: " in done.stderr
        assert said in done.stderr.splitlines()[-1]


def damage(directory: str, table: str) -> None:
    """Write over the first page of a table, as a broken disk would."""
    connection = connect(database_path(directory))
    ((page,),) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchall()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    with Path(database_path(directory)).open("r+b") as opened:
        opened.seek((page - 1) * 4096)
        opened.write(b"\xa5" * 4096)


def test_a_damaged_table_is_said_and_the_others_go_on(directory: str) -> None:
    damage(directory, "vcard")
    prepare(directory)
    storage = Storage(directory, retry_seconds=0.05)
    store = SQLiteUsers(storage)
    with pytest.raises(StorageError, match="is damaged; restore it from a backup"):
        store.vcard(ROMEO)
    store.put_offline_message(ROMEO, b"1", 1.0)
    assert [message.stanza for message in store.offline_messages(ROMEO)] == [b"1"]
    assert SQLiteAccounts(storage).credentials(ROMEO) == CREDENTIALS
    assert storage.close() == 0


def test_a_damaged_table_stops_writes_with_an_answer(directory: str) -> None:
    damage(directory, "vcard")
    storage = Storage(directory, retry_seconds=0.05)
    store = SQLiteUsers(storage)
    store.put_vcard(ROMEO, b"<vCard/>")
    wait_until(lambda: storage.writer.trouble != "")
    with pytest.raises(StorageFullError, match="is damaged"):
        store.put_offline_message(JULIET, b"1", 1.0)
    assert SQLiteAccounts(storage).credentials(JULIET) == CREDENTIALS
    assert storage.writer.close(0.2) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x" * 8192, "is not a database"),
        (b"SQLite format 3\0" + b"\xff" * 8192, "is not a database"),
    ],
)
def test_what_is_no_database(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "megaphone.sqlite3"
    path.write_bytes(content)
    for look in (inspect, prepare):
        with pytest.raises(StorageError, match=f"^{path}: {said}"):
            look(str(tmp_path))
    assert path.read_bytes() == content


def test_a_database_of_something_else_or_of_a_newer_megaphone(tmp_path: Path, directory: str) -> None:
    (tmp_path / "other").mkdir()
    other = Path(database_path(str(tmp_path / "other")))
    other.touch()
    connection = connect(str(other))
    connection.execute("CREATE TABLE bookmark (url TEXT)")
    connection.close()
    newer = connect(database_path(directory))
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    for look in (inspect, prepare):
        with pytest.raises(StorageError, match="is a database, but not one of Megaphone"):
            look(str(tmp_path / "other"))
        with pytest.raises(StorageError, match="was written by a newer Megaphone"):
            look(directory)


def test_a_file_that_is_taken_away(directory: str) -> None:
    Path(database_path(directory)).unlink()
    with pytest.raises(StorageError, match="cannot be opened"):
        Storage(directory)


def test_many_may_prepare_at_once(tmp_path: Path) -> None:
    program = "import sys; from megaphone.storage.database import prepare; sys.stdin.read(1); prepare(sys.argv[1])"
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "data")], stdin=subprocess.PIPE)
        for _ in range(6)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait(60) for process in processes] == [0] * 6
    storage = Storage(str(tmp_path / "data"))
    assert SQLiteAccounts(storage).credentials(JID("romeo", DOMAIN)) is None
    assert storage.close() == 0

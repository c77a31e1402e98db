"""A file with histories and nothing else, for a peer that has no node: one for each user.

    open ──► make its tables, check ──► damaged entries are dropped, and fetched again from others
                        │
                        └ pages that SQLite cannot read: put aside as FILE.damaged-TIME, what can be read of it copied

It is written with `synchronous = FULL`: a laptop that loses power must not forget what it has told others.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final

from megaphone import log
from megaphone.errors import StorageError, StorageFullError
from megaphone.storage import history_writing as writing
from megaphone.storage.database import Schema, corrupt, prepare_file, primary_code, words
from megaphone.storage.history import SQLiteHistory
from megaphone.storage.history_audit import audit
from megaphone.storage.history_rows import Chain
from megaphone.storage.history_salvage import AT_ONCE, salvage
from megaphone.storage.tables import HISTORY_APPLICATION_ID, LOG
from megaphone.storage.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from megaphone.history.manifest import RoomID
    from megaphone.history.ports import Verifier
    from megaphone.storage.history_check import Damage
    from megaphone.storage.history_rooms import Room
    from megaphone.storage.history_rows import RoomRow
    from megaphone.storage.transaction import Program

ALONE: Final = Schema(HISTORY_APPLICATION_ID, (LOG,))
CHECKED_WHOLE_BYTES: Final = 33_554_432  # a larger file is checked quickly, room by room, as they are used
_PRAGMAS: Final = (
    "PRAGMA synchronous = FULL",
    # ids are random, so that every transaction changes pages all over their index: they are copied into the file less
    # often than usual, and more of them are kept in memory
    "PRAGMA wal_autocheckpoint = 8192",  # pages
    "PRAGMA cache_size = -32768",  # kibibytes
)
# the last one: our own statements fail only where tables are not what they were
_BROKEN: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
_SCHEMA: Final = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name"


class _Alone:
    """A database with its writer."""

    def __init__(self, path: str, **limits: Any) -> None:
        self.path = path
        self.writer = Writer(path, pragmas=_PRAGMAS, **limits)


class HistoryFile(SQLiteHistory):
    """An `EntryStore` in a file of its own; `close` it."""

    def __init__(
        self,
        path: str,
        *,
        verifier: Verifier | None = None,
        on_damage: Callable[[RoomID, Sequence[Damage]], object] | None = None,
        call_soon: Callable[[Callable[[int], object], int], object] | None = None,
        on_committed: Callable[[int], object] | None = None,
        **limits: Any,
    ) -> None:
        """Open a file or make it; StorageError if that is impossible. `call_soon` and the rest are the writer's."""
        self.put_aside = ""
        """Where a file went that could not be read."""
        self.found: list[Damage] = []
        """What was damaged when it was opened, and has been dropped."""
        self.salvaged = 0
        """How many entries of a file that was put aside have been copied."""
        limits |= {"call_soon": call_soon, "on_committed": on_committed}
        try:
            self._open(path, verifier, on_damage, limits)
        except StorageError as error:
            if not is_broken(error):
                raise
            self.put_aside = _put_aside(path)
            log.get_logger("history").error("put aside", file=path, to=self.put_aside, reason=error.reason)
            self._open(path, verifier, on_damage, limits)
            self.salvaged = salvage(self.put_aside, self, verifier)
            self._writer.settle_all()

    _writer: Writer

    def _open(
        self,
        path: str,
        verifier: Verifier | None,
        on_damage: Callable[[RoomID, Sequence[Damage]], object] | None,
        limits: dict[str, Any],
    ) -> None:
        prepare_file(path, ALONE)
        with contextlib.ExitStack() as opened:
            with words(path):
                storage = _Alone(path, **limits)
            opened.callback(storage.writer.close)
            super().__init__(storage, verifier=verifier, on_damage=on_damage)
            opened.callback(self._reader.close)
            self._check_at_start()
            opened.pop_all()

    def _check_at_start(self) -> None:
        if self._reader.read(_SCHEMA) != _schema():
            reason = "its tables are not what they were"
            raise StorageError(self.path, reason) from corrupt(reason)
        if os.path.getsize(self.path) > CHECKED_WHOLE_BYTES:
            return
        if self._reader.read("PRAGMA quick_check(1)") != [("ok",)]:
            raise StorageError(self.path, "is damaged") from corrupt("pages are not what they should be")
        self.found = self.check_all()

    def check_all(self) -> list[Damage]:
        """Check everything in full, and drop what is damaged; returns it. 10 seconds for a million entries, about."""
        self._writer.settle_all()
        audited = audit(self._reader, self._verifier)
        if not audited.damages:
            return []
        for row in self._reader.rooms():
            if not row.is_good:
                self._mend_room(row)
        self._writer.settle_all()
        for row in self._reader.rooms():
            self.check(row.id)
        self._writer.perform(writing.SWEEP, ())
        if audited.indexes:
            self._writer.perform(writing.REINDEX, ())
        self._writer.settle_all()
        for number, tombstones in audit(self._reader, self._verifier).tombstones:
            self._writer.perform(writing.SET_TOMBSTONES, (number, tombstones))
        self._writer.settle_all()
        return audited.damages

    def _mend_room(self, row: RoomRow) -> None:
        """Do something about a room whose name is not that of its id: one of the two is right, if entries say so."""
        if self._has_entries_of(row.number, row.id):
            return  # the name is lost: `put_room` brings it back, and until then nobody knows of the room
        others = {each.id for each in self._reader.rooms()}
        is_named = row.manifest.id not in others and self._has_entries_of(row.number, row.manifest.id)
        self._writer.perform(writing.MEND_ROOM, (row.number, row.manifest.id if is_named else None))

    def _has_entries_of(self, number: int, room: RoomID) -> bool:
        for feed in self._reader.feeds(number):
            chain = Chain(room, feed.origin)
            run = next(self._reader.runs(feed.number), None)
            if run is None:
                continue
            rows = self._reader.rows(feed.number, run.seq, min(run.last, run.seq + AT_ONCE))
            if any(chain.follow(each) is not None for each in rows):
                return True
        return False

    def flush(self, timeout_seconds: float = 5.0) -> bool:
        """Wait until all writes are durable; False if they are not after that time."""
        return self._writer.flush(timeout_seconds)

    def close(self) -> int:
        """Write what is queued and close; returns how many writes could not be done."""
        left = self._writer.close()
        self._reader.close()
        return left


class _ReadOnly:
    """A database without a writer."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.writer = self
        self.committed = self.position = 0

    def perform(self, program: Program, values: tuple[Any, ...], *, owner: Hashable = None, cost_bytes: int = 0) -> int:
        raise StorageFullError(self.path, "is open for reading only")

    def settle(self, owner: Hashable) -> None:
        """Nothing is queued."""

    def settle_all(self) -> None:
        """Nothing is queued."""


class HistoryLook(SQLiteHistory):
    """The histories of a file that may be in use, to be read and never written. `close_reader` closes it."""

    def __init__(self, path: str) -> None:
        """Open a file; StorageError if that is impossible."""
        super().__init__(_ReadOnly(path))
        self._reader.hold()
        self.damages: list[Damage] = []
        """What was found when something was read; it is not given out."""

    def _report(self, room: Room, damages: Sequence[Damage]) -> None:
        self.damages += damages

    def _not_repaired(self, room: Room, error: StorageFullError) -> None:
        """It was not meant to be."""


def is_broken(error: StorageError) -> bool:
    """Whether a file cannot be read because of what is in it."""
    return isinstance(error.__cause__, sqlite3.Error) and primary_code(error.__cause__) in _BROKEN


def _schema() -> list[tuple[Any, ...]]:
    """Return the tables and indexes that a file has."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(LOG)
        return connection.execute(_SCHEMA).fetchall()


def _put_aside(path: str) -> str:
    """Rename a file with its log; returns its new name."""
    to = f"{path}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    for number in itertools.count(1):
        if not os.path.lexists(to):
            break
        to = f"{to.partition('Z')[0]}Z-{number}"
    try:
        os.rename(path, to)
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{path}-wal", f"{to}-wal")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}-shm")
    except OSError as error:
        raise StorageError(path, f"is damaged, and cannot be put aside: {error.strerror}") from None
    return to

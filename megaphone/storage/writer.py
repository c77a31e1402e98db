"""The one thread of a process that writes: it commits what was queued, in order and in batches.

    put, remove ──► queue ──── taken whole ────► transaction ──► committed = position ──► on_committed(position)
                      ▲                              │
                      └ a write and its removal      └ while one runs, the next batch gathers
                        cancel each other here

Every write has a position, one more than the last. `committed` is the position up to which everything survives
`kill -9`. A disk that takes nothing any more stops the queue, not the service: what is queued stays and is tried
again, new writes get StorageFullError meanwhile, removals are still taken.

A statement is run for many rows at once where it can be: SQLite gives up the interpreter's lock for each call, and a
busy event loop is slow to give it back.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from megaphone import log
from megaphone.errors import StorageError, StorageFullError
from megaphone.storage.database import connect, in_words, primary_code

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

ROWS_LIMIT: Final = 100_000  # queued; removals may be as many again
BYTES_LIMIT: Final = 134_217_728  # of texts and blobs, queued
TRANSACTION_ROWS: Final = 4096  # at most, so that other processes get their turn
GATHER_SECONDS: Final = 0.005  # how long the first write of a batch waits for others, and for its own removal
RETRY_SECONDS: Final = 1.0  # between two attempts to write to a disk that refuses
FLUSH_SECONDS: Final = 5.0

_ROWS_AT_ONCE: Final = 128
_CLOSING_RETRY_SECONDS: Final = 0.05
# What may be better the next time; any other error means the row itself, and it is dropped.
_TRANSIENT: Final = frozenset(
    {
        *(
            sqlite3.SQLITE_FULL,
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_LOCKED,
            sqlite3.SQLITE_IOERR,
        ),
        *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_NOMEM),
        *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_ABORT),
    }
)

Value = str | bytes | int | float | None


class Statement(NamedTuple):
    """An SQL statement: `head`, `row` for each row with commas between, `tail`; no `row`: one row at a time."""

    head: str
    row: str = ""
    tail: str = ""

    def text(self, rows: int) -> str:
        """Return the SQL for so many rows at once."""
        return self.head + ", ".join([self.row] * rows) + self.tail


class _Write(NamedTuple):
    position: int
    statement: Statement
    values: tuple[Value, ...]
    cost_bytes: int


class Writer:
    """Queues writes for the thread that commits them. `put` and `remove` are for one thread, the event loop's."""

    def __init__(
        self,
        path: str,
        *,
        call_soon: Callable[[Callable[[int], object], int], object] | None = None,
        on_committed: Callable[[int], object] | None = None,
        rows_limit: int = ROWS_LIMIT,
        bytes_limit: int = BYTES_LIMIT,
        gather_seconds: float = GATHER_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """Start the thread. `call_soon(on_committed, position)` is called on it after each transaction."""
        self.path = path
        self.committed = 0
        self.trouble = ""  # why nothing can be written at the moment, in words
        self.dropped = 0  # rows that SQLite refused for themselves
        self._call_soon = call_soon
        self._on_committed = on_committed
        self._rows_limit = rows_limit
        self._bytes_limit = bytes_limit
        self._gather_seconds = gather_seconds
        self._retry_seconds = retry_seconds
        self._log = log.get_logger("storage")
        self._position = 0
        self._queue: dict[Hashable, _Write] = {}
        self._queued_bytes = 0
        self._owners: set[Hashable] = set()  # whose rows are queued
        self._owners_writing: set[Hashable] = set()  # whose rows are in the batch being written
        self._writing_rows = 0
        self._writing_bytes = 0
        self._hurry = False
        self._closing = False
        self._give_up_at = 0.0  # monotonic seconds, once it closes
        self._lock = threading.Lock()
        self._something_to_do = threading.Condition(self._lock)
        self._something_done = threading.Condition(self._lock)
        self._connection = connect(path)
        self._thread = threading.Thread(target=self._run, name="storage", daemon=True)
        self._thread.start()

    # --- for the event loop ------------------------------------------------------------

    def put(
        self, statement: Statement, values: tuple[Value, ...], *, owner: Hashable = None, key: Hashable = None
    ) -> int:
        """Queue a row and return its position; StorageFullError, and nothing is queued, if there is no room.

        `owner`: whose row it is, for `settle`. `key`: what `remove` may name it by; a second row of the same key takes
        the first one's place.
        """
        cost = sum(len(value) for value in values if isinstance(value, bytes | str))
        with self._lock:
            if self.trouble or self._closing:
                raise StorageFullError(self.path, self.trouble or "is being closed")
            if (
                len(self._queue) + self._writing_rows >= self._rows_limit
                or self._queued_bytes + self._writing_bytes + cost > self._bytes_limit
            ):
                raise StorageFullError(self.path, "too much is waiting to be written")
            return self._append(statement, values, owner, key, cost)

    def remove(
        self, statement: Statement, values: tuple[Value, ...], *, owner: Hashable = None, key: Hashable = None
    ) -> int:
        """Queue a removal, or cancel the write of this `key` that is still queued; returns a position.

        StorageFullError only when twice as many rows as usual are queued.
        """
        with self._lock:
            if key is not None and (queued := self._queue.pop(key, None)) is not None:
                self._queued_bytes -= queued.cost_bytes
                return self._position
            if len(self._queue) + self._writing_rows >= 2 * self._rows_limit:
                raise StorageFullError(self.path, self.trouble or "too much is waiting to be written")
            return self._append(statement, values, owner, None, 0)

    def settle(self, owner: Hashable) -> None:
        """Return when nothing of this owner is queued, so that it can be read; StorageError if that takes too long."""
        if owner in self._owners or owner in self._owners_writing:
            self.settle_all()

    def settle_all(self) -> None:
        """Return when nothing is queued; StorageError if that takes too long."""
        if self.queued and not self.flush():
            raise StorageError(self.path, self.trouble or f"nothing was written for {FLUSH_SECONDS:g} seconds")

    def flush(self, timeout_seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until all that is queued is committed; False when it is not after that time, or cannot be now."""
        deadline = time.monotonic() + timeout_seconds
        with self._lock:
            target = self._position
            while self.committed < target:
                self._hurry = True
                self._something_to_do.notify()
                left = deadline - time.monotonic()
                if left <= 0 or self.trouble or not self._thread.is_alive():
                    return False
                self._something_done.wait(min(left, 0.1))
            return True

    @property
    def position(self) -> int:
        """The position of the newest write."""
        return self._position

    @property
    def queued(self) -> int:
        """How many rows are not committed yet."""
        return len(self._queue) + self._writing_rows

    def close(self, timeout_seconds: float = FLUSH_SECONDS) -> int:
        """Commit what is queued and end the thread; returns how many rows could not be written in that time."""
        with self._lock:
            self._closing = True
            self._give_up_at = time.monotonic() + timeout_seconds
            self._something_to_do.notify()
        self._thread.join(timeout_seconds + RETRY_SECONDS)
        left = self.queued
        if left:
            self._log.error("not written", rows=left, file=self.path, reason=self.trouble or "there was no time")
        return left

    def _append(
        self, statement: Statement, values: tuple[Value, ...], owner: Hashable, key: Hashable, cost: int
    ) -> int:
        self._position = position = self._position + 1
        if key is None:
            key = position
        elif (replaced := self._queue.pop(key, None)) is not None:
            self._queued_bytes -= replaced.cost_bytes
        if not self._queue:
            self._something_to_do.notify()
        self._queue[key] = _Write(position, statement, values, cost)
        self._queued_bytes += cost
        if owner is not None:
            self._owners.add(owner)
        return position

    # --- the thread ------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                rows, last = batch
                for start in range(0, len(rows), TRANSACTION_ROWS):
                    slice_ = rows[start : start + TRANSACTION_ROWS]
                    rest = rows[start + TRANSACTION_ROWS : start + TRANSACTION_ROWS + 1]
                    if not self._commit(slice_):
                        return
                    self._done(slice_, rest[0].position - 1 if rest else last)
                if not rows:
                    self._done(rows, last)
        finally:
            self._connection.close()

    def _next_batch(self) -> tuple[list[_Write], int] | None:
        with self._lock:
            while self.committed == self._position and not self._queue and not self._closing:
                self._something_to_do.wait()
            if not self._closing and not self._hurry:
                self._something_to_do.wait(self._gather_seconds)
            if self._closing and not self._queue and self.committed == self._position:
                return None
            self._hurry = False
            rows = list(self._queue.values())
            self._queue = {}
            self._writing_rows, self._queued_bytes, self._writing_bytes = len(rows), 0, self._queued_bytes
            self._owners, self._owners_writing = set(), self._owners
            return rows, self._position

    def _done(self, rows: Sequence[_Write], position: int) -> None:
        with self._lock:
            self.committed = position
            self._writing_rows -= len(rows)
            self._writing_bytes -= sum(row.cost_bytes for row in rows)
            if not self._writing_rows:
                self._owners_writing = set()
            self._something_done.notify_all()
        if self._call_soon is not None and self._on_committed is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for it any more
                self._call_soon(self._on_committed, position)

    def _commit(self, rows: Sequence[_Write]) -> bool:
        """Write rows in one transaction, however often it takes; False when the writer closes before it succeeds."""
        one_by_one = False
        while True:
            try:
                self._transaction(rows, one_by_one)
            except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
                transient = isinstance(error, sqlite3.Error) and primary_code(error) in _TRANSIENT
                # what fails one by one, too, is no row: it is BEGIN or COMMIT
                if (transient or one_by_one) and not self._wait_for_better_times(_said(error)):
                    return False
                one_by_one = not transient
            else:
                if self.trouble:
                    self._log.warning("writing again", file=self.path)
                    self.trouble = ""
                return True

    def _transaction(self, rows: Sequence[_Write], one_by_one: bool) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            if one_by_one:
                for row in rows:
                    self._write_alone(row)
            else:
                for statement, run in itertools.groupby(rows, lambda row: row.statement):
                    self._write_run(statement, [row.values for row in run])
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _write_run(self, statement: Statement, rows: Sequence[tuple[Value, ...]]) -> None:
        execute = self._connection.execute
        if not statement.row:
            for values in rows:
                execute(statement.head, values)
            return
        start = 0
        while start < len(rows):  # powers of two: few different texts, which sqlite3 keeps compiled
            count = min(_ROWS_AT_ONCE, 1 << (len(rows) - start).bit_length() - 1)
            flat = tuple(itertools.chain.from_iterable(rows[start : start + count]))
            execute(statement.text(count), flat)
            start += count

    def _write_alone(self, row: _Write) -> None:
        """Write a row that may be the one SQLite refuses; if it is, say so and go on without it."""
        try:
            self._connection.execute(row.statement.text(1) if row.statement.row else row.statement.head, row.values)
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            if isinstance(error, sqlite3.Error) and primary_code(error) in _TRANSIENT:
                raise
            self.dropped += 1
            self._log.error("row refused", file=self.path, statement=row.statement.head[:60], reason=str(error))

    def _wait_for_better_times(self, reason: str) -> bool:
        with self._lock:
            if self.trouble != reason:
                self._log.error("cannot write", file=self.path, reason=reason, queued=self.queued)
            self.trouble = reason
            self._something_done.notify_all()  # nobody should wait for this
            self._something_to_do.wait(_CLOSING_RETRY_SECONDS if self._closing else self._retry_seconds)
            return not self._closing or time.monotonic() < self._give_up_at


def _said(error: Exception) -> str:
    return in_words(error) if isinstance(error, sqlite3.Error) else str(error)

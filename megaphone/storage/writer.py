"""The one thread of a process that writes: it commits what was queued, in order and in batches.

    put, remove ──► queue ──── taken whole ────► transaction ──► committed = position ──► on_committed(position)
                      ▲          ▲ and put_along     │
                      └ a write and its removal      └ while one runs, the next batch gathers
                        cancel each other here

Every write has a position, one more than the last. `committed` is the position up to which everything survives
`kill -9`. A disk that takes nothing any more stops the queue, not the service: what is queued stays and is tried
again, new writes get StorageFullError meanwhile, removals are still taken.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from megaphone import log
from megaphone.errors import StorageError, StorageFullError
from megaphone.storage.database import connect, in_words
from megaphone.storage.transaction import REFUSALS, Program, Write, is_transient, write_one_by_one, write_together

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from megaphone.storage.transaction import Statement, Value

ROWS_LIMIT: Final = 100_000  # queued; removals may be as many again
BYTES_LIMIT: Final = 134_217_728  # of texts and blobs, queued
TRANSACTION_ROWS: Final = 4096  # at most, so that other processes get their turn
GATHER_SECONDS: Final = 0.02  # how long the first write of a batch waits for others, and for its own removal
RETRY_SECONDS: Final = 1.0  # between two attempts to write to a disk that refuses
FLUSH_SECONDS: Final = 2.0  # less than a worker's heartbeat may be late
CLOSE_SECONDS: Final = 5.0

_CLOSING_RETRY_SECONDS: Final = 0.05


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
        pragmas: Sequence[str] = (),
    ) -> None:
        """Start the thread. `call_soon(on_committed, position)` is called on it after each transaction.

        `pragmas`: settings of its connection beside those that every connection has.
        """
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
        self._queue: dict[Hashable, Write] = {}
        self._along: dict[Hashable, tuple[Statement, tuple[Value, ...]]] = {}
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
        for pragma in pragmas:
            self._connection.execute(pragma)
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
        return self._put(statement, values, owner, key, cost)

    def put_along(self, statement: Statement, values: tuple[Value, ...], *, key: Hashable) -> None:
        """Write a row together with all that is queued, or else is queued next; without that it is not written.

        A second row of the same key takes the first one's place. It has no position.
        """
        with self._lock:
            self._along[key] = statement, values

    def perform(self, program: Program, values: tuple[Any, ...], *, owner: Hashable = None, cost_bytes: int = 0) -> int:
        """Queue a program as `put` queues a row; `cost_bytes` is what its values take."""
        return self._put(program, values, owner, None, cost_bytes)

    def _put(
        self, statement: Statement | Program, values: tuple[Any, ...], owner: Hashable, key: Hashable, cost: int
    ) -> int:
        with self._lock:
            self.check_room(cost)
            return self._append(statement, values, owner, key, cost)

    def check_room(self, cost_bytes: int) -> None:
        """Raise StorageFullError if `put` would take no row of that many bytes now."""
        if self.trouble or self._closing:
            raise StorageFullError(self.path, self.trouble or "is being closed")
        waiting_bytes = self._queued_bytes + self._writing_bytes
        if self._rows() >= self._rows_limit or waiting_bytes + cost_bytes > self._bytes_limit:
            raise StorageFullError(self.path, "too much is waiting to be written")

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
            if self._rows() >= 2 * self._rows_limit:
                raise StorageFullError(self.path, self.trouble or "too much is waiting to be written")
            return self._append(statement, values, owner, None, 0)

    def settle(self, owner: Hashable) -> None:
        """Return when nothing of this owner is queued, so that it can be read; StorageError if that takes too long."""
        if owner in self._owners or owner in self._owners_writing:
            self.settle_all()

    def settle_all(self) -> None:
        """Return when nothing is queued; StorageError if that takes too long."""
        if self.committed < self._position and not self.flush():
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
        with self._lock:
            return self._rows()

    def close(self, timeout_seconds: float = CLOSE_SECONDS) -> int:
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

    def _rows(self) -> int:
        return len(self._queue) + self._writing_rows

    def _append(
        self, statement: Statement | Program, values: tuple[Any, ...], owner: Hashable, key: Hashable, cost: int
    ) -> int:
        self._position = position = self._position + 1
        if key is None:
            key = position
        elif (replaced := self._queue.pop(key, None)) is not None:
            self._queued_bytes -= replaced.cost_bytes
        if not self._queue:
            self._something_to_do.notify()
        self._queue[key] = Write(position, statement, values, cost)
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

    def _next_batch(self) -> tuple[list[Write], int] | None:
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
            if rows:  # last, and behind all positions
                rows += [Write(self._position + 1, *each, 0) for each in self._along.values()]
                self._along = {}
            self._writing_rows, self._queued_bytes, self._writing_bytes = len(rows), 0, self._queued_bytes
            # in this order: `settle` looks without the lock
            self._owners_writing = self._owners
            self._owners = set()
            return rows, self._position

    def _done(self, rows: Sequence[Write], position: int) -> None:
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

    def _commit(self, rows: Sequence[Write]) -> bool:
        """Write rows in one transaction, however often it takes; False when the writer closes before it succeeds."""
        one_by_one = False
        while True:
            try:
                if one_by_one:
                    write_one_by_one(self._connection, rows, self._refused)
                else:
                    write_together(self._connection, rows)
            except REFUSALS as error:
                transient = is_transient(error)
                # what fails one by one, too, is no row: it is BEGIN or COMMIT
                if (transient or one_by_one) and not self._wait_for_better_times(_said(error)):
                    return False
                one_by_one = not transient
            else:
                if self.trouble:
                    self._log.warning("writing again", file=self.path)
                    self.trouble = ""
                return True

    def _refused(self, row: Write, error: Exception) -> None:
        self.dropped += 1
        name = row.statement.name if isinstance(row.statement, Program) else row.statement.head[:60]
        self._log.error("row refused", file=self.path, statement=name, reason=str(error))

    def _wait_for_better_times(self, reason: str) -> bool:
        with self._lock:
            if self.trouble != reason:
                self._log.error("cannot write", file=self.path, reason=reason, queued=self._rows())
            self.trouble = reason
            self._something_done.notify_all()  # nobody should wait for this
            self._something_to_do.wait(_CLOSING_RETRY_SECONDS if self._closing else self._retry_seconds)
            return not self._closing or time.monotonic() < self._give_up_at


def _said(error: Exception) -> str:
    return in_words(error) if isinstance(error, sqlite3.Error) else str(error)

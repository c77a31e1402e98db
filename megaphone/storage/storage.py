"""The database as one process has it open: a connection that reads, the writer, and what all its stores share."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final

from megaphone.storage.database import connect, database_path, words
from megaphone.storage.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

WORKERS_LIMIT: Final = 1024
SECRET_BYTES: Final = 32


class Storage:
    """Reads answer at once, writes are queued. For one thread, but for the writer's own.

    `on_committed(position)` is called through `call_soon`, such as a loop's `call_soon_threadsafe`, when everything up
    to that position is safe from `kill -9`.
    """

    def __init__(
        self,
        directory: str,
        *,
        worker: int = 0,
        call_soon: Callable[[Callable[[int], object], int], object] | None = None,
        on_committed: Callable[[int], object] | None = None,
        **limits: Any,
    ) -> None:
        """Open a database that `prepare` has made; StorageError if that is impossible. `limits` are the writer's.

        `worker` is a number below 1,024 that no other process has which is open at the same time.
        """
        self.path = database_path(directory)
        with contextlib.ExitStack() as opened, words(self.path):
            self._reader = connect(self.path, read_only=True)
            opened.callback(self._reader.close)
            ((newest,),) = self._reader.execute("SELECT ifnull(max(id), 0) FROM spool").fetchall()
            self.writer = Writer(self.path, call_soon=call_soon, on_committed=on_committed, **limits)
            opened.pop_all()
        # Microseconds: nobody writes more than one row in each, so that a later opening begins above all earlier ones.
        start = max(time.time_ns() // 1000, newest // WORKERS_LIMIT + 1)
        self.opening: int = int(start) * WORKERS_LIMIT + worker
        self._last_id: int = self.opening

    @property
    def last_id(self) -> int:
        """The number that was given last."""
        return self._last_id

    def go_on_from(self, opening: int, last_id: int) -> None:
        """Be the process that had the database open so: what it held is held by us (see storage.users)."""
        self.opening = opening
        self._last_id = max(self._last_id, last_id)

    def next_id(self) -> int:
        """Return a number below 2**63 that no other process gives, greater than all before it."""
        self._last_id += WORKERS_LIMIT
        return self._last_id

    def read(self, query: str, values: Sequence[object] = (), *, owner: Hashable = None) -> list[tuple[Any, ...]]:
        """Return all rows; what is queued of `owner`'s is written first. StorageError if either is impossible."""
        if owner is not None:
            self.writer.settle(owner)
        with words(self.path):
            return self._reader.execute(query, values).fetchall()

    def secret(self, name: str) -> bytes:
        """Return 32 random bytes that are the same for every process and after every restart."""
        found = self.read("SELECT value FROM secret WHERE name = ?", (name,))
        if not found:
            with words(self.path), contextlib.closing(connect(self.path)) as connection:
                connection.execute(
                    "INSERT INTO secret (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING",
                    (name, secrets.token_bytes(SECRET_BYTES)),
                )
            found = self.read("SELECT value FROM secret WHERE name = ?", (name,))
        return bytes(found[0][0])

    def close(self) -> int:
        """Write what is queued and close; returns how many rows could not be written."""
        left = self.writer.close()
        with contextlib.suppress(sqlite3.Error):
            self._reader.close()
        return left

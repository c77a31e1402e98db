"""The replicated rows of a node's database for a loop that may not wait: reads in a thread, writes with all others."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, TypeVar

from megaphone.errors import StorageError, StorageFullError
from megaphone.storage import replicated
from megaphone.storage.database import connect, words
from megaphone.storage.transaction import Program

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from megaphone.storage.replicated import Unsent
    from megaphone.storage.storage import Storage

_T = TypeVar("_T")

ROWS_AT_ONCE: Final = 256
NUMBERS_AT_ONCE: Final = 4096
AGAIN_SECONDS: Final = 1.0  # when the disk takes nothing, or another process goes on


class RowsOnDisk:
    """The rows of one node, whose writes count from now on. StorageError if its database cannot be written.

    `when_written(work)` calls `work` when all that is queued for the disk is there. While it is `resting`, another
    process goes on, and nothing is written.
    """

    def __init__(
        self,
        storage: Storage,
        origin: bytes,
        when_written: Callable[[Callable[[], object]], None],
        resting: Callable[[], bool],
    ) -> None:
        self._storage = storage
        self._when_written = when_written
        self._resting = resting
        with words(storage.path), contextlib.closing(connect(storage.path)) as connection:
            replicated.enable(connection, origin)
        with words(storage.path):
            self._reader = connect(storage.path, read_only=True)

    async def unsent(self) -> list[Unsent]:
        """Return the next rows that the store is to be told."""
        return await self._read(replicated.unsent, ROWS_AT_ONCE)

    async def numbers_after(self, after: int) -> list[int]:
        """Return the next numbers of versions."""
        return await self._read(replicated.numbers_after, after, NUMBERS_AT_ONCE)

    async def told_before(self) -> int:
        """Return how many rows the store should have at least."""
        return await self._read(replicated.told_before)

    async def _read(self, run: Callable[..., _T], *values: Any) -> _T:
        def read() -> _T:
            with words(self._storage.path):
                return run(self._reader, *values)

        return await asyncio.to_thread(read)

    async def perform(self, run: Callable[..., _T], *values: Any) -> _T:
        """Run this on the connection that writes, in turn with all other writes; its result when that is committed.

        While the disk takes nothing it waits. StorageError if the database refuses just this.
        """
        results: list[_T] = []

        def perform(connection: sqlite3.Connection) -> None:
            results[:] = [run(connection, *values)]  # perhaps again, after a transaction that failed

        while not self._queue(Program("replicated rows", perform)):  # noqa: ASYNC110 - nobody says when
            await asyncio.sleep(AGAIN_SECONDS)
        written = asyncio.Event()
        self._when_written(written.set)
        await written.wait()
        if not results:
            raise StorageError(self._storage.path, "refuses what other nodes have written")
        return results[0]

    def _queue(self, program: Program, values: Sequence[Any] = ()) -> bool:
        if self._resting():
            return False
        try:
            self._storage.writer.perform(program, tuple(values))
        except StorageFullError:
            return False
        return True

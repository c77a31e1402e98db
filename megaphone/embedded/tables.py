"""Carries this node's replicated rows to the store that all nodes share, and theirs from there; in worker 0 only.

    row_version, unsent ─► put, if the store is as we last saw it ─► told
                              └─ it is not ─► get ─► apply ─► ours counts: unsent again
    the store ─► read, all of it, then every change ─► apply ─► what a running service has in memory is read again

The nodes' databases are the truth, the store is how they hear of each other. Whenever it was away all of it is read,
and what it has not got, or has in an older version, is told again: so it may be empty, older, or damaged. One bit is
kept per row meanwhile, and no more rows at once than one batch.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from megaphone import log
from megaphone.bus.keys import Keys
from megaphone.bus.keys_reading import Reading
from megaphone.errors import BucketMissingError, BusError, RowError, StorageError, StorageFullError, WrongRevisionError
from megaphone.history.clock import Clock, milliseconds
from megaphone.storage import replicated
from megaphone.storage.database import connect, words
from megaphone.storage.replicated import Applied, Found, Heard, Lost, Told, Unsent
from megaphone.storage.replicated_row import ORIGIN_BYTES, decode_row, encode_row, key_of
from megaphone.storage.transaction import Program

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from megaphone.bus.keys import Change
    from megaphone.bus.nats import NATSBus
    from megaphone.storage.storage import Storage

_T = TypeVar("_T")

VALUE_LIMIT_BYTES: Final = 1_000_000
ROWS_AT_ONCE: Final = 256
PUTS_AT_ONCE: Final = 64
NUMBERS_AT_ONCE: Final = 4096
PAUSE_SECONDS: Final = 0.002  # between two batches: other work of this worker has its turn
_AGAIN_SECONDS: Final = 0.1  # after the store was away, and then twice as long, until
_LONGEST_PAUSE_SECONDS: Final = 5.0
_FULL_SECONDS: Final = 1.0
_DROP_SECONDS: Final = 3600.0  # between two times at which old deletions are forgotten
_DAY_SECONDS: Final = 86_400


def bucket_of(cluster: str) -> str:
    """Return the name of the bucket of a cluster's rows."""
    return f"mp-{cluster}-rows"


@dataclass(slots=True)
class Counts:
    """What was done since the start: versions heard, those that counted, those told, those refused."""

    heard: int = 0
    applied: int = 0
    told: int = 0
    refused: int = 0


class Seen:
    """Numbers of versions that the store has been found to have: one bit each."""

    __slots__ = ("_bits",)

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, number: int) -> None:
        """Take note of one."""
        at = number >> 3
        if at >= len(self._bits):
            self._bits.extend(bytes(max(at + 1 - len(self._bits), 4096)))
        self._bits[at] |= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        at = number >> 3
        return at < len(self._bits) and bool(self._bits[at] >> (number & 7) & 1)


class Tables:
    """The rows of one node. StorageError if its database cannot be written.

    `node_key` is the node's public key. `when_written(work)` calls `work` when all that is queued for the disk is
    there. `changed` is told what has been written here of other nodes' rows. While it is `resting`, another process of
    this worker goes on, and nothing is written.
    """

    def __init__(
        self,
        storage: Storage,
        bus: NATSBus,
        node_key: bytes,
        *,
        when_written: Callable[[Callable[[], object]], None],
        changed: Callable[[Applied], None],
        resting: Callable[[], bool] = lambda: False,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self.counts = Counts()
        self.whole = False
        """Whether all that the store has was read, and what it had not was told or is unsent, since it was away."""
        self.trouble = ""
        """Why the store cannot be used at the moment."""
        self._storage = storage
        self._when_written = when_written
        self._changed = changed
        self._resting = resting
        self._pause_seconds = pause_seconds
        self._log = log.get_logger("tables")
        self._seen = Seen()
        self._wake = asyncio.Event()
        self._versions_given = asyncio.Event()
        self._data_version = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._bus = bus
        self._keys = Keys(
            bus.connection,
            bus.prefix,
            bucket_of(bus.cluster),
            value_limit_bytes=VALUE_LIMIT_BYTES,
            bucket_limit_bytes=-1,
        )
        with words(storage.path), contextlib.closing(connect(storage.path)) as connection:
            replicated.enable(connection, node_key[:ORIGIN_BYTES])
        with words(storage.path):
            self._reader = connect(storage.path, read_only=True)

    # --- life ------------------------------------------------------------

    def sweep(self) -> None:
        """Begin, and look whether anybody has written; called 8 times a second."""
        if not self._tasks:
            self._bus.connection.listeners.append(self._connection_changed)
            self._tasks = [asyncio.create_task(work) for work in (self._hear_on(), self._tell_on())]
        with contextlib.suppress(StorageError):
            ((version,),) = self._storage.read("PRAGMA data_version")
            if version != self._data_version:
                self._data_version = version
                self._wake.set()

    def close(self) -> None:
        """End it."""
        for task in self._tasks:
            task.cancel()
        if self._connection_changed in self._bus.connection.listeners:
            self._bus.connection.listeners.remove(self._connection_changed)
        self._keys.close()

    def _connection_changed(self, up: bool, _: str) -> None:
        if up:
            self._wake.set()

    # --- what the store says ------------------------------------------------------------

    async def _hear_on(self) -> None:
        while await self._perform(replicated.give_versions):  # noqa: ASYNC110 - it is work, not an event
            await asyncio.sleep(self._pause_seconds)
        self._versions_given.set()
        pause = _AGAIN_SECONDS
        while True:
            try:
                await self._hear_all()
            except BucketMissingError:
                with contextlib.suppress(BusError):
                    await self._keys.create_bucket()
            except (BusError, StorageError) as error:
                self._say(str(error))
            if self.whole:
                pause = _AGAIN_SECONDS
            self.whole = False
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _hear_all(self) -> None:
        """Read the store, then its changes; BusError when any may have been missed."""
        self._seen = Seen()
        reading = Reading(self._keys)
        try:
            await reading.open()
            while True:
                if reading.pending == 0 and not self.whole:
                    await self._tell_unseen()
                    self.whole = True
                    self._say("")
                await self._hear(await reading.next())
                if not self.whole:
                    await asyncio.sleep(self._pause_seconds)
        finally:
            await reading.close()

    async def _hear(self, changes: Sequence[Change]) -> None:
        heard: list[Heard] = []
        for change in changes:
            if change.value is None:
                continue  # the store forgets an old deletion, or loses a row: that is no word about the row
            try:
                heard.append(Heard(decode_row(change.key, change.value), change.revision))
            except RowError as error:
                self._refuse(str(error))
        if heard:
            await self._apply(heard)

    async def _apply(self, heard: Sequence[Heard]) -> None:
        applied = await self._perform(replicated.apply, heard, time.time_ns() // 1_000_000)
        self.counts.heard += len(heard)
        for found, number in applied.found:
            if number:
                self._seen.add(number)
            self.counts.applied += found in (Found.THEIRS, Found.MIXED)
        for reason in applied.refusals:
            self._refuse(reason)
        if applied.users or applied.rooms or applied.secrets:
            self._changed(applied)

    async def _tell_unseen(self) -> None:
        """Let everything be told that the store has not got."""
        after = 0
        while numbers := await asyncio.to_thread(self._numbers_after, after):
            after = numbers[-1]
            unseen = [number for number in numbers if number not in self._seen]
            if unseen:
                await self._perform(replicated.tell_again, unseen)
            await asyncio.sleep(self._pause_seconds)
        self._wake.set()

    # --- what is told to it ------------------------------------------------------------

    async def _tell_on(self) -> None:
        loop = asyncio.get_running_loop()
        await self._versions_given.wait()
        drop_at = loop.time() + _DROP_SECONDS
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, drop_at - loop.time())):
                    await self._wake.wait()
            self._wake.clear()
            try:
                if loop.time() >= drop_at and self.whole:
                    drop_at = loop.time() + _DROP_SECONDS
                    await self._drop_deleted()
                while self._bus.up and (rows := await asyncio.to_thread(self._unsent)):
                    await self._tell(rows)
                    await asyncio.sleep(self._pause_seconds)
            except (BusError, StorageError) as error:
                self._say(str(error))
                await asyncio.sleep(_FULL_SECONDS)
                self._wake.set()

    async def _tell(self, rows: Sequence[Unsent]) -> None:
        for start in range(0, len(rows), PUTS_AT_ONCE):
            some = rows[start : start + PUTS_AT_ONCE]
            results = await asyncio.gather(*(self._put(each) for each in some), return_exceptions=True)
            told = [result for result in results if isinstance(result, Told)]
            heard = [result for result in results if isinstance(result, Heard)]
            lost = [result for result in results if isinstance(result, Lost)]
            if told:
                await self._perform(replicated.told, told)
            if heard:
                await self._apply(heard)
            if lost:
                await self._perform(replicated.lost, lost)
            for result in results:
                if isinstance(result, BaseException):
                    raise result

    async def _put(self, unsent: Unsent) -> Told | Heard | Lost:
        """Tell one row; what the store has now, which may be another version, or nothing."""
        row = unsent.row
        key, value = key_of(row.kind, row.owner, row.item), encode_row(row)
        lease = 0
        if row.columns is None:
            written = milliseconds(Clock(row.clock)) / 1000
            lease = int(written + replicated.DELETIONS_KEPT_DAYS * _DAY_SECONDS - time.time())
        if len(value) > VALUE_LIMIT_BYTES or lease < 0:
            if lease >= 0:
                self._log.error("row too large to be told", key=key, bytes=len(value))
            return Told(unsent.number, unsent.revision, row)
        try:
            revision = await self._keys.put(key, value, revision=unsent.revision, lease_seconds=lease)
        except WrongRevisionError:
            found = await self._keys.get(key)
            if found is None or found.value is None:
                return Lost(unsent.number, 0 if found is None else found.revision)
            try:
                return Heard(decode_row(key, found.value), found.revision)
            except RowError as error:  # nobody can read it: ours goes in its place
                self._refuse(str(error))
                return Lost(unsent.number, found.revision)
        self._seen.add(unsent.number)
        self.counts.told += 1
        return Told(unsent.number, revision, row)

    async def _drop_deleted(self) -> None:
        dropped = ROWS_AT_ONCE
        while dropped == ROWS_AT_ONCE:
            dropped = await self._perform(replicated.drop_deleted, time.time_ns() // 1_000_000, ROWS_AT_ONCE)
            await asyncio.sleep(self._pause_seconds)

    # --- the database ------------------------------------------------------------

    def _unsent(self) -> list[Unsent]:
        with words(self._storage.path):
            return replicated.unsent(self._reader, ROWS_AT_ONCE)

    def _numbers_after(self, after: int) -> list[int]:
        with words(self._storage.path):
            return replicated.numbers_after(self._reader, after, NUMBERS_AT_ONCE)

    async def _perform(self, run: Callable[..., _T], *values: Any) -> _T:
        """Run this on the connection that writes, in turn with all other writes; its result when that is committed.

        While the disk takes nothing it waits. StorageError if the database refuses just this.
        """
        results: list[_T] = []

        def perform(connection: sqlite3.Connection) -> None:
            results[:] = [run(connection, *values)]  # perhaps again, after a transaction that failed

        while self._resting():  # noqa: ASYNC110 - mostly for good
            await asyncio.sleep(_FULL_SECONDS)
        while True:
            try:
                self._storage.writer.perform(Program("replicated rows", perform), ())
                break
            except StorageFullError as error:
                self._say(str(error))
                await asyncio.sleep(_FULL_SECONDS)
        written = asyncio.Event()
        self._when_written(written.set)
        await written.wait()
        if not results:
            raise StorageError(self._storage.path, "refuses what other nodes have written")
        return results[0]

    # --- what is said of it ------------------------------------------------------------

    def _refuse(self, reason: str) -> None:
        self.counts.refused += 1
        self._log.warning("row refused", reason=reason)

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            if trouble:
                self._log.warning("rows are not shared at the moment", reason=trouble)
            else:
                self._log.info("rows are shared")

"""Carries this node's replicated rows to the store that all nodes share, and theirs from there; in worker 0 only.

    row_version, unsent ─► put, if the store is as we last saw it ─► told
                              └─ it is not ─► get ─► apply ─► ours counts: unsent again
    the store ─► read, all of it, then every change ─► apply ─► what a running service has in memory is read again

The nodes' databases are the truth, the store is how they hear of each other. At the start all of it is read, and what
it has not got, or has in an older version, is told again: so it may be empty, older, or damaged. When it was away that
is done again, or what is new is enough, if it is sure to be the same (embedded.store_view).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from megaphone import log
from megaphone.bus.keys import Keys
from megaphone.bus.keys_reading import Reading
from megaphone.dispatch.cluster_slots import ClusterSlot
from megaphone.embedded.rows_on_disk import NUMBERS_AT_ONCE, ROWS_AT_ONCE, RowsOnDisk
from megaphone.embedded.store_view import MARKS, StoreView
from megaphone.errors import BucketMissingError, BusError, KeysError, RowError, StorageError, WrongRevisionError
from megaphone.history.clock import Clock, milliseconds
from megaphone.storage import replicated
from megaphone.storage.replicated import Applied, Found, Heard, Lost, Told, Unsent
from megaphone.storage.replicated_row import ORIGIN_BYTES, decode_row, encode_row, key_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from megaphone.bus.keys import Change
    from megaphone.bus.nats import NATSBus
    from megaphone.storage.storage import Storage

VALUE_LIMIT_BYTES: Final = 1_000_000
AHEAD_LIMIT: Final = 256  # rows that wait for their time; others are heard when all is read again
PAUSE_SECONDS: Final = 0.002  # between two batches: other work of this worker has its turn
_AGAIN_SECONDS: Final = 0.1  # after the store was away, and then twice as long, until
_LONGEST_PAUSE_SECONDS: Final = 5.0
_FULL_SECONDS: Final = 1.0
_AHEAD_SECONDS: Final = 5.0  # between two looks at rows whose clock is ahead
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
        self._disk = RowsOnDisk(storage, node_key[:ORIGIN_BYTES], when_written, resting)
        self._changed = changed
        self._pause_seconds = pause_seconds
        self._log = log.get_logger("tables")
        self._view = StoreView(node_key[:ORIGIN_BYTES])
        self._ahead: dict[str, Heard] = {}  # rows of a time that has not come yet, by key
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

    @property
    def counted(self) -> dict[int, int]:
        """What metrics show."""
        return {
            ClusterSlot.ROWS_TOLD: self.counts.told,
            ClusterSlot.ROWS_HEARD: self.counts.heard,
            ClusterSlot.ROWS_APPLIED: self.counts.applied,
            ClusterSlot.ROWS_REFUSED: self.counts.refused,
        }

    # --- life ------------------------------------------------------------

    def sweep(self) -> None:
        """Begin, and look whether anybody has written; called 8 times a second."""
        if not self._tasks:
            self._bus.connection.listeners.append(self._connection_changed)
            works = (self._hear_on, self._tell_on, self._hear_again)
            self._tasks = [asyncio.create_task(self._go_on(work)) for work in works]
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

    async def _go_on(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do this until we are closed: a mistake of ours is told, and the work begins anew."""
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - whatever it is, rows must go on
                self._log.error("internal error", exc_info=error)
                await asyncio.sleep(_LONGEST_PAUSE_SECONDS)

    # --- what the store says ------------------------------------------------------------

    async def _hear_on(self) -> None:
        while await self._disk.perform(replicated.give_versions):  # noqa: ASYNC110 - it is work, not an event
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
        """Read the store, or what is new in it, then its changes; BusError when any may have been missed."""
        mark = await self._mark()
        self._view.begin(from_mark=bool(mark))
        reading = Reading(self._keys, after=mark)
        try:
            await reading.open()
            while True:
                if reading.pending == 0 and not self.whole:
                    await (self._tell_expected() if mark else self._tell_unseen())
                    self.whole = True
                    self._say("")
                if self.whole and self._view.mark_due:
                    await self._put_mark()
                await self._hear(await reading.next())
                if not self.whole:
                    await asyncio.sleep(self._pause_seconds)
        finally:
            await reading.close()

    async def _hear(self, changes: Sequence[Change]) -> None:
        heard: list[Heard] = []
        for change in self._view.rows_of(changes):
            try:
                heard.append(Heard(decode_row(change.key, change.value or b""), change.revision))
            except RowError as error:
                self._refuse(str(error))
        if heard:
            await self._apply(heard)
        self._view.heard(changes)

    async def _apply(self, heard: Sequence[Heard]) -> Applied:
        applied = await self._disk.perform(replicated.apply, heard, time.time_ns() // 1_000_000)
        self.counts.heard += len(heard)
        for found, number in applied.found:
            if number:
                self._view.found(number)
            self.counts.applied += found in (Found.THEIRS, Found.MIXED)
        for reason in applied.refusals:
            self._refuse(reason)
        for each, (found, _) in zip(heard, applied.found, strict=True):
            if found is Found.REFUSED and replicated.is_ahead(each.row, time.time_ns() // 1_000_000):
                self._wait_for(each)
        if applied.users or applied.rooms or applied.secrets:
            self._changed(applied)
        if any(found is not Found.SAME for found, _ in applied.found):
            self._wake.set()
        return applied

    def _wait_for(self, heard: Heard) -> None:
        """Hear a row again when its time has come."""
        row = heard.row
        key = key_of(row.kind, row.owner, row.item)
        if key in self._ahead or len(self._ahead) < AHEAD_LIMIT:
            self._ahead[key] = heard

    async def _hear_again(self) -> None:
        """Take the rows whose clock was ahead and is no longer."""
        while True:
            await asyncio.sleep(_AHEAD_SECONDS)
            now_ms = time.time_ns() // 1_000_000
            due = [key for key, heard in self._ahead.items() if not replicated.is_ahead(heard.row, now_ms)]
            if due:
                with contextlib.suppress(StorageError):
                    await self._apply([self._ahead.pop(key) for key in due])

    async def _tell_unseen(self) -> None:
        """Let everything be told that the store has not got."""
        after = 0
        while numbers := await self._disk.numbers_after(after):
            after = numbers[-1]
            await self._tell_again(numbers)
            await asyncio.sleep(self._pause_seconds)
        self._wake.set()

    async def _tell_expected(self) -> None:
        """Let what we had found after the mark be told again if the store has not got it any more.

        What it has lost from before the mark shows by its number of keys: then all is read, after an error.
        """
        expected = self._view.expected
        for start in range(0, len(expected), NUMBERS_AT_ONCE):
            await self._tell_again(expected[start : start + NUMBERS_AT_ONCE])
        if await self._keys.count(besides=f"{MARKS}*") < await self._disk.told_before():
            self._view.mark = None
            raise KeysError("the store has lost some of its keys")
        self._wake.set()

    async def _tell_again(self, numbers: Sequence[int]) -> None:
        unseen = self._view.unseen(numbers)
        if unseen:
            await self._disk.perform(replicated.tell_again, unseen)

    # --- where a reading may go on ------------------------------------------------------------

    async def _mark(self) -> int:
        """Return the revision from which the store is as we knew it; 0 if that is not sure."""
        mark = self._view.mark
        if mark is None:
            return 0
        found = await self._keys.get(self._view.mark_key)
        return mark[0] if found is not None and (found.revision, found.value) == mark else 0

    async def _put_mark(self) -> None:
        value = os.urandom(16)
        self._view.put_mark(value)
        await self._keys.put(self._view.mark_key, value)

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
                while self._bus.up and (rows := await self._disk.unsent()):
                    await self._tell(rows)
                    await asyncio.sleep(self._pause_seconds)
            except (BusError, StorageError) as error:
                self._say(str(error))
                await asyncio.sleep(_FULL_SECONDS)
                self._wake.set()

    async def _tell(self, rows: Sequence[Unsent]) -> None:
        results = await asyncio.gather(*(self._put(each) for each in rows), return_exceptions=True)
        told = [result for result in results if isinstance(result, Told)]
        lost = [result for result in results if isinstance(result, Lost)]
        others = [(row, result) for row, result in zip(rows, results, strict=True) if isinstance(result, Heard)]
        if others:
            applied = await self._apply([heard for _, heard in others])
            for (unsent, _), (found, _) in zip(others, applied.found, strict=True):
                if found is Found.REFUSED:  # the store keeps what it has; ours is told when all is read again
                    told.append(Told(unsent.number, unsent.revision, unsent.row))
        if told:
            await self._disk.perform(replicated.told, told)
        if lost:
            await self._disk.perform(replicated.lost, lost)
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
        self._view.told(unsent.number, revision)
        self.counts.told += 1
        return Told(unsent.number, revision, row)

    async def _drop_deleted(self) -> None:
        dropped = ROWS_AT_ONCE
        while dropped == ROWS_AT_ONCE:
            dropped = await self._disk.perform(replicated.drop_deleted, time.time_ns() // 1_000_000, ROWS_AT_ONCE)
            await asyncio.sleep(self._pause_seconds)

    # --- what is said of it ------------------------------------------------------------

    def _refuse(self, reason: str) -> None:
        self.counts.refused += 1
        self._view.doubt()
        self._log.warning("row refused", reason=reason)

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            if trouble:
                self._log.warning("rows are not shared at the moment", reason=trouble)
            else:
                self._log.info("rows are shared")

"""Copies what can be read of a damaged file of histories, entry by checked entry: nobody else may have it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from megaphone.errors import HistoryError, StorageError
from megaphone.history.batch import Batch, sealed
from megaphone.storage.history_reading import Reader
from megaphone.storage.history_rows import Chain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from megaphone.history.ports import Placed, Verifier
    from megaphone.storage.history import SQLiteHistory
    from megaphone.storage.history_rows import FeedRow, RoomRow

AT_ONCE: Final = 256  # entries


def salvage(path: str, store: SQLiteHistory, verifier: Verifier | None) -> int:
    """Copy what can be read of a damaged file, entry by checked entry; returns how many entries."""
    try:
        reader = Reader(path)
    except StorageError:
        return 0
    copied = 0
    try:
        for room in reader.rooms():
            if not room.is_good:
                continue
            store.put_room(room.manifest)
            for feed in reader.feeds(room.number):
                with contextlib.suppress(StorageError, HistoryError):
                    copied += _salvage_feed(reader, room, feed, store, verifier)
                store.keep_tip(room.id, feed.origin, feed.tip)
    except (StorageError, HistoryError):
        pass  # the rest cannot be read
    finally:
        reader.close()
    return copied


def _salvage_feed(reader: Reader, room: RoomRow, row: FeedRow, store: SQLiteHistory, verifier: Verifier | None) -> int:
    try:
        seals = dict(reader.seals(row.number))
    except StorageError:
        seals = {}
    copied = 0
    for placed in _readable(reader, room, row):
        last = placed[-1]
        seal = seals.get(last.seq, b"")
        if verifier is not None and seal and not verifier(row.origin, seal, sealed(last.id)):
            seal = b""
        batch = Batch(
            room.id, row.origin, placed[0].seq, placed[0].previous, tuple(each.entry for each in placed), seal
        )
        if row.excluded is None or last.seq < row.excluded:
            store.put(batch, [each.id for each in placed])
            copied += len(placed)
    if row.excluded is not None:
        store.exclude(room.id, row.origin, row.excluded, row.proof)
    return copied


def _readable(reader: Reader, room: RoomRow, row: FeedRow) -> Iterator[list[Placed]]:
    """Yield consecutive good entries, some at a time; pages that cannot be read are left out."""
    try:
        seals = {seq for seq, _ in reader.seals(row.number)}
    except StorageError:
        seals = set()
    for run in _readable_runs(reader, row.number):
        for first in range(run[0], run[1] + 1, AT_ONCE):
            last = min(run[1], first + AT_ONCE - 1)
            rows = []
            try:
                rows = reader.rows(row.number, max(1, first - 1), last)
            except StorageError:
                for seq in range(first, last + 1):
                    with contextlib.suppress(StorageError):
                        rows += reader.rows(row.number, seq, seq)
            chain = Chain(room.id, row.origin)
            good: list[Placed] = []
            for each in rows:
                placed = chain.follow(each)
                if placed is None or placed.seq < first or (good and placed.seq != good[-1].seq + 1):
                    if good:
                        yield good
                    good = []
                if placed is None or placed.seq < first:
                    continue
                good.append(placed)
                if placed.seq in seals:
                    yield good
                    good = []
            if good:
                yield good


def _readable_runs(reader: Reader, feed: int) -> Iterator[tuple[int, int]]:
    """Yield first and last seq of the runs of a feed, as far as they can be read, and none of them absurd."""
    try:
        ((most,),) = reader.read("SELECT ifnull(max(n), 0) FROM log_entry")
        for run in reader.runs(feed):
            yield run.seq, min(run.last, run.seq + most)
    except StorageError:
        return

"""What is sent to those who ask: entries of feeds, the last of each first, in pages that can be vouched for.

    feed   1 ─────────────────── 1,024 ────────────────── 2,048 ─── 2,100
           └ third, unsealed:         └ second, unsealed:      └ first, with the seal of 2,100
             its last id is what        its last id is what
             the second goes on from    the first goes on from

So a receiver can check each page when it comes, and has the newest first. Where an older seal lies at hand it goes
along: a proof that an origin has forked its feed is as long as the way to the next seal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from megaphone.history import batch as batches
from megaphone.history import clock as clocks
from megaphone.history.batch import ENTRY_ROOM, MAX_ENTRIES, Batch
from megaphone.history.messages import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from megaphone.history.entry import EntryID, Origin
    from megaphone.history.manifest import RoomID
    from megaphone.history.ports import EntryStore, Placed, Span

READ_AT_ONCE: Final = 128
"""Entries, of up to 256 KiB each."""
MAX_PAGES: Final = 4
"""In one answer."""
_BATCH_ROOM: Final = 170


class Vault:
    """What is here of one room, to be given out."""

    __slots__ = ("_exclusions", "_room", "_spans", "_store")

    def __init__(
        self,
        room: RoomID,
        store: EntryStore,
        spans: Mapping[Origin, Sequence[Span]],
        exclusions: Mapping[Origin, tuple[int, bytes]],
    ) -> None:
        """`exclusions`: from which seq on an origin's entries are excluded, and the proof."""
        self._room = room
        self._store = store
        self._spans = spans
        self._exclusions = exclusions

    def backwards(
        self, origin: Origin, first: int, last: int, *, is_pinned: bool = False, from_day: int = 0
    ) -> Iterator[Batch]:
        """Yield what is here from `last` down to `first`, as far as it is not older than `from_day`.

        `is_pinned`: whoever gets it knows the id of `last`. Else what cannot be vouched for is left out, and some more
        is added if the next seal is later.
        """
        for span in reversed(self._spans.get(origin, ())):
            low, high = max(span.first, first), min(span.last, last)
            if low <= high and not (is_pinned and high == last):
                high = self._vouched(origin, low, high, span.last)
            if low <= high:
                yield from self._chunks(origin, low, high, from_day)

    def entries(self, origin: Origin, first: int, last: int) -> Iterator[Placed]:
        """Yield the entries of a feed from `first` to `last` that are here."""
        for start in range(first, last + 1, READ_AT_ONCE):
            yield from self._store.feed(self._room, origin, start, min(last, start + READ_AT_ONCE - 1))

    def page(self, placed: Sequence[Placed]) -> Iterator[Batch]:
        """Yield the entries of each feed from the first that is among these to the last."""
        ends: dict[Origin, tuple[int, int]] = {}
        for each in reversed(placed):
            low, high = ends.get(each.origin, (each.seq, each.seq))
            ends[each.origin] = min(low, each.seq), max(high, each.seq)
        for origin, (low, high) in ends.items():
            yield from self.backwards(origin, low, high)

    def _vouched(self, origin: Origin, low: int, high: int, end: int) -> int:
        """Return up to which seq something can be sent: the next seal, or the one before; 0 if there is none."""
        found = self._store.seal(self._room, origin, high)
        if found is not None and found[0] <= end:
            return found[0]
        if origin in self._exclusions and high + 1 == self._exclusions[origin][0]:
            return high  # the proof says its id
        best, most = 0, high
        while low <= most:
            middle = (low + most) // 2
            found = self._store.seal(self._room, origin, middle)
            if found is None or found[0] > high:
                most = middle - 1
            else:
                best = found[0]
                low = best + 1
        return best

    def _chunks(self, origin: Origin, low: int, high: int, from_day: int) -> Iterator[Batch]:
        """Yield entries that are all here, in batches from the last to the first."""
        while low <= high:
            entries, is_last = self._chunk(origin, low, high, from_day)
            if not entries:
                return
            first = entries[-1].seq
            if not is_last and first > low:
                found = self._store.seal(self._room, origin, first - 1)
                if found is not None and found[0] < high:
                    del entries[high - found[0] :]  # so that the next one ends with a seal
            lowest = entries[-1]
            found = self._store.seal(self._room, origin, high)
            yield Batch(
                self._room,
                origin,
                lowest.seq,
                lowest.previous,
                tuple(placed.entry for placed in reversed(entries)),
                found[1] if found is not None and found[0] == high else b"",
            )
            if is_last:
                return
            high = lowest.seq - 1

    def _chunk(self, origin: Origin, low: int, high: int, from_day: int) -> tuple[list[Placed], bool]:
        """Return the entries of a batch, the last first, and whether what is before them is too old, or not here."""
        entries: list[Placed] = []
        size, low, at = 0, max(low, high - MAX_ENTRIES + 1), high
        while low <= at:
            before = at
            for placed in reversed(self._store.feed(self._room, origin, max(low, at - READ_AT_ONCE + 1), at)):
                if placed.seq != at or clocks.day(placed.entry.clock) < from_day:
                    return entries, True
                size += len(placed.entry.content or placed.entry.hash) + ENTRY_ROOM
                if entries and size > PAGE_BYTES - _BATCH_ROOM:
                    return entries, False
                entries.append(placed)
                at -= 1
            if at == before:
                return entries, True
        return entries, False


def pages(
    found: Iterable[Batch], most: int = MAX_PAGES, page_bytes: int = PAGE_BYTES
) -> tuple[list[list[bytes]], bool]:
    """Return encoded batches in pages, one at least, and whether these are all."""
    filled: list[list[bytes]] = [[]]
    size = 0
    for batch in found:
        data = batches.encode(batch)
        if filled[-1] and size + len(data) > page_bytes:
            if len(filled) == most:
                return filled, False
            filled.append([])
            size = 0
        filled[-1].append(data)
        size += len(data)
    return filled, True


def parts(batch: Batch) -> Iterator[Batch]:
    """Yield a batch in parts of about 256 KiB, the last of them, which has the seal, first."""
    ids = batches.ids(batch)
    end, size = len(batch.entries), 0
    for index in range(len(batch.entries) - 1, -1, -1):
        each = batch.entries[index]
        room = len(each.content or each.hash) + ENTRY_ROOM
        if size and size + room > PAGE_BYTES - _BATCH_ROOM:
            yield _part(batch, ids, index + 1, end)
            end, size = index + 1, 0
        size += room
    yield _part(batch, ids, 0, end)


def _part(batch: Batch, ids: Sequence[EntryID], start: int, end: int) -> Batch:
    return batch._replace(
        seq=batch.seq + start,
        previous=ids[start - 1] if start else batch.previous,
        entries=batch.entries[start:end],
        seal=batch.seal if end == len(batch.entries) else b"",
    )

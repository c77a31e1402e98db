"""What a process has in memory of a feed: which entries are here, the digests of its days, its last seals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from megaphone.history import spans
from megaphone.history.clock import day
from megaphone.history.ports import Span
from megaphone.storage.history_rows import Day

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from megaphone.history.clock import Clock
    from megaphone.history.entry import Entry, EntryID, Origin
    from megaphone.history.ports import Tip
    from megaphone.storage.history_rows import FeedRow, Run

SEAL_ENTRIES: Final = 256  # of two seals not farther apart than that, one between them is not needed
SEAL_BYTES: Final = 131_072
_MODULUS: Final = 1 << 128


class Feed:
    """The state of one feed of a room."""

    __slots__ = ("_seals", "days", "excluded", "number", "origin", "proof", "spans", "tip")

    def __init__(self, origin: Origin, number: int | None = None) -> None:
        self.origin = origin
        self.number = number
        """Of its rows; None until somebody reads them."""
        self.spans: list[Span] = []
        self.days: dict[int, Day] = {}
        self.tip: Tip | None = None
        """The last entry that ever was here."""
        self.excluded: int | None = None
        self.proof = b""
        self._seals: list[tuple[int, int]] = []
        """Seq of the last seals and the bytes put since the one before; those of this process, two at most."""

    @classmethod
    def of(cls, row: FeedRow) -> Feed:
        """Return a feed as it is kept, with nothing of its entries yet."""
        feed = cls(row.origin, row.number)
        feed.tip = row.tip
        feed.excluded, feed.proof = row.excluded, row.proof
        return feed

    def __len__(self) -> int:
        """Return how many entries are here."""
        return sum(span.last - span.first + 1 for span in self.spans)

    def cover(self, first: int, ids: Sequence[EntryID], previous: EntryID) -> None:
        """Note that entries from `first` on are here."""
        last = first + len(ids) - 1
        spans.add(self.spans, Span(first, last, previous, ids[-1]))

    def with_entries(self, entries: Sequence[Entry], ids: Sequence[EntryID]) -> list[Day]:
        """Return the digests that change when entries come, as they will be."""
        if day(entries[0].clock) == day(entries[-1].clock):  # a feed's clock rises
            total = sum([int.from_bytes(id_[:16]) for id_ in ids])
            return [
                self._with(day(entries[0].clock), len(ids), total, sum([len(each.content or b"") for each in entries]))
            ]
        sums: dict[int, tuple[int, int, int]] = {}
        for each, id_ in zip(entries, ids, strict=True):
            count, total, size = sums.get(day(each.clock), (0, 0, 0))
            sums[day(each.clock)] = (count + 1, total + int.from_bytes(id_[:16]), size + len(each.content or b""))
        return [self._with(at, *change) for at, change in sums.items()]

    def without(self, sizes: Iterable[tuple[int, Clock, EntryID, int]]) -> list[Day]:
        """Return the digests that change when entries (seq, clock, id, bytes) go, as they will be."""
        sums: dict[int, tuple[int, int, int]] = {}
        for _, clock, id_, gone in sizes:
            count, total, size = sums.get(day(clock), (0, 0, 0))
            sums[day(clock)] = (count - 1, total - int.from_bytes(id_[:16]), size - gone)
        return [self._with(at, *change) for at, change in sums.items()]

    def resized(self, at: int, change_bytes: int) -> list[Day]:
        """Return the digest of a day of which a content comes or goes."""
        return [self._with(at, 0, 0, change_bytes)]

    def set_days(self, changed: Iterable[Day]) -> None:
        """Put digests in place of those before; a day without entries goes."""
        for each in changed:
            if each.entries:
                self.days[each.day] = each
            else:
                self.days.pop(each.day, None)

    def _with(self, at: int, count: int, total: int, size: int) -> Day:
        before = self.days.get(at)
        if before is not None:
            count, total, size = before.entries + count, before.sum + total, before.bytes + size
        return Day(at, max(0, count), total % _MODULUS, max(0, size))

    def cut(self, first: int, last: int, before: EntryID | None, head: EntryID | None) -> None:
        """Note that entries from `first` to `last` are gone. `before`: id of the last one, `head`: of `first - 1`."""
        left: list[Span] = []
        for span in self.spans:
            if span.last < first or span.first > last:
                left.append(span)
                continue
            if span.first < first and head is not None:
                left.append(Span(span.first, first - 1, span.before, head))
            if span.last > last and before is not None:
                left.append(Span(last + 1, span.last, before, span.head))
        self.spans = left
        self.forget_seals()

    def forget_seals(self) -> None:
        """Take none of the seals before for superfluous."""
        self._seals = []

    def sealed(self, seq: int, put_bytes: int) -> int:
        """Note a seal and the bytes since the last call; returns the seq of a seal that is not needed any more, or 0.

        A page of history ends at a seal: they must not be too far apart, nor in different spans.
        """
        start = self.spans[-1].first if self.spans and self.spans[-1].last == seq else seq
        if not self._seals or seq <= self._seals[-1][0] or start > self._seals[0][0]:
            self._seals = [(seq, 0)]
            return 0
        self._seals.append((seq, put_bytes))
        if len(self._seals) < 3:
            return 0
        (oldest, _), (between, size), _ = self._seals
        if seq - oldest <= SEAL_ENTRIES and size + put_bytes <= SEAL_BYTES:
            self._seals = [self._seals[0], (seq, size + put_bytes)]
            return between
        self._seals = self._seals[1:]
        return 0

    def position(self, at: int) -> int:
        """Return the seq of the entry that has `at` others of its feed before it, 0 to len - 1."""
        for span in self.spans:
            length = span.last - span.first + 1
            if at < length:
                return span.first + at
            at -= length
        raise IndexError(at)

    def range_of(self, at: int) -> tuple[int, int]:
        """Return which of a feed's entries, counted from 0, are of a day: the first, and the one behind the last."""
        start = sum(each.entries for each in self.days.values() if each.day < at)
        return start, start + (self.days[at].entries if at in self.days else 0)


def joined(runs: Iterable[Run]) -> Iterator[tuple[Run, Run]]:
    """Yield the first and the last run of each span; ValueError if runs lap over each other."""
    first: Run | None = None
    last: Run | None = None
    for run in runs:
        if last is None or first is None:
            first = last = run
        elif run.seq <= last.last:
            raise ValueError("runs lap over each other")
        elif run.seq == last.last + 1:
            last = run
        else:
            yield first, last
            first = last = run
    if first is not None and last is not None:
        yield first, last

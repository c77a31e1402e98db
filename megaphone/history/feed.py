"""Our own feed in a room: entries get their place and id at once, and one seal when they are flushed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from megaphone.errors import HistoryError
from megaphone.history.answers import Refusal
from megaphone.history.batch import ENTRY_ROOM, MAX_BYTES, MAX_ENTRIES, MAX_ENTRY_BYTES, Batch
from megaphone.history.clock import Clock
from megaphone.history.entry import EntryID, Origin, entry, feed_prefix, next_id
from megaphone.history.ports import Placed

if TYPE_CHECKING:
    from megaphone.history.manifest import RoomID

MAX_PENDING: Final = 16_384
"""Entries that wait for `flush`."""


class Feed:
    """What comes next in a feed, and what has not been sealed yet."""

    __slots__ = ("_pending", "_prefix", "clock", "id", "origin", "room", "seq")

    def __init__(self, room: RoomID, origin: Origin, seq: int, id_: EntryID, clock: Clock) -> None:
        """`seq`, `id_`, `clock`: of the last entry so far; 0, `FIRST` and -1 if there is none."""
        self.room = room
        self.origin = origin
        self.seq = seq
        self.id = id_
        self.clock = clock
        self._prefix = feed_prefix(room, origin)
        self._pending: list[Placed] = []

    @property
    def pending(self) -> int:
        """How many entries wait to be sealed."""
        return len(self._pending)

    def append(self, kind: int, content: bytes, clock: Clock) -> Placed:
        """Add an entry; HistoryError("too-large"), or ("clock-order") if the clock has not risen."""
        if len(content) > MAX_ENTRY_BYTES:
            raise HistoryError(Refusal.TOO_LARGE, f"an entry of {len(content)} bytes")
        if clock <= self.clock:
            raise HistoryError(Refusal.CLOCK_ORDER, f"{clock} after {self.clock}")
        if len(self._pending) >= MAX_PENDING:
            raise HistoryError(Refusal.TOO_LARGE, f"{MAX_PENDING} entries wait to be written")
        each = entry(clock, kind, content)
        previous = self.id
        self.seq += 1
        self.clock = clock
        self.id = next_id(self._prefix, self.seq, previous, each)
        placed = Placed(self.origin, self.seq, self.id, previous, each)
        self._pending.append(placed)
        return placed

    def next(self) -> list[Placed]:
        """Return the entries of the next batch, at most 1,024 and about 1 MiB; none if nothing waits."""
        size = 0
        for index, placed in enumerate(self._pending[:MAX_ENTRIES]):
            size += len(placed.entry.content or b"") + ENTRY_ROOM
            if size > MAX_BYTES and index:
                return self._pending[:index]
        return self._pending[:MAX_ENTRIES]

    def written(self, count: int) -> None:
        """Forget the first entries that wait: they are in the store."""
        del self._pending[:count]

    def move(self, seq: int, id_: EntryID, clock: Clock) -> None:
        """Put what waits behind an entry of this feed that was not known here; its ids change.

        This is for a node whose store is older than what it has said before: to sign something else at the same seq
        would exclude it everywhere.
        """
        self.seq, self.id, self.clock = seq, id_, clock
        waiting, self._pending = self._pending, []
        for placed in waiting:
            each = placed.entry
            self.append(each.kind, each.content or b"", Clock(max(each.clock, self.clock + 1)))


def batch_of(room: RoomID, entries: list[Placed], seal: bytes) -> Batch:
    """Return consecutive entries of a feed as a batch."""
    first = entries[0]
    return Batch(room, first.origin, first.seq, first.previous, tuple(placed.entry for placed in entries), seal)

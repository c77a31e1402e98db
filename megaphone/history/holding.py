"""What a store holds of one room, in short, and what follows from each write: spans, tombstones, lost contents.

Nothing is judged here: what is written has been found good by the log.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from megaphone.errors import HistoryError
from megaphone.history import batch as batches
from megaphone.history import spans
from megaphone.history.answers import Missing
from megaphone.history.clock import Clock
from megaphone.history.entry import MAX_NUMBER, EntryID, Origin, bare
from megaphone.history.feed import batch_of
from megaphone.history.ports import Placed, Span
from megaphone.history.tombstones import TOMBSTONES, Tombstones, target_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from megaphone.history.batch import Batch
    from megaphone.history.entry import Entry
    from megaphone.history.forks import Proof
    from megaphone.history.manifest import Manifest
    from megaphone.history.ports import EntryStore

MAX_BARE: Final = 4096
"""Entries remembered that are bare without a tombstone; others are found again when they are read."""


class Holding:
    """The spans of each feed, exclusions, and contents that are missing. A store's errors pass through."""

    def __init__(self, manifest: Manifest, store: EntryStore, moderates: Callable[[Origin], bool]) -> None:
        self.room: Final = manifest.id
        self.written = 0
        self.bare: OrderedDict[EntryID, tuple[Origin, int]] = OrderedDict()
        """Where entries are whose content is missing."""
        self._manifest = manifest
        self._store = store
        self._moderates = moderates
        self._heads: dict[Origin, tuple[int, Clock]] = {}  # seq and clock of entries that were last in their feed
        self._is_put = False
        self.reload()

    def reload(self) -> None:
        """Read from the store what is here."""
        self.spans = {origin: list(found) for origin, found in self._store.spans(self.room).items()}
        self.exclusions = dict(self._store.exclusions(self.room))
        self._tombstones = Tombstones(self.room, self._store, self._moderates)
        self._heads.clear()
        self.bare.clear()

    # --- writing -----------------------------------------------------------------------

    def put(self, batch: Batch, placed: Sequence[Placed]) -> None:
        """Store entries of which none is here, as a batch and placed, and do what follows."""
        self._put_room()
        self.written = self._store.put(batch, [each.id for each in placed])
        head = placed[-1]
        here = self.spans.setdefault(batch.origin, [])
        spans.add(here, Span(batch.seq, head.seq, batch.previous, head.id))
        if here[-1].last == head.seq:
            self._heads[batch.origin] = head.seq, head.entry.clock
        self._tombstones.came(placed)
        for each in placed:
            if each.entry.content is None:
                self.note_bare(each)
            elif each.entry.kind in TOMBSTONES:
                self._apply(each)

    def put_run(self, batch: Batch, ids: Sequence[EntryID], first: int, last: int) -> list[Placed]:
        """Store some entries of a batch, of which none is here; returns them as they were stored."""
        start, end = first - batch.seq, last - batch.seq + 1
        previous = ids[start - 1] if start else batch.previous
        placed = []
        for seq, each, id_ in zip(range(first, last + 1), batch.entries[start:end], ids[start:end], strict=True):
            one = Placed(batch.origin, seq, id_, previous, each)
            if self._tombstones.awaits(id_) and each.content is not None and self._tombstones.erases(one):
                one = one._replace(entry=bare(each))
            placed.append(one)
            previous = id_
        self.put(batch_of(self.room, placed, batch.seal if last == batch.last else b""), placed)
        return placed

    def restore(
        self, batch: Batch, ids: Sequence[EntryID], last: int, check: Callable[[Entry], None]
    ) -> tuple[Placed, ...]:
        """Take contents for entries up to `last` that are bare here, and have no tombstone."""
        if not self.bare:
            return ()
        restored = []
        previous = batch.previous
        for seq, each, id_ in zip(range(batch.seq, last + 1), batch.entries, ids, strict=False):
            one = Placed(batch.origin, seq, id_, previous, each)
            previous = id_
            if each.content is None or id_ not in self.bare:
                continue
            try:
                check(each)
            except HistoryError:
                continue
            del self.bare[id_]
            if not self._tombstones.erases(one):
                self.written = self._store.restore(self.room, id_, each.content)
                restored.append(one)
                if each.kind in TOMBSTONES:
                    self._apply(one)
        return tuple(restored)

    def exclude(self, proof: Proof) -> bool:
        """Take an origin's entries out of the log, unless what is known of it says more."""
        data = proof.encode()
        known = self.exclusions.get(proof.origin)
        if known is not None and known <= (proof.seq, data):
            return False
        targets = self._erased_by(proof.origin, proof.seq)
        self._put_room()
        self.written = self._store.exclude(self.room, proof.origin, proof.seq, data)
        self.exclusions[proof.origin] = proof.seq, data
        self.spans[proof.origin] = list(self._store.spans(self.room).get(proof.origin, ()))
        self._heads.pop(proof.origin, None)
        for id_ in [id_ for id_, (origin, seq) in self.bare.items() if origin == proof.origin and seq >= proof.seq]:
            del self.bare[id_]
        for target in targets:
            placed = self._store.find(self.room, target)
            if placed is not None and placed.entry.content is None:
                self.note_bare(placed)
        return True

    def _put_room(self) -> None:
        """Let the store know the room before it gets anything of it."""
        if not self._is_put:
            self._store.put_room(self._manifest)
            self._is_put = True

    def _apply(self, tombstone: Placed) -> None:
        """Erase what a stored tombstone names."""
        target = self._tombstones.target(tombstone)
        if target is None:
            return
        if target.entry.content is not None:
            self.written = self._store.erase(self.room, target.id)
        self.bare.pop(target.id, None)

    def _erased_by(self, origin: Origin, seq: int) -> list[EntryID]:
        """Return what the tombstones of a feed name from a seq on: when they are excluded, it is to be had again."""
        here = self.spans.get(origin)
        return [
            target_of(placed)
            for first in range(seq, here[-1].last + 1 if here else 0, batches.MAX_ENTRIES)
            for placed in self._store.feed(self.room, origin, first, first + batches.MAX_ENTRIES - 1)
            if placed.entry.kind in TOMBSTONES and placed.entry.content is not None
        ]

    # --- reading -----------------------------------------------------------------------

    def note_bare(self, placed: Placed) -> None:
        """Remember an entry that is bare, unless a tombstone says why."""
        if placed.id not in self.bare and not self._tombstones.erases(placed):
            self.bare[placed.id] = placed.origin, placed.seq
            if len(self.bare) > MAX_BARE:
                self.bare.popitem(last=False)

    def cut(self, origin: Origin) -> int:
        """Return from which seq on an origin is excluded."""
        exclusion = self.exclusions.get(origin)
        return exclusion[0] if exclusion is not None else MAX_NUMBER + 1

    def gap_before(self, batch: Batch) -> tuple[Missing, ...]:
        """Return what is missing directly before a batch that is not here yet."""
        here = self.spans.get(batch.origin, ())
        return tuple(
            Missing(batch.origin, first, last)
            for first, last in spans.gaps(here, 1, batch.seq - 1)
            if last == batch.seq - 1
        )

    def id(self, origin: Origin, span: Span, seq: int) -> EntryID | None:
        """Return the id of an entry that a span knows; None if the store has lost it."""
        if seq == span.last:
            return span.head
        if seq == span.first - 1:
            return span.before
        found = self._store.feed(self.room, origin, seq, seq)
        return found[0].id if found else None

    def clock(self, origin: Origin, seq: int, lost: int) -> Clock:
        """Return the clock of an entry that is here, or `lost` if the store has lost it."""
        head = self._heads.get(origin)
        if head is not None and head[0] == seq:
            return head[1]
        found = self._store.feed(self.room, origin, seq, seq)
        return found[0].entry.clock if found else Clock(lost)

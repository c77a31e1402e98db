"""Entries in memory: an EntryStore that forgets everything at its end, for tests and for rooms that need no disk."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Final

from megaphone.errors import HistoryError
from megaphone.history.clock import Clock, day
from megaphone.history.entry import EntryID, Origin, bare
from megaphone.history.ports import Placed, Span, Tip
from megaphone.history.tombstones import TOMBSTONES, target_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from megaphone.history.batch import Batch
    from megaphone.history.entry import Entry
    from megaphone.history.manifest import Manifest, RoomID

_MODULUS: Final = 1 << 128


class _Feed:
    """What is here of the entries of one origin."""

    __slots__ = ("entries", "runs", "seals", "signatures", "tip")

    def __init__(self) -> None:
        self.entries: dict[int, Placed] = {}
        self.runs: list[list[int]] = []
        """First and last seq of each run, in order, apart by at least one."""
        self.seals: list[int] = []
        self.signatures: dict[int, bytes] = {}
        self.tip: Tip | None = None

    def cover(self, first: int, last: int) -> None:
        """Note that nothing is missing from `first` to `last`."""
        runs = self.runs
        low = bisect_left(runs, [first, 0])
        if low and runs[low - 1][1] >= first - 1:
            low -= 1
        high = low
        while high < len(runs) and runs[high][0] <= last + 1:
            first, last = min(first, runs[high][0]), max(last, runs[high][1])
            high += 1
        runs[low:high] = [[first, last]]

    def uncover(self, first: int, last: int) -> None:
        """Note that nothing is here any more from `first` to `last`."""
        left: list[list[int]] = []
        for start, end in self.runs:
            if start < first:
                left.append([start, min(end, first - 1)])
            if end > last:
                left.append([max(start, last + 1), end])
        self.runs = left

    def seal(self, seq: int, signature: bytes) -> None:
        if seq not in self.signatures:
            insort(self.seals, seq)
        self.signatures[seq] = signature

    def unseal(self, first: int, last: int) -> None:
        for seq in [seq for seq in self.seals if first <= seq <= last]:
            self.seals.remove(seq)
            del self.signatures[seq]


class _Room:
    """What is here of one room."""

    __slots__ = ("by_id", "days", "digests", "exclusions", "feeds", "is_sorted", "manifest", "order", "targets")

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.feeds: dict[Origin, _Feed] = {}
        self.by_id: dict[EntryID, tuple[Origin, int]] = {}
        self.days: dict[int, set[EntryID]] = {}
        self.digests: dict[int, tuple[int, int]] = {}
        self.exclusions: dict[Origin, tuple[int, bytes]] = {}
        self.order: list[tuple[Clock, Origin, int]] = []
        self.is_sorted = True
        self.targets: dict[EntryID, set[EntryID]] = {}
        """Of each entry that a tombstone with its content names: those tombstones."""

    def sorted(self) -> list[tuple[Clock, Origin, int]]:
        """Return the places of all entries in the order of the log; sorting waits until somebody reads."""
        if not self.is_sorted:
            self.order.sort()
            self.is_sorted = True
        return self.order

    def add(self, feed: _Feed, placed: Placed) -> None:
        feed.entries[placed.seq] = placed
        self.by_id[placed.id] = (placed.origin, placed.seq)
        place = (placed.entry.clock, placed.origin, placed.seq)
        if self.order and self.order[-1] > place:
            self.is_sorted = False
        self.order.append(place)
        self.judge(placed)
        at = day(placed.entry.clock)
        self.days.setdefault(at, set()).add(placed.id)
        self._count(at, 1, placed.id)

    def remove(self, feed: _Feed, first: int, last: int) -> None:
        """Take the entries of a feed from `first` to `last` out."""
        gone = [
            feed.entries.pop(seq) for start, end in feed.runs for seq in range(max(start, first), min(end, last) + 1)
        ]
        feed.uncover(first, last)
        feed.unseal(first, last)
        places = {(each.entry.clock, each.origin, each.seq) for each in gone}
        self.order = [place for place in self.order if place not in places]
        for each in gone:
            del self.by_id[each.id]
            self.pardon(each)
            at = day(each.entry.clock)
            self.days[at].discard(each.id)
            self._count(at, -1, each.id)

    def judge(self, placed: Placed) -> None:
        """Note what an entry erases, if it is a tombstone that has its content."""
        if placed.entry.kind in TOMBSTONES and placed.entry.content is not None:
            self.targets.setdefault(target_of(placed), set()).add(placed.id)

    def pardon(self, placed: Placed) -> None:
        """Forget what an entry erases."""
        if placed.entry.kind in TOMBSTONES and placed.entry.content is not None:
            self.targets[target_of(placed)].discard(placed.id)

    def _count(self, at: int, sign: int, id_: EntryID) -> None:
        count, total = self.digests.get(at, (0, 0))
        if count + sign:
            self.digests[at] = (count + sign, (total + sign * int.from_bytes(id_[:16])) % _MODULUS)
        else:
            del self.digests[at]
            del self.days[at]


class MemoryStore:
    """An EntryStore in memory. All writes are durable at once, as far as memory is."""

    def __init__(self) -> None:
        self._rooms: dict[RoomID, _Room] = {}
        self.position = 0
        """Of the last write."""

    def rooms(self) -> Sequence[Manifest]:
        """Return the manifests of all rooms of which something is kept."""
        return [room.manifest for room in self._rooms.values()]

    def put_room(self, manifest: Manifest) -> None:
        """Keep a room's manifest."""
        if manifest.id not in self._rooms:
            self._rooms[manifest.id] = _Room(manifest)

    def put(self, batch: Batch, ids: Sequence[EntryID]) -> int:
        """Keep the entries of a batch that are not here, and its seal. HistoryError("unknown-room")."""
        room = self._room(batch.room)
        feed = room.feeds.setdefault(batch.origin, _Feed())
        previous = batch.previous
        for seq, (id_, each) in enumerate(zip(ids, batch.entries, strict=True), batch.seq):
            if seq not in feed.entries:
                room.add(feed, Placed(batch.origin, seq, id_, previous, each))
            previous = id_
        last = batch.seq + len(batch.entries) - 1
        feed.cover(batch.seq, last)
        if feed.tip is None or last > feed.tip.seq:
            feed.tip = Tip(last, ids[-1], batch.entries[-1].clock)
        if batch.seal:
            feed.seal(last, batch.seal)
        return self._written()

    def seal(self, room: RoomID, origin: Origin, seq: int) -> tuple[int, bytes] | None:
        """Return the first seal at `seq` or after: the seq of its entry, and the signature; None if there is none."""
        feed = self._feed(room, origin)
        if feed is None or (at := bisect_left(feed.seals, seq)) == len(feed.seals):
            return None
        return feed.seals[at], feed.signatures[feed.seals[at]]

    def spans(self, room: RoomID) -> dict[Origin, list[Span]]:
        """Return which entries of each feed are here, in order, apart by at least one entry."""
        feeds = self._rooms[room].feeds if room in self._rooms else {}
        return {
            origin: [
                Span(first, last, feed.entries[first].previous, feed.entries[last].id) for first, last in feed.runs
            ]
            for origin, feed in feeds.items()
            if feed.runs
        }

    def tip(self, room: RoomID, origin: Origin) -> Tip | None:
        """Return the entry with the greatest seq of a feed that was ever put, be it here still or not."""
        feed = self._feed(room, origin)
        return None if feed is None else feed.tip

    def feed(self, room: RoomID, origin: Origin, first: int, last: int) -> list[Placed]:
        """Return the entries of a feed from `first` to `last`, both included, in order; without what is missing."""
        feed = self._feed(room, origin)
        if feed is None:
            return []
        return [feed.entries[seq] for start, end in feed.runs for seq in range(max(start, first), min(end, last) + 1)]

    def mentions(self, room: RoomID, origin: Origin, first: int, last: int, mention: bytes) -> list[int]:
        """Return which of these entries have certain bytes in their content, or no content: their seqs."""
        found = self.feed(room, origin, first, last)
        return [each.seq for each in found if each.entry.content is None or mention in each.entry.content]

    def newest(self, room: RoomID, count: int, before: tuple[Clock, Origin, int] | None = None) -> list[Placed]:
        """Return the last `count` entries of the log (before a place in it), oldest first."""
        if room not in self._rooms:
            return []
        order = self._rooms[room].sorted()
        end = len(order) if before is None else bisect_left(order, before)
        return [self._rooms[room].feeds[origin].entries[seq] for _, origin, seq in order[max(0, end - count) : end]]

    def find(self, room: RoomID, id_: EntryID) -> Placed | None:
        """Return the entry with an id."""
        if room not in self._rooms or (place := self._rooms[room].by_id.get(id_)) is None:
            return None
        return self._rooms[room].feeds[place[0]].entries[place[1]]

    def ids(self, room: RoomID, day: int | None = None) -> Iterable[EntryID]:
        """Return the ids of a room's entries (of one day), in no particular order."""
        if room not in self._rooms:
            return []
        here = self._rooms[room]
        return list(here.by_id) if day is None else list(here.days.get(day, ()))

    def digests(self, room: RoomID) -> dict[int, tuple[int, int]]:
        """Return by day how many entries there are, and the sum of the first 16 bytes of their ids modulo 2^128."""
        return dict(self._rooms[room].digests) if room in self._rooms else {}

    def erase(self, room: RoomID, id_: EntryID) -> int:
        """Drop an entry's content, keep its place."""
        if (placed := self.find(room, id_)) is not None:
            self._rooms[room].pardon(placed)
            self._replace(room, placed, bare(placed.entry))
        return self._written()

    def restore(self, room: RoomID, id_: EntryID, content: bytes) -> int:
        """Give a bare entry its content back, whose hash has been checked."""
        if (placed := self.find(room, id_)) is not None:
            self._rooms[room].judge(self._replace(room, placed, placed.entry._replace(content=content)))
        return self._written()

    def tombstones(self, room: RoomID, target: EntryID | None = None) -> list[Placed]:
        """Return the tombstones of an entry that have contents; without a target: those whose target is not here."""
        if room not in self._rooms:
            return []
        here = self._rooms[room]
        targets = [target] if target is not None else [each for each in here.targets if each not in here.by_id]
        found = (self.find(room, id_) for each in targets for id_ in here.targets.get(each, ()))
        return [placed for placed in found if placed is not None]

    def exclude(self, room: RoomID, origin: Origin, seq: int, proof: bytes) -> int:
        """Take an origin's entries and seals from `seq` on out of the room, keep the proof instead of one before."""
        here = self._room(room)
        here.exclusions[origin] = (seq, proof)
        if (feed := here.feeds.get(origin)) is not None and feed.runs:
            here.remove(feed, seq, feed.runs[-1][1])
        return self._written()

    def exclusions(self, room: RoomID) -> dict[Origin, tuple[int, bytes]]:
        """Return which origins are excluded from which seq on, with the proof."""
        return dict(self._rooms[room].exclusions) if room in self._rooms else {}

    def drop(self, room: RoomID, origin: Origin, first: int, last: int) -> int:
        """Forget the entries of a feed from `first` to `last`, both included; only `tip` still knows of them."""
        feed = self._feed(room, origin)
        if feed is not None:
            self._rooms[room].remove(feed, first, last)
        return self._written()

    def _replace(self, room: RoomID, placed: Placed, each: Entry) -> Placed:
        changed = placed._replace(entry=each)
        self._rooms[room].feeds[placed.origin].entries[placed.seq] = changed
        return changed

    def _room(self, room: RoomID) -> _Room:
        if room not in self._rooms:
            raise HistoryError("unknown-room", room.hex())
        return self._rooms[room]

    def _feed(self, room: RoomID, origin: Origin) -> _Feed | None:
        return self._rooms[room].feeds.get(origin) if room in self._rooms else None

    def _written(self) -> int:
        self.position += 1
        return self.position

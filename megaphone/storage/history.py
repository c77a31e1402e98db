"""Replicated histories on SQLite: the `EntryStore` of a node.

What is asked again and again (which entries are here, digests, exclusions) is in memory; entries are read from disk,
and hashed again each time. A room is checked quickly when it is used first. What is damaged is reported, by name, and
dropped: it is missing then, and is fetched from another replica as everything that is missing.

Only one process at a time writes to a room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from megaphone.errors import HistoryError
from megaphone.history import spans
from megaphone.history.clock import day as day_of
from megaphone.history.content import content_hash
from megaphone.history.entry import EntryID
from megaphone.history.ports import Tip
from megaphone.storage import history_writing as writing
from megaphone.storage.history_feeds import Feed
from megaphone.storage.history_rooms import HistoryRooms, Room
from megaphone.storage.history_rows import LARGEST, is_number, target_of, write_tip

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from megaphone.history.batch import Batch
    from megaphone.history.clock import Clock
    from megaphone.history.entry import Origin
    from megaphone.history.manifest import Manifest, RoomID
    from megaphone.history.ports import Placed, Span

ENTRY_COST_BYTES: Final = 85  # on disk beside the content


class SQLiteHistory(HistoryRooms):
    """`history.ports.EntryStore`. A write is durable when the writer's `committed` is at its position.

    StorageError if the file cannot be read, StorageFullError if nothing can be written now.
    """

    @property
    def committed(self) -> int:
        """The position up to which all writes are durable."""
        return self._writer.committed

    # --- rooms ------------------------------------------------------------

    def rooms(self) -> Sequence[Manifest]:
        """Return the manifests of all rooms of which something is kept."""
        self._writer.settle_all()
        return [row.manifest for row in self._reader.rooms() if row.is_good]

    def manifest(self, room: RoomID) -> Manifest | None:
        """Return the manifest of a room of which something is kept."""
        self._writer.settle(room)
        row = self._reader.room(room)
        return row.manifest if row is not None and row.is_good else None

    def put_room(self, manifest: Manifest) -> None:
        """Keep a room's manifest; entries of unknown rooms cannot be put."""
        room = self._room(manifest.id)
        if room is not None and room.title == manifest.name:
            return
        self._writer.perform(writing.PUT_ROOM, (manifest,), owner=manifest.id, cost_bytes=len(manifest.name))
        if room is None:
            self._remember(Room(manifest.id, manifest.name))
        else:
            room.title = manifest.name

    # --- writes ------------------------------------------------------------

    def put(self, batch: Batch, ids: Sequence[EntryID]) -> int:
        """Keep the entries of a batch that are not here, and its seal; returns the write's position.

        HistoryError: "unknown-room", or "malformed" for numbers of more than 63 bits.
        """
        room = self._known(batch.room)
        feed = room.feeds.get(batch.origin)
        if feed is None:  # one without entries is false, and may have a tip
            feed = Feed(batch.origin)
        position = self._writer.position
        for first, last in list(spans.gaps(feed.spans, batch.seq, batch.seq + len(batch.entries) - 1)):
            position = self._append(room, feed, batch, ids, first, last)
            room.feeds[batch.origin] = feed
        return position

    def _append(self, room: Room, feed: Feed, batch: Batch, ids: Sequence[EntryID], first: int, last: int) -> int:
        start, end = first - batch.seq, last - batch.seq + 1
        entries, ids_, previous = batch.entries[start:end], ids[start:end], ids[start - 1] if start else batch.previous
        if not is_number(last) or not (is_number(entries[0].clock) and is_number(entries[-1].clock)):
            raise HistoryError("malformed", "a seq or a clock of more than 63 bits")
        size = sum([len(each.content or b"") for each in entries])
        seal = batch.seal if end == len(batch.entries) else b""
        tip = Tip(last, ids_[-1], entries[-1].clock)
        rises = feed.tip is None or tip.seq > feed.tip.seq
        new = writing.Appended(
            seq=first,
            previous=None if any(span.last == first - 1 for span in feed.spans[-4:]) else previous,
            entries=[
                (clock, kind, id_, hash_ if content is None else None, content)
                for (clock, kind, content, hash_), id_ in zip(entries, ids_, strict=True)
            ],
            seal=seal,
            unneeded_seal=0,
            days=feed.with_entries(entries, ids_),
            tip=write_tip(tip) if rises else None,
            tombstones=[(at, target) for at, each in enumerate(entries) if (target := target_of(each)) is not None],
        )
        before = list(feed.spans)
        feed.cover(first, ids_, previous)
        if seal:
            new = new._replace(unneeded_seal=feed.sealed(last, size))
        try:
            position = self._writer.perform(
                writing.APPEND,
                (room.id, batch.origin, new),
                owner=room.id,
                cost_bytes=size + len(ids_) * ENTRY_COST_BYTES,
            )
        except BaseException:
            feed.spans = before
            feed.forget_seals()
            raise
        feed.set_days(new.days)
        if rises:
            feed.tip = tip
        return position

    def erase(self, room: RoomID, id_: EntryID) -> int:
        """Drop an entry's content, keep its place; returns the write's position."""
        placed = self.find(room, id_)
        if placed is None or placed.entry.content is None:
            return self._writer.position
        return self._set_content(room, placed, placed.entry.content, keep=False)

    def restore(self, room: RoomID, id_: EntryID, content: bytes) -> int:
        """Give a bare entry its content back; returns the write's position. HistoryError("malformed"): another's."""
        placed = self.find(room, id_)
        if placed is None or placed.entry.content is not None:
            return self._writer.position
        if content_hash(content) != placed.entry.hash:
            raise HistoryError("malformed", "the content of another entry")
        return self._set_content(room, placed, content, keep=True)

    def _set_content(self, room: RoomID, placed: Placed, content: bytes, *, keep: bool) -> int:
        here = self._known(room)
        feed, each = here.feeds[placed.origin], placed.entry
        days = feed.resized(day_of(each.clock), len(content) if keep else -len(content))
        target = target_of(each._replace(content=content))
        values = (None, content) if keep else (each.hash, None)
        position = self._writer.perform(
            writing.SET_CONTENT,
            (room, placed.origin, placed.id, *values, target, days),
            owner=room,
            cost_bytes=len(content),
        )
        feed.set_days(days)
        return position

    def exclude(self, room: RoomID, origin: Origin, seq: int, proof: bytes) -> int:
        """Take an origin's entries and seals from `seq` on out of the room, and keep the proof why."""
        here = self._known(room)
        feed = here.feeds.setdefault(origin, Feed(origin))
        position = self._cut(here, feed, seq, LARGEST - 1, (seq, proof))
        feed.excluded, feed.proof = seq, proof
        return position

    def drop(self, room: RoomID, origin: Origin, first: int, last: int) -> int:
        """Forget the entries of a feed from `first` to `last`, both included; only `tip` still knows of them."""
        here = self._known(room)
        feed = here.feeds.get(origin)
        return self._writer.position if feed is None else self._cut(here, feed, first, last, None)

    def retain(self, room: RoomID, *, from_day: int | None = None, max_bytes: int | None = None) -> int:
        """Drop days, oldest first: all before `from_day`, then until `max_bytes` are kept; returns how many entries.

        The newest day stays, however large. Bytes are those on disk, about.
        """
        here = self._known(room)
        sizes: dict[int, int] = {}
        for feed in here.feeds.values():
            for each in feed.days.values():
                sizes[each.day] = sizes.get(each.day, 0) + each.bytes + each.entries * ENTRY_COST_BYTES
        days = sorted(sizes)
        total, cut = sum(sizes.values()), 0
        for at in days[:-1]:
            if (from_day is None or at >= from_day) and (max_bytes is None or total <= max_bytes):
                break
            total -= sizes[at]
            cut = at + 1
        if days and from_day is not None and days[-1] < from_day:
            cut = days[-1] + 1
        dropped = 0
        for feed in here.feeds.values():
            count = sum(each.entries for each in feed.days.values() if each.day < cut)
            if count:
                self._cut(here, feed, 1, feed.position(count - 1), None)
                dropped += count
        return dropped

    def _cut(self, room: Room, feed: Feed, first: int, last: int, excluded: tuple[int, bytes] | None) -> int:
        number = self._number(room, feed)
        before = head = None
        days = []
        if number is not None and any(span.first <= last and span.last >= first for span in feed.spans):
            days = feed.without(self._reader.sizes(number, first, last))
            before = self._reader.row_id(number, last) if last < feed.spans[-1].last else None
            head = self._reader.row_id(number, first - 1)
        position = self._writer.perform(
            writing.CUT,
            (room.id, feed.origin, first, last, days, excluded),
            owner=room.id,
            cost_bytes=len(excluded[1]) if excluded is not None else 0,
        )
        feed.cut(first, last, before, head)
        feed.set_days(days)
        return position

    # --- reads ------------------------------------------------------------

    def seal(self, room: RoomID, origin: Origin, seq: int) -> tuple[int, bytes] | None:
        """Return the first seal at `seq` or after: the seq of its entry, and the signature; None if there is none."""
        found = self._place(room, origin)
        return None if found is None else self._reader.seal(found[2], seq)

    def spans(self, room: RoomID) -> dict[Origin, list[Span]]:
        """Return which entries of each feed are here, in order, apart by at least one entry."""
        here = self._room(room)
        return {} if here is None else {each.origin: list(each.spans) for each in here.feeds.values() if each.spans}

    def tip(self, room: RoomID, origin: Origin) -> Tip | None:
        """Return the entry with the greatest seq of a feed that was ever put, also if it is lost, dropped or excluded.

        A node's own feed goes on behind that: two entries at one seq would be a fork.
        """
        here = self._room(room)
        feed = None if here is None else here.feeds.get(origin)
        return None if feed is None else feed.tip

    def keep_tip(self, room: RoomID, origin: Origin, tip: Tip | None) -> None:
        """Note what `tip` is to say of a feed, if nothing later is known."""
        feed = self._known(room).feeds.setdefault(origin, Feed(origin))
        if tip is not None and (feed.tip is None or feed.tip.seq < tip.seq):
            self._writer.perform(writing.SET_TIP, (room, origin, write_tip(tip)), owner=room)
            feed.tip = tip

    def feed(self, room: RoomID, origin: Origin, first: int, last: int) -> list[Placed]:
        """Return the entries of a feed from seq `first` to `last`, both included, without those that are missing."""
        found = self._place(room, origin)
        return [] if found is None else self._read(found[0], found[1], first, last)

    def mentions(self, room: RoomID, origin: Origin, first: int, last: int, mention: bytes) -> list[int]:
        """Return which of these entries have certain bytes in their content, or no content: their seqs."""
        found = self._place(room, origin)
        return [] if found is None else self._reader.mentions(found[2], first, last, mention)

    def newest(self, room: RoomID, count: int, before: tuple[Clock, Origin, int] | None = None) -> list[Placed]:
        """Return the last `count` entries of the log (before a place in it), oldest first."""
        here = self._room(room)
        if here is None or count < 1:
            return []
        ends = []
        for feed in here.feeds.values():
            number = self._number(here, feed)
            end = 0 if number is None else self._end(feed, number, before)
            if number is not None and end:
                ends.append((self._reader.clock(number, feed.position(end - 1)) or 0, feed.origin, end))
        ends.sort(reverse=True)
        found: list[Placed] = []
        for clock, origin, end in ends:
            if len(found) >= count and found[-count].entry.clock > clock:
                break
            feed = here.feeds[origin]
            found += self._read(here, feed, feed.position(max(0, end - count)), feed.position(end - 1))
            found.sort(key=_place)
        return [each for each in found if before is None or _place(each) < before][-count:]

    def _end(self, feed: Feed, number: int, before: tuple[Clock, Origin, int] | None) -> int:
        """Return how many entries of a feed are before a place in the log: within the place's day by halving."""
        if before is None:
            return len(feed)
        low, high = feed.range_of(day_of(before[0]))
        while low < high:
            middle = (low + high) // 2
            seq = feed.position(middle)
            if (self._reader.clock(number, seq) or 0, feed.origin, seq) < before:
                low = middle + 1
            else:
                high = middle
        return low

    def find(self, room: RoomID, id_: EntryID) -> Placed | None:
        """Return the entry with an id."""
        here = self._room(room)
        if here is None:
            return None
        self._writer.settle(room)
        row = self._reader.room(room)
        for _, origin, seq, _ in self._reader.places(row.number, id_) if row is not None else ():
            if (feed := here.feeds.get(origin)) is not None:
                for placed in self._read(here, feed, seq, seq):
                    if placed.id == id_:
                        return placed
        return None

    def ids(self, room: RoomID, day: int | None = None) -> Iterable[EntryID]:
        """Return the ids of a room's entries (of one day), in no particular order."""
        here = self._room(room)
        return iter(()) if here is None else self._ids(here, day)

    def _ids(self, room: Room, day: int | None) -> Iterator[EntryID]:
        for feed in list(room.feeds.values()):
            start, end = (0, len(feed)) if day is None else feed.range_of(day)
            number = self._number(room, feed)
            if number is not None and start < end:
                yield from self._reader.ids(number, feed.position(start), feed.position(end - 1))

    def digests(self, room: RoomID) -> dict[int, tuple[int, int]]:
        """Return by day how many entries there are, and the sum of the first 16 bytes of their ids modulo 2^128."""
        here = self._room(room)
        found: dict[int, tuple[int, int]] = {}
        for feed in () if here is None else here.feeds.values():
            for each in feed.days.values():
                count, total = found.get(each.day, (0, 0))
                found[each.day] = (count + each.entries, (total + each.sum) % (1 << 128))
        return found

    def tombstones(self, room: RoomID, target: EntryID | None = None) -> list[Placed]:
        """Return the tombstones of an entry that have contents; without a target: those whose target is not here."""
        here = self._room(room)
        if here is None:
            return []
        self._writer.settle(room)
        row = self._reader.room(room)
        found = []
        for n in self._reader.tombstones(row.number, target) if row is not None else ():
            place = self._reader.place_of_row(row.number, n) if row is not None else None
            feed = None if place is None else here.feeds.get(place[1])
            if place is not None and feed is not None:
                found += self._read(here, feed, place[2], place[2])
        of = [(each, target_of(each.entry)) for each in found]
        return [each for each, its in of if its is not None and (target is None or its == target)]

    def exclusions(self, room: RoomID) -> dict[Origin, tuple[int, bytes]]:
        """Return which origins are excluded from which seq on, with the proof."""
        here = self._room(room)
        feeds = () if here is None else here.feeds.values()
        return {each.origin: (each.excluded, each.proof) for each in feeds if each.excluded is not None}


def _place(placed: Placed) -> tuple[Clock, Origin, int]:
    return (placed.entry.clock, placed.origin, placed.seq)

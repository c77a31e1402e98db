"""Replicated histories on SQLite: the `EntryStore` of a node.

What is asked again and again (which entries are here, digests, exclusions) is in memory; entries are read from disk, and
hashed again each time. A room is checked quickly when it is used first. What is damaged is reported, by name, and dropped:
it is missing then, and is fetched from another replica as everything that is missing.

Only one process at a time writes to a room.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Protocol

from megaphone import log
from megaphone.errors import HistoryError, StorageError, StorageFullError
from megaphone.history import spans
from megaphone.history.clock import day as day_of
from megaphone.history.content import content_hash
from megaphone.history.entry import EntryID
from megaphone.history.ports import Placed, Span
from megaphone.storage import history_writing as writing
from megaphone.storage.history_check import ALTERED, Damage, FeedCheck, quick
from megaphone.storage.history_feeds import Feed, joined
from megaphone.storage.history_reading import LARGEST, Chain, Reader, is_number, target_of, write_tip

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    from megaphone.history.batch import Batch
    from megaphone.history.clock import Clock
    from megaphone.history.entry import Origin
    from megaphone.history.manifest import Manifest, RoomID
    from megaphone.history.ports import Verifier
    from megaphone.storage.history_check import Found
    from megaphone.storage.history_reading import FeedRow, RoomRow
    from megaphone.storage.transaction import Program

ROOMS_LIMIT: Final = 16_384  # in memory; those that were not used for longest are read again when they are
MENDED_AT_ONCE: Final = 16_384  # entries of a feed that is checked whole as soon as a damage shows, not later
ENTRY_COST_BYTES: Final = 85  # on disk beside the content


class Writing(Protocol):
    """What is needed of a `storage.writer.Writer`."""

    committed: int

    @property
    def position(self) -> int:
        """The position of the newest write."""
        ...

    def perform(self, program: Program, values: tuple[Any, ...], *, owner: Hashable = None, cost_bytes: int = 0) -> int:
        """Queue a program."""
        ...

    def settle(self, owner: Hashable) -> None:
        """Return when nothing of this owner is queued."""
        ...

    def settle_all(self) -> None:
        """Return when nothing is queued."""
        ...


class Opened(Protocol):
    """A database that is open: a `Storage` is one."""

    @property
    def path(self) -> str:
        """The file."""
        ...

    @property
    def writer(self) -> Writing:
        """What writes to it."""
        ...


class _Room:
    """What is in memory of a room."""

    __slots__ = ("feeds", "id", "title")

    def __init__(self, id_: RoomID, title: str) -> None:
        self.id = id_
        self.title = title
        self.feeds: dict[Origin, Feed] = {}


class SQLiteHistory:
    """`history.ports.EntryStore`. A write is durable when the writer's `committed` is at its position.

    StorageError if the file cannot be read, StorageFullError if nothing can be written now.
    """

    def __init__(
        self,
        storage: Opened,
        *,
        verifier: Verifier | None = None,
        on_damage: Callable[[RoomID, Sequence[Damage]], object] | None = None,
    ) -> None:
        """`on_damage` is told what was found and dropped: logs of that room must be made anew. `verifier`: for checks."""
        self.path = storage.path
        self.on_damage = on_damage
        self._writer: Writing = storage.writer
        self._reader = Reader(storage.path)
        self._verifier = verifier
        self._rooms: OrderedDict[RoomID, _Room] = OrderedDict()
        self._log = log.get_logger("history")

    def close_reader(self) -> None:
        """Close the connection that reads; whoever made the storage closes that."""
        self._reader.close()

    @property
    def committed(self) -> int:
        """The position up to which all writes are durable."""
        return self._writer.committed

    # --- rooms ------------------------------------------------------------

    def rooms(self) -> Sequence[Manifest]:
        """Return the manifests of all rooms of which something is kept."""
        self._writer.settle_all()
        return [row.manifest for row in self._reader.rooms() if row.is_good]

    def put_room(self, manifest: Manifest) -> None:
        """Keep a room's manifest; entries of unknown rooms cannot be put."""
        room = self._room(manifest.id)
        if room is not None and room.title == manifest.name:
            return
        self._writer.perform(writing.PUT_ROOM, (manifest,), owner=manifest.id, cost_bytes=len(manifest.name))
        if room is None:
            self._remember(_Room(manifest.id, manifest.name))
        else:
            room.title = manifest.name

    # --- writes ------------------------------------------------------------

    def put(self, batch: Batch, ids: Sequence[EntryID]) -> int:
        """Keep the entries of a batch that are not here, and its seal; returns the write's position.

        HistoryError: "unknown-room", or "malformed" for numbers of more than 63 bits.
        """
        room = self._known(batch.room)
        feed = room.feeds.get(batch.origin) or Feed(batch.origin)
        position = self._writer.position
        for first, last in list(spans.gaps(feed.spans, batch.seq, batch.seq + len(batch.entries) - 1)):
            position = self._append(room, feed, batch, ids, first, last)
            room.feeds[batch.origin] = feed
        return position

    def _append(
        self, room: _Room, feed: Feed, batch: Batch, ids: Sequence[EntryID], first: int, last: int
    ) -> int:
        start, end = first - batch.seq, last - batch.seq + 1
        entries, ids_, previous = batch.entries[start:end], ids[start:end], ids[start - 1] if start else batch.previous
        if not is_number(last) or not (is_number(entries[0].clock) and is_number(entries[-1].clock)):
            raise HistoryError("malformed", "a seq or a clock of more than 63 bits")
        size = sum([len(each.content or b"") for each in entries])
        seal = batch.seal if end == len(batch.entries) else b""
        rises = feed.tip is None or last > feed.tip[0]
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
            tip=write_tip(last, ids_[-1]) if rises else None,
            tombstones=[
                (at, target) for at, each in enumerate(entries) if (target := target_of(each)) is not None
            ],
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
            feed.tip = (last, ids_[-1])
        return position

    def erase(self, room: RoomID, id_: EntryID) -> int:
        """Drop an entry's content, keep its place; returns the write's position."""
        placed = self.find(room, id_)
        if placed is None or placed.entry.content is None:
            return self._writer.position
        return self._set_content(room, placed, placed.entry.content, keep=False)

    def restore(self, room: RoomID, id_: EntryID, content: bytes) -> int:
        """Give a bare entry its content back; returns the write's position. HistoryError("malformed") for another's."""
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
            writing.SET_CONTENT, (room, placed.origin, placed.id, *values, target, days), owner=room, cost_bytes=len(content)
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
        """Forget the entries of a feed from `first` to `last`, both included, as if they had never been here."""
        here = self._known(room)
        feed = here.feeds.get(origin)
        return self._writer.position if feed is None else self._cut(here, feed, first, last, None)

    def retain(self, room: RoomID, *, from_day: int | None = None, max_bytes: int | None = None) -> int:
        """Drop whole days, oldest first: all before `from_day`, then until `max_bytes` are kept; returns how many entries.

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

    def _cut(self, room: _Room, feed: Feed, first: int, last: int, excluded: tuple[int, bytes] | None) -> int:
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

    def tip(self, room: RoomID, origin: Origin) -> tuple[int, EntryID] | None:
        """Return seq and id of the last entry of a feed that ever was here, also if it is lost or was dropped.

        A node's own feed goes on behind that: two entries at one seq would be a fork.
        """
        here = self._room(room)
        feed = None if here is None else here.feeds.get(origin)
        return None if feed is None else feed.tip

    def keep_tip(self, room: RoomID, origin: Origin, tip: tuple[int, EntryID] | None) -> None:
        """Note what `tip` is to say of a feed, if nothing later is known."""
        feed = self._known(room).feeds.setdefault(origin, Feed(origin))
        if tip is not None and (feed.tip is None or feed.tip[0] < tip[0]):
            self._writer.perform(writing.SET_TIP, (room, origin, write_tip(*tip)), owner=room)
            feed.tip = tip

    def feed(self, room: RoomID, origin: Origin, first: int, last: int) -> list[Placed]:
        """Return the entries of a feed from seq `first` to `last`, both included, without those that are missing."""
        found = self._place(room, origin)
        return [] if found is None else self._read(found[0], found[1], first, last)

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

    def _ids(self, room: _Room, day: int | None) -> Iterator[EntryID]:
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
        """Return the tombstones of an entry that have their contents; without a target: those whose target is not here."""
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

    def _read(self, room: _Room, feed: Feed, first: int, last: int, *, again: bool = False) -> list[Placed]:
        """Return checked entries of a feed; a feed that shows a damage is mended first."""
        number = self._number(room, feed)
        if number is None:
            return []
        chain = Chain(room.id, feed.origin)
        followed = [chain.follow(row) for row in self._reader.rows(number, max(1, first - 1), last)]
        found = [placed for placed in followed if placed is not None and first <= placed.seq <= last]
        here = sum(
            max(0, min(span.last, last) - max(span.first, first) + 1)
            for span in spans.touching(feed.spans, max(1, first), min(last, LARGEST))
        )
        if len(found) != here and not again:
            self._mend(room, feed, number, first, last)
            return self._read(room, feed, first, last, again=True)
        return found

    # --- memory ------------------------------------------------------------

    def _known(self, room: RoomID) -> _Room:
        found = self._room(room)
        if found is None:
            raise HistoryError("unknown-room", room.hex())
        return found

    def _room(self, room: RoomID) -> _Room | None:
        found = self._rooms.get(room)
        if found is not None:
            self._rooms.move_to_end(room)
            return found
        self._writer.settle(room)
        row = self._reader.room(room)
        return None if row is None else self._remember(self._load(row))

    def _remember(self, room: _Room) -> _Room:
        self._rooms[room.id] = room
        while len(self._rooms) > ROOMS_LIMIT:
            self._rooms.popitem(last=False)
        return room

    def _place(self, room: RoomID, origin: Origin) -> tuple[_Room, Feed, int] | None:
        """Return a feed and the number of its rows, all of which are written; None if there is none."""
        here = self._room(room)
        feed = None if here is None else here.feeds.get(origin)
        number = None if here is None or feed is None else self._number(here, feed)
        return None if here is None or feed is None or number is None else (here, feed, number)

    def _number(self, room: _Room, feed: Feed) -> int | None:
        """Return the number of a feed's rows when all of them are written."""
        self._writer.settle(room.id)
        if feed.number is None:
            feed.number = self._reader.number_of_feed(room.id, feed.origin)
        return feed.number

    def _load(self, row: RoomRow) -> _Room:
        room = _Room(row.id, row.title)
        for each in self._reader.feeds(row.number):
            feed = room.feeds[each.origin] = Feed.of(each)
            if quick(self._reader, row, each) or not self._fill(row.id, feed, each):
                self._repair(room, row, each, feed)
        return room

    def _fill(self, room: RoomID, feed: Feed, row: FeedRow) -> bool:
        """Read which entries of a feed are here; False if that cannot be."""
        feed.days = self._reader.days(row.number)
        try:
            for first, last in joined(self._reader.runs(row.number)):
                head = self._reader.row_id(row.number, last.last)
                rows = self._reader.rows(row.number, first.seq, first.seq)
                placed = Chain(room, feed.origin).follow(rows[0]) if rows else None
                if first.previous is None or head is None or placed is None or placed.previous != first.previous:
                    return False
                feed.spans.append(Span(first.seq, last.last, first.previous, head))
        except ValueError:
            return False
        return True

    # --- damage ------------------------------------------------------------

    def check(self, room: RoomID) -> list[Damage]:
        """Check a room in full; returns what was damaged and has been dropped. Seconds for a million entries."""
        self._writer.settle(room)
        row = self._reader.room(room)
        if row is None:
            return []
        here = self._rooms.get(room) or _Room(row.id, row.title)
        found = []
        for each in self._reader.feeds(row.number):
            feed = here.feeds.setdefault(each.origin, Feed.of(each))
            found += self._repair(here, row, each, feed).damages
        self._remember(here)
        return found

    def _mend(self, room: _Room, feed: Feed, number: int, first: int, last: int) -> None:
        """Do something about a damage that shows in what was read."""
        row = self._reader.room(room.id)
        rows = [] if row is None else [each for each in self._reader.feeds(row.number) if each.number == number]
        if row is not None and rows and len(feed) <= MENDED_AT_ONCE:
            self._repair(room, row, rows[0], feed)
            return
        self._report(room, [Damage(room.title, feed.origin, first, last, ALTERED)])
        try:
            self._writer.perform(writing.SUSPECT, (room.id, feed.origin), owner=room.id)
        except StorageFullError:
            return  # it will show again

    def _repair(self, room: _Room, row: RoomRow, feed_row: FeedRow, feed: Feed) -> Found:
        """Check a feed in full, and drop what is damaged; StorageError if not all of it can be read."""
        found = FeedCheck(self._reader, row, feed_row, self._verifier).run()
        if found.damages:
            self._report(room, found.damages)
        if found.error is not None:
            raise StorageError(self.path, found.error.reason) from found.error.__cause__
        feed.days = dict(found.days)
        feed.spans = []
        heads = {run.last: head for run, head in zip(found.runs, found.heads, strict=True)}
        for first, last in joined(found.runs):
            if first.previous is not None:
                feed.spans.append(Span(first.seq, last.last, first.previous, heads[last.last]))
        feed.forget_seals()
        tip = feed_row.tip
        if found.tip is not None and (tip is None or found.tip[0] >= tip[0]):
            tip = found.tip
        feed.tip = tip
        if not found.keeps_exclusion:
            feed.excluded, feed.proof = None, b""
        if found.damages or feed_row.suspect:
            values = (
                *(found.runs, list(found.days.values()), found.seals),
                *(None if tip is None else write_tip(*tip), found.keeps_exclusion),
            )
            try:
                self._writer.perform(writing.REBUILD, (room.id, feed.origin, *values), owner=room.id)
            except StorageFullError as error:
                self._not_repaired(room, error)
        return found

    def _not_repaired(self, room: _Room, error: StorageFullError) -> None:
        """Say that a damage stays on disk; it is found again at the next start."""
        self._log.error("not repaired", file=self.path, room=room.title, reason=error.reason)

    def _report(self, room: _Room, damages: Sequence[Damage]) -> None:
        for each in damages[:100]:
            origin = each.origin.hex() if each.origin is not None else "-"
            self._log.error("damaged", file=self.path, room=each.room, origin=origin, seq=each.seq, last=each.last, what=each.what)
        if self.on_damage is not None:
            self.on_damage(room.id, damages)


def _place(placed: Placed) -> tuple[Clock, Origin, int]:
    return (placed.entry.clock, placed.origin, placed.seq)

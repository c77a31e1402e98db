"""The rooms of a database of histories as a process has them in memory, loaded when they are used, and their repair."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Protocol

from megaphone import log
from megaphone.errors import HistoryError, StorageError, StorageFullError
from megaphone.history import spans
from megaphone.history.ports import Placed, Span
from megaphone.storage import history_writing as writing
from megaphone.storage.history_check import ALTERED, Damage, FeedCheck, quick
from megaphone.storage.history_feeds import Feed, joined
from megaphone.storage.history_reading import Reader
from megaphone.storage.history_rows import LARGEST, Chain, write_tip

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from megaphone.history.entry import Origin
    from megaphone.history.manifest import RoomID
    from megaphone.history.ports import Verifier
    from megaphone.storage.history_check import Found
    from megaphone.storage.history_rows import FeedRow, RoomRow
    from megaphone.storage.transaction import Program

ROOMS_LIMIT: Final = 16_384  # in memory; those that were not used for longest are read again when they are
MENDED_AT_ONCE: Final = 16_384  # entries of a feed that is checked whole as soon as a damage shows, not later


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


class Room:
    """What is in memory of a room."""

    __slots__ = ("feeds", "id", "title")

    def __init__(self, id_: RoomID, title: str) -> None:
        self.id = id_
        self.title = title
        self.feeds: dict[Origin, Feed] = {}


class HistoryRooms:
    """What `SQLiteHistory` stands on."""

    def __init__(
        self,
        storage: Opened,
        *,
        verifier: Verifier | None = None,
        on_damage: Callable[[RoomID, Sequence[Damage]], object] | None = None,
    ) -> None:
        """`on_damage` is told what was found and dropped: the room's log must be made anew. `verifier`: for checks."""
        self.path = storage.path
        self.on_damage = on_damage
        self._writer: Writing = storage.writer
        self._reader = Reader(storage.path)
        self._verifier = verifier
        self._rooms: OrderedDict[RoomID, Room] = OrderedDict()
        self._log = log.get_logger("history")

    def close_reader(self) -> None:
        """Close the connection that reads; whoever made the storage closes that."""
        self._reader.close()

    def _read(self, room: Room, feed: Feed, first: int, last: int, *, again: bool = False) -> list[Placed]:
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

    def _known(self, room: RoomID) -> Room:
        found = self._room(room)
        if found is None:
            raise HistoryError("unknown-room", room.hex())
        return found

    def _room(self, room: RoomID) -> Room | None:
        found = self._rooms.get(room)
        if found is not None:
            self._rooms.move_to_end(room)
            return found
        self._writer.settle(room)
        row = self._reader.room(room)
        return None if row is None else self._remember(self._load(row))

    def _remember(self, room: Room) -> Room:
        self._rooms[room.id] = room
        while len(self._rooms) > ROOMS_LIMIT:
            self._rooms.popitem(last=False)
        return room

    def _place(self, room: RoomID, origin: Origin) -> tuple[Room, Feed, int] | None:
        """Return a feed and the number of its rows, all of which are written; None if there is none."""
        here = self._room(room)
        feed = None if here is None else here.feeds.get(origin)
        number = None if here is None or feed is None else self._number(here, feed)
        return None if here is None or feed is None or number is None else (here, feed, number)

    def _number(self, room: Room, feed: Feed) -> int | None:
        """Return the number of a feed's rows when all of them are written."""
        self._writer.settle(room.id)
        if feed.number is None:
            feed.number = self._reader.number_of_feed(room.id, feed.origin)
        return feed.number

    def _load(self, row: RoomRow) -> Room:
        room = Room(row.id, row.title)
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
        here = self._rooms.get(room) or Room(row.id, row.title)
        found = []
        for each in self._reader.feeds(row.number):
            feed = here.feeds.setdefault(each.origin, Feed.of(each))
            found += self._repair(here, row, each, feed).damages
        self._remember(here)
        return found

    def _mend(self, room: Room, feed: Feed, number: int, first: int, last: int) -> None:
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

    def _repair(self, room: Room, row: RoomRow, feed_row: FeedRow, feed: Feed) -> Found:
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
        tip = feed.tip  # of a running process, whatever became of the note of it on disk
        if found.tip is not None and (tip is None or found.tip.seq >= tip.seq):
            tip = found.tip
        feed.tip = tip
        if not found.keeps_exclusion:
            feed.excluded, feed.proof = None, b""
        if found.damages or feed_row.suspect:
            values = (
                *(found.runs, list(found.days.values()), found.seals),
                *(None if tip is None else write_tip(tip), found.keeps_exclusion),
            )
            try:
                self._writer.perform(writing.REBUILD, (room.id, feed.origin, *values), owner=room.id)
            except StorageFullError as error:
                self._not_repaired(room, error)
        return found

    def _not_repaired(self, room: Room, error: StorageFullError) -> None:
        """Say that a damage stays on disk; it is found again at the next start."""
        self._log.error("not repaired", file=self.path, room=room.title, reason=error.reason)

    def _report(self, room: Room, damages: Sequence[Damage]) -> None:
        for each in damages[:100]:
            origin = each.origin.hex() if each.origin is not None else "-"
            self._log.error(
                "damaged", file=self.path, room=each.room, origin=origin, seq=each.seq, last=each.last, what=each.what
            )
        if self.on_damage is not None:
            self.on_damage(room.id, damages)

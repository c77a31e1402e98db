"""Reads the tables of histories. Texts are read as bytes: they may not be UTF-8 any more."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any, Final

from megaphone.history.clock import Clock
from megaphone.history.entry import EntryID, Origin
from megaphone.history.manifest import RoomID
from megaphone.storage.database import connect, words
from megaphone.storage.history_rows import LARGEST, Day, EntryRow, FeedRow, RoomRow, Run, is_id, is_number, read_tip

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROWS_AT_ONCE: Final = 256

_ROWS: Final = (
    "SELECT r.seq + e.n - r.n, e.n, CASE WHEN e.n = r.n THEN CAST(r.previous AS BLOB) END,"
    " e.clock, e.kind, CAST(e.id AS BLOB), CAST(e.hash AS BLOB), CAST(e.content AS BLOB)"
    " FROM log_run AS r CROSS JOIN log_entry AS e ON e.n BETWEEN"
    " r.n + max(0, ?2 - r.seq) AND r.n + min(r.count - 1, ?3 - r.seq)"
    " WHERE r.feed = ?1 AND r.seq BETWEEN"
    " ifnull((SELECT max(seq) FROM log_run WHERE feed = ?1 AND seq <= ?2), ?2) AND ?3"
    " ORDER BY r.seq, e.n"
)

_MENTIONS: Final = "SELECT r.seq + e.n - r.n FROM" + _ROWS.partition(" FROM")[2].replace(
    " ORDER BY", " AND (e.content IS NULL OR instr(e.content, ?4)) ORDER BY"
)


class Reader:
    """A connection that reads. StorageError from every call if the file cannot be read."""

    def __init__(self, path: str) -> None:
        """Open a database that exists."""
        self.path = path
        with words(path):
            self.connection = connect(path, read_only=True)

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()

    def hold(self) -> None:
        """Read the file as it is now from here on, whatever is written meanwhile."""
        with words(self.path):
            self.connection.execute("BEGIN")

    def read(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return all rows."""
        with words(self.path):
            return self.connection.execute(query, values).fetchall()

    def each(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows one by one."""
        with words(self.path):
            cursor = self.connection.execute(query, values)
        try:
            while True:
                with words(self.path):
                    rows = cursor.fetchmany(ROWS_AT_ONCE)
                if not rows:
                    return
                yield from rows
        finally:
            with contextlib.suppress(sqlite3.Error):
                cursor.close()

    def is_history(self) -> bool:
        """Whether the file has the tables of histories."""
        return bool(self.read("SELECT 1 FROM sqlite_schema WHERE name = 'log_entry'"))

    def rooms(self) -> list[RoomRow]:
        """Return all rooms, also those whose manifest is wrong."""
        rows = self.read("SELECT number, CAST(id AS BLOB), CAST(kind AS BLOB), CAST(name AS BLOB) FROM log_room")
        return [_room(row) for row in rows]

    def room(self, room: RoomID) -> RoomRow | None:
        """Return the room with an id."""
        rows = self.read(
            "SELECT number, id, CAST(kind AS BLOB), CAST(name AS BLOB) FROM log_room WHERE id = ?", (room,)
        )
        return _room(rows[0]) if rows else None

    def number_of_feed(self, room: RoomID, origin: Origin) -> int | None:
        """Return the number of a feed."""
        rows = self.read(
            "SELECT number FROM log_feed WHERE room = (SELECT number FROM log_room WHERE id = ?) AND origin = ?",
            (room, origin),
        )
        return int(rows[0][0]) if rows else None

    def feeds(self, room: int) -> list[FeedRow]:
        """Return the feeds of a room; those with an impossible origin are left out."""
        rows = self.read(
            "SELECT number, CAST(origin AS BLOB), CAST(tip AS BLOB), excluded, CAST(proof AS BLOB), suspect"
            " FROM log_feed WHERE room = ?",
            (room,),
        )
        return [
            FeedRow(
                number=number,
                origin=Origin(origin),
                tip=read_tip(tip),
                has_tip=tip is not None,
                excluded=excluded if is_number(excluded) and excluded else None,
                proof=proof or b"",
                suspect=bool(suspect),
            )
            for number, origin, tip, excluded, proof, suspect in rows
            if is_id(origin)
        ]

    def runs(self, feed: int) -> Iterator[Run]:
        """Yield the runs of a feed in order; those that cannot be are left out."""
        query = "SELECT n, seq, count, CAST(previous AS BLOB) FROM log_run WHERE feed = ? ORDER BY seq"
        for n, seq, count, previous in self.each(query, (feed,)):
            if is_number(n) and is_number(seq) and is_number(count) and n and seq and count:
                yield Run(n, seq, count, EntryID(previous) if is_id(previous) else None)

    def days(self, feed: int) -> dict[int, Day]:
        """Return the digests of a feed."""
        rows = self.read(
            "SELECT day, count, CAST(sum AS BLOB), bytes FROM log_day WHERE feed = ? ORDER BY day", (feed,)
        )
        return {
            day: Day(day, count, int.from_bytes(sum_[:16]), size)
            for day, count, sum_, size in rows
            if is_number(day) and is_number(count) and is_number(size) and isinstance(sum_, bytes)
        }

    def seals(self, feed: int) -> list[tuple[int, bytes]]:
        """Return the seals of a feed in order: seq and signature."""
        rows = self.read("SELECT seq, CAST(signature AS BLOB) FROM log_seal WHERE feed = ? ORDER BY seq", (feed,))
        return [(seq, signature or b"") for seq, signature in rows if is_number(seq)]

    def seal(self, feed: int, seq: int) -> tuple[int, bytes] | None:
        """Return the first seal at `seq` or after."""
        query = "SELECT seq, CAST(signature AS BLOB) FROM log_seal WHERE feed = ? AND seq >= ? ORDER BY seq LIMIT 1"
        rows = self.read(query, (feed, min(seq, LARGEST)))
        return (rows[0][0], rows[0][1]) if rows and is_number(rows[0][0]) and isinstance(rows[0][1], bytes) else None

    def row_id(self, feed: int, seq: int) -> EntryID | None:
        """Return the id that the row of an entry has."""
        rows = self.rows(feed, seq, seq)
        return EntryID(rows[0].id) if rows and is_id(rows[0].id) else None

    def clock(self, feed: int, seq: int) -> int | None:
        """Return the clock of an entry, unchecked."""
        found = self.read(
            "SELECT clock FROM log_entry WHERE n = (SELECT n + ?2 - seq FROM log_run"
            " WHERE feed = ?1 AND seq <= ?2 ORDER BY seq DESC LIMIT 1)",
            (feed, seq),
        )
        return found[0][0] if found and is_number(found[0][0]) else None

    def rows(self, feed: int, first: int, last: int) -> list[EntryRow]:
        """Return the rows of a feed's entries from `first` to `last`, as they are."""
        return [EntryRow(*row) for row in self.read(_ROWS, (feed, min(first, LARGEST), min(last, LARGEST)))]

    def mentions(self, feed: int, first: int, last: int, mention: bytes) -> list[int]:
        """Return the seqs of entries that have certain bytes in their content, or no content; unchecked."""
        values = (feed, min(first, LARGEST), min(last, LARGEST), mention)
        return [seq for (seq,) in self.read(_MENTIONS, values) if is_number(seq)]

    def all_rows(self, feed: int) -> Iterator[EntryRow]:
        """Yield the rows of all entries of a feed by seq; two for one seq if runs lap over each other."""
        runs = self.read(
            "SELECT 1 FROM (SELECT seq, lag(seq + count, 1, 0) OVER (ORDER BY seq) AS free FROM log_run WHERE feed = ?)"
            " WHERE seq < free LIMIT 1",
            (feed,),
        )
        # sorting is for the rare feed whose runs lap over each other
        query = _ROWS.replace("ORDER BY r.seq, e.n", "ORDER BY 1, e.n") if runs else _ROWS
        for row in self.each(query, (feed, 0, LARGEST)):
            yield EntryRow(*row)

    def ids(self, feed: int, first: int, last: int) -> Iterator[EntryID]:
        """Yield the ids of a feed's entries, unchecked."""
        query = "SELECT CAST(e.id AS BLOB) FROM" + _ROWS.partition(" FROM")[2]
        for (id_,) in self.each(query, (feed, first, min(last, LARGEST))):
            if is_id(id_):
                yield EntryID(id_)

    def sizes(self, feed: int, first: int, last: int) -> Iterator[tuple[int, Clock, EntryID, int]]:
        """Yield seq, clock, id and bytes of content of entries, unchecked."""
        query = (
            "SELECT r.seq + e.n - r.n, e.clock, CAST(e.id AS BLOB), ifnull(length(e.content), 0) FROM"
            + _ROWS.partition(" FROM")[2]
        )
        for row in self.each(query, (feed, first, min(last, LARGEST))):
            if is_number(row[0]) and is_number(row[1]) and is_id(row[2]):
                yield row[0], Clock(row[1]), EntryID(row[2]), row[3]

    def places(self, room: int, id_: EntryID) -> list[tuple[int, Origin, int, int]]:
        """Return where an entry with an id is said to be: number of the feed, origin, seq, row."""
        found = []
        for (n,) in self.read("SELECT n FROM log_entry WHERE substr(id, 1, 4) = ?1 AND id = ?2", (id_[:4], id_)):
            found += [(n, *place) for place in self._places_of_row(room, n)]
        return [(feed, origin, seq, n) for n, feed, origin, seq in found]

    def place_of_row(self, room: int, n: int) -> tuple[int, Origin, int] | None:
        """Return whose entry is in a row: number of the feed, origin, seq."""
        found = self._places_of_row(room, n)
        return found[0] if found else None

    def _places_of_row(self, room: int, n: int) -> list[tuple[int, Origin, int]]:
        rows = self.read(
            "SELECT f.number, CAST(f.origin AS BLOB), r.seq + ?1 - r.n FROM log_run AS r JOIN log_feed AS f"
            " ON f.number = r.feed WHERE r.n = (SELECT max(n) FROM log_run WHERE n <= ?1) AND r.n + r.count > ?1"
            " AND f.room = ?2",
            (n, room),
        )
        return [(number, Origin(origin), seq) for number, origin, seq in rows if is_id(origin) and is_number(seq)]

    def tombstones(self, room: int, target: EntryID | None) -> list[int]:
        """Return the rows of the tombstones of a target, or of all targets that are not here."""
        if target is not None:
            rows = self.read("SELECT n FROM log_tombstone WHERE room = ? AND target = ?", (room, target))
        else:
            rows = self.read(
                "SELECT t.n FROM log_tombstone AS t WHERE t.room = ? AND NOT EXISTS (SELECT 1 FROM log_entry AS e"
                " WHERE substr(e.id, 1, 4) = substr(t.target, 1, 4) AND e.id = t.target)",
                (room,),
            )
        return [n for (n,) in rows if is_number(n)]


def _room(row: tuple[Any, ...]) -> RoomRow:
    number, id_, kind, name = row
    return RoomRow(
        number, RoomID(id_ or b""), (kind or b"").decode(errors="replace"), (name or b"").decode(errors="replace")
    )

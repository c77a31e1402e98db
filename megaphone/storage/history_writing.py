"""What the writer does to the tables of histories: one program for each change, whole or not at all.

Rooms and feeds are named by what they are, not by their numbers: numbers are given here, when a program runs. So are
rows, always behind the last one, so that their pages are full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from megaphone.storage.transaction import Program, Statement, write_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from megaphone.history.entry import EntryID, Origin
    from megaphone.history.manifest import Manifest, RoomID
    from megaphone.storage.history_rows import Day, Run

_ENTRIES: Final = Statement("INSERT INTO log_entry (n, clock, kind, id, hash, content) VALUES ", "(?, ?, ?, ?, ?, ?)")

EntryValues = tuple[int, int, bytes, bytes | None, bytes | None]
"""Clock, kind, id, hash of a content that is gone, content."""


class Appended(NamedTuple):
    """Consecutive entries of which none is here."""

    seq: int
    previous: EntryID | None
    """Id of the entry before the first, if that is not here."""
    entries: Sequence[EntryValues]
    seal: bytes
    """Of the last entry, or empty."""
    unneeded_seal: int
    """Seq of a seal that this one makes superfluous, 0 for none."""
    days: Sequence[Day]
    """The whole digests of the days that change."""
    tip: bytes | None
    """If no later entry ever was here."""
    tombstones: Sequence[tuple[int, bytes]]
    """Index of an entry, and the id of the one that it erases."""


def _put_room(connection: sqlite3.Connection, manifest: Manifest) -> None:
    connection.execute(
        "INSERT INTO log_room (id, kind, name) VALUES (?1, ?2, ?3)"
        " ON CONFLICT (id) DO UPDATE SET kind = ?2, name = ?3 WHERE kind <> ?2 OR name <> ?3",
        (manifest.id, manifest.kind, manifest.name),
    )


def _append(connection: sqlite3.Connection, room: RoomID, origin: Origin, new: Appended) -> None:
    feed = _feed(connection, room, origin)
    ((n,),) = connection.execute(
        "SELECT 1 + max(ifnull((SELECT max(n) FROM log_entry), 0),"
        " ifnull((SELECT n + count - 1 FROM log_run ORDER BY n DESC LIMIT 1), 0))"
    ).fetchall()
    count, last = len(new.entries), new.seq + len(new.entries) - 1
    extended = connection.execute(
        "UPDATE log_run SET count = count + ?1 WHERE feed = ?2 AND seq = (SELECT max(seq) FROM log_run"
        " WHERE feed = ?2 AND seq < ?3) AND seq + count = ?3 AND n + count = ?4",
        (count, feed, new.seq, n),
    ).rowcount
    if not extended:
        connection.execute(
            "INSERT INTO log_run (n, feed, seq, count, previous) VALUES (?, ?, ?, ?, ?)",
            (n, feed, new.seq, count, new.previous),
        )
    write_rows(connection, _ENTRIES, [(n + at, *values) for at, values in enumerate(new.entries)])
    if new.seal:
        connection.execute(
            "INSERT OR REPLACE INTO log_seal (feed, seq, signature) VALUES (?, ?, ?)", (feed, last, new.seal)
        )
        if new.unneeded_seal:
            connection.execute("DELETE FROM log_seal WHERE feed = ? AND seq = ?", (feed, new.unneeded_seal))
    for at, target in new.tombstones:
        _note_tombstone(connection, room, target, n + at)
    _put_days(connection, feed, new.days)
    if new.tip is not None:
        connection.execute("UPDATE log_feed SET tip = ? WHERE number = ?", (new.tip, feed))


def _set_content(
    connection: sqlite3.Connection,
    room: RoomID,
    origin: Origin,
    id_: EntryID,
    hash_: bytes | None,
    content: bytes | None,
    target: bytes | None,
    days: Sequence[Day],
) -> None:
    feed = _feed(connection, room, origin)
    query = "SELECT n FROM log_entry WHERE substr(id, 1, 4) = ?1 AND id = ?2"
    for (n,) in connection.execute(query, (id_[:4], id_)).fetchall():
        connection.execute("UPDATE log_entry SET hash = ?, content = ? WHERE n = ?", (hash_, content, n))
        if target is not None and content is None:
            connection.execute("DELETE FROM log_tombstone WHERE target = ? AND n = ?", (target, n))
        elif target is not None:
            _note_tombstone(connection, room, target, n)
    _put_days(connection, feed, days)


def _cut(
    connection: sqlite3.Connection,
    room: RoomID,
    origin: Origin,
    first: int,
    last: int,
    days: Sequence[Day],
    excluded: tuple[int, bytes] | None,
) -> None:
    """Take entries from seq `first` to `last` out. `days`: what becomes of the days they were of; empty ones go."""
    feed = _feed(connection, room, origin)
    if excluded is not None:
        connection.execute("UPDATE log_feed SET excluded = ?, proof = ? WHERE number = ?", (*excluded, feed))
    runs = connection.execute(
        "SELECT n, seq, count, previous FROM log_run WHERE feed = ?1 AND seq <= ?3 AND seq >="
        " ifnull((SELECT max(seq) FROM log_run WHERE feed = ?1 AND seq <= ?2), ?2) ORDER BY seq",
        (feed, first, last),
    ).fetchall()
    before: bytes | None = None
    for n, seq, count, previous in runs:
        start, end = max(first, seq), min(last, seq + count - 1)
        if start > end:
            continue
        if end == last or end == seq + count - 1:
            found = connection.execute("SELECT id FROM log_entry WHERE n = ?", (n + end - seq,)).fetchone()
            before = found[0] if found else None
        rows = (n + start - seq, n + end - seq)
        connection.execute("DELETE FROM log_entry WHERE n BETWEEN ? AND ?", rows)
        connection.execute(
            "DELETE FROM log_tombstone WHERE room = (SELECT room FROM log_feed WHERE number = ?) AND n BETWEEN ? AND ?",
            (feed, *rows),
        )
        connection.execute("DELETE FROM log_run WHERE n = ?", (n,))
        if start > seq:
            _put_runs(connection, feed, [(n, seq, start - seq, previous)])
        if end < seq + count - 1:
            _put_runs(connection, feed, [(n + end + 1 - seq, end + 1, seq + count - 1 - end, before)])
    connection.execute(
        "UPDATE log_run SET previous = ? WHERE feed = ? AND seq = ? AND previous IS NULL", (before, feed, last + 1)
    )
    connection.execute("DELETE FROM log_seal WHERE feed = ? AND seq BETWEEN ? AND ?", (feed, first, last))
    _put_days(connection, feed, days)


def _rebuild(
    connection: sqlite3.Connection,
    room: RoomID,
    origin: Origin,
    runs: Sequence[Run],
    days: Sequence[Day],
    seals: Sequence[int],
    tip: bytes | None,
    keep_exclusion: bool,
) -> None:
    """Make a feed have exactly these runs, digests and seals (by seq); its rows that are in none of them go."""
    feed = _feed(connection, room, origin)
    claimed = connection.execute("SELECT n, count FROM log_run WHERE feed = ?", (feed,)).fetchall()
    if not keep_exclusion:
        connection.execute("UPDATE log_feed SET excluded = NULL, proof = NULL WHERE number = ?", (feed,))
    connection.execute("DELETE FROM log_run WHERE feed = ?", (feed,))
    _put_runs(connection, feed, runs)
    connection.execute("DELETE FROM log_day WHERE feed = ?", (feed,))
    _put_days(connection, feed, days)
    kept = set(seals)
    for (seq,) in connection.execute("SELECT seq FROM log_seal WHERE feed = ?", (feed,)).fetchall():
        if seq not in kept:
            connection.execute("DELETE FROM log_seal WHERE feed = ? AND seq = ?", (feed, seq))
    _delete_rows(connection, claimed)
    if claimed:
        connection.execute("DELETE FROM log_tombstone WHERE n NOT IN (SELECT n FROM log_entry)")
    connection.execute("UPDATE log_feed SET suspect = 0 WHERE number = ?", (feed,))
    connection.execute("UPDATE log_feed SET tip = ? WHERE number = ?", (tip, feed))


def _set_tombstones(connection: sqlite3.Connection, room: int, tombstones: Sequence[tuple[bytes, int]]) -> None:
    """Make a room, by its number, have exactly these tombstones: target and row."""
    connection.execute("DELETE FROM log_tombstone WHERE room = ?", (room,))
    for target, n in tombstones:
        connection.execute("INSERT INTO log_tombstone (room, target, n) VALUES (?, ?, ?)", (room, target, n))


def _sweep(connection: sqlite3.Connection) -> None:
    """Delete the rows that are of no room, no feed, no run or no entry."""
    connection.execute("DELETE FROM log_feed WHERE room NOT IN (SELECT number FROM log_room)")
    connection.execute("DELETE FROM log_run WHERE feed NOT IN (SELECT number FROM log_feed)")
    connection.execute("DELETE FROM log_seal WHERE feed NOT IN (SELECT number FROM log_feed)")
    connection.execute("DELETE FROM log_day WHERE feed NOT IN (SELECT number FROM log_feed)")
    _delete_rows(connection, [(-(2**63), 2**64 - 1)])
    connection.execute(
        "DELETE FROM log_tombstone"
        " WHERE n NOT IN (SELECT n FROM log_entry) OR room NOT IN (SELECT number FROM log_room)"
    )


def _reindex(connection: sqlite3.Connection) -> None:
    """Make the indexes anew."""
    for name in ("log_entry_id", "log_run_seq"):
        connection.execute(f"REINDEX {name}")


def _mend_room(connection: sqlite3.Connection, number: int, id_: RoomID | None) -> None:
    """Give a room the id of its name; None: forget the room, whose feeds `_sweep` takes."""
    if id_ is None:
        connection.execute("DELETE FROM log_room WHERE number = ?", (number,))
    else:
        connection.execute("UPDATE log_room SET id = ? WHERE number = ?", (id_, number))


def _set_tip(connection: sqlite3.Connection, room: RoomID, origin: Origin, tip: bytes) -> None:
    connection.execute("UPDATE log_feed SET tip = ? WHERE number = ?", (tip, _feed(connection, room, origin)))


def _suspect(connection: sqlite3.Connection, room: RoomID, origin: Origin) -> None:
    """Note that a feed has to be checked whole when it is used the next time."""
    feed = _feed(connection, room, origin)
    connection.execute("UPDATE log_feed SET suspect = 1 WHERE number = ?", (feed,))


def _feed(connection: sqlite3.Connection, room: RoomID, origin: Origin) -> int:
    """Return the number of a feed, which is made if need be."""
    query = "SELECT number FROM log_feed WHERE room = (SELECT number FROM log_room WHERE id = ?) AND origin = ?"
    found = connection.execute(query, (room, origin)).fetchone()
    if found is None:
        connection.execute(
            "INSERT INTO log_feed (room, origin) VALUES ((SELECT number FROM log_room WHERE id = ?), ?)", (room, origin)
        )
        found = connection.execute(query, (room, origin)).fetchone()
    return int(found[0])


def _delete_rows(connection: sqlite3.Connection, claimed: Sequence[tuple[int, int]]) -> None:
    """Delete those of some rows (first and number of each run) that are of no run now."""
    for n, count in claimed:
        start, end = n, min(n + count - 1, 2**63 - 1)
        query = (
            "SELECT n, count FROM log_run WHERE n <= ?2 AND n >="
            " ifnull((SELECT max(n) FROM log_run WHERE n <= ?1), ?1) ORDER BY n"
        )
        for kept, kept_count in connection.execute(query, (start, end)).fetchall():
            if start < kept:
                connection.execute("DELETE FROM log_entry WHERE n BETWEEN ? AND ?", (start, kept - 1))
            start = max(start, kept + kept_count)
        if start <= end:
            connection.execute("DELETE FROM log_entry WHERE n BETWEEN ? AND ?", (start, end))


def _put_runs(connection: sqlite3.Connection, feed: int, runs: Sequence[tuple[int, int, int, bytes | None]]) -> None:
    for n, seq, count, previous in runs:
        connection.execute(
            "INSERT INTO log_run (n, feed, seq, count, previous) VALUES (?, ?, ?, ?, ?)",
            (n, feed, seq, count, previous),
        )


def _put_days(connection: sqlite3.Connection, feed: int, days: Sequence[Day]) -> None:
    for day, count, total, size in days:
        if count:
            connection.execute(
                "INSERT OR REPLACE INTO log_day (feed, day, count, sum, bytes) VALUES (?, ?, ?, ?, ?)",
                (feed, day, count, total.to_bytes(16), size),
            )
        else:
            connection.execute("DELETE FROM log_day WHERE feed = ? AND day = ?", (feed, day))


def _note_tombstone(connection: sqlite3.Connection, room: RoomID, target: bytes, n: int) -> None:
    connection.execute(
        "INSERT OR IGNORE INTO log_tombstone (room, target, n)"
        " VALUES ((SELECT number FROM log_room WHERE id = ?), ?, ?)",
        (room, target, n),
    )


PUT_ROOM: Final = Program("keep a room", _put_room)
APPEND: Final = Program("append to a feed", _append)
SET_CONTENT: Final = Program("erase or restore a content", _set_content)
CUT: Final = Program("take entries of a feed out", _cut)
REBUILD: Final = Program("repair a feed", _rebuild)
SET_TOMBSTONES: Final = Program("repair the tombstones of a room", _set_tombstones)
SWEEP: Final = Program("delete rows of nothing", _sweep)
REINDEX: Final = Program("make the indexes of histories anew", _reindex)
MEND_ROOM: Final = Program("mend a room", _mend_room)
SET_TIP: Final = Program("note the last entry of a feed", _set_tip)
SUSPECT: Final = Program("note a damage", _suspect)

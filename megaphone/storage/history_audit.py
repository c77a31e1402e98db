"""Checks all histories of a file in full: every feed, and what is of no feed, no room or no entry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from megaphone.errors import StorageError
from megaphone.storage.history_check import UNREADABLE, Damage, FeedCheck

if TYPE_CHECKING:
    from megaphone.history.ports import Verifier
    from megaphone.storage.history_check import Found
    from megaphone.storage.history_reading import Reader
    from megaphone.storage.history_rows import RoomRow

NO_MANIFEST: Final = "the room's name is not that of its id"
TOMBSTONES: Final = "the table of tombstones is not that of the entries"
OF_NOTHING: Final = "rows in {} that are of nothing"
PAGES: Final = "SQLite finds: {}"

_ORPHANS: Final = (
    (
        "log_feed",
        "SELECT count(*) FROM log_feed WHERE room NOT IN (SELECT number FROM log_room) OR length(origin) <> 32",
    ),
    ("log_run", "SELECT count(*) FROM log_run WHERE feed NOT IN (SELECT number FROM log_feed)"),
    ("log_seal", "SELECT count(*) FROM log_seal WHERE feed NOT IN (SELECT number FROM log_feed)"),
    ("log_day", "SELECT count(*) FROM log_day WHERE feed NOT IN (SELECT number FROM log_feed)"),
    ("log_tombstone", "SELECT count(*) FROM log_tombstone WHERE room NOT IN (SELECT number FROM log_room)"),
    ("log_entry", "SELECT (SELECT count(*) FROM log_entry) - (SELECT ifnull(sum(count), 0) FROM log_run)"),
)


@dataclass(slots=True)
class Audited:
    """What is in a file, and what is wrong with it."""

    rooms: int = 0
    feeds: int = 0
    entries: int = 0
    damages: list[Damage] = field(default_factory=list)
    orphans: bool = False
    """Rows of nothing are there."""
    indexes: bool = False
    """SQLite finds something wrong."""
    tombstones: list[tuple[int, list[tuple[bytes, int]]]] = field(default_factory=list)
    """Rooms (by number) whose tombstones are wrong, and what they should be."""


def audit(reader: Reader, verifier: Verifier | None) -> Audited:
    """Check; nothing is changed. A file that cannot be read is a damage, too, not an error."""
    audited = Audited()
    try:
        for room in reader.rooms():
            _audit_room(reader, room, verifier, audited)
        if not audited.damages:  # else they follow from what was found
            for table, query in _ORPHANS:
                if reader.read(query) != [(0,)]:
                    audited.orphans = True
                    audited.damages.append(Damage("-", None, 0, 0, OF_NOTHING.format(table)))
        for (said,) in reader.read("PRAGMA integrity_check(20)"):
            if said != "ok":
                audited.indexes = True
                audited.damages.append(Damage("-", None, 0, 0, PAGES.format(" ".join(str(said).split()))))
    except StorageError as error:
        audited.damages.append(Damage("-", None, 0, 0, f"{UNREADABLE}: {error.reason}"))
    return audited


def _audit_room(reader: Reader, room: RoomRow, verifier: Verifier | None, audited: Audited) -> None:
    audited.rooms += 1
    if not room.is_good:
        audited.damages.append(Damage(room.title, None, 0, 0, NO_MANIFEST))
    tombstones: list[tuple[bytes, int]] = []
    is_whole = True
    for row in reader.feeds(room.number):
        found: Found = FeedCheck(reader, room, row, verifier).run()
        audited.feeds += 1
        audited.entries += found.entries
        audited.damages += found.damages
        tombstones += found.tombstones
        is_whole = is_whole and not found.damages
    if is_whole:
        kept = reader.read("SELECT CAST(target AS BLOB), n FROM log_tombstone WHERE room = ?", (room.number,))
        if sorted(kept, key=repr) != sorted(tombstones, key=repr):
            audited.tombstones.append((room.number, tombstones))
            audited.damages.append(Damage(room.title, None, 0, 0, TOMBSTONES))

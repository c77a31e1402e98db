"""What the upkeep of a node's histories asks its database: old archives, feeds by age, accounts, whom it trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from megaphone.history.entry import Origin
from megaphone.history.manifest import MUC, USER, Manifest
from megaphone.storage.transaction import Statement
from megaphone.stream.archive import Said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from megaphone.storage.storage import Storage

_LARGEST: Final = 2**63 - 1


class _Old(NamedTuple):
    """The table in which the archives of one kind were before they were logs."""

    anything: str
    rows: str
    remove: Statement


_OLD: Final = {
    MUC: _Old(
        "SELECT EXISTS (SELECT 1 FROM history)",
        "SELECT id, time, kind, author, author, nick, stanza, message, erased FROM history"
        " WHERE room = ? AND id > ? ORDER BY id LIMIT ?",
        Statement("DELETE FROM history WHERE room = ? AND id <= ?"),
    ),
    USER: _Old(
        "SELECT EXISTS (SELECT 1 FROM archive)",
        "SELECT id, time, kind, author, peer, resource, stanza, message, erased FROM archive"
        " WHERE account = (SELECT id FROM account WHERE name = ?) AND id > ? ORDER BY id LIMIT ?",
        Statement("DELETE FROM archive WHERE account = (SELECT id FROM account WHERE name = ?) AND id <= ?"),
    ),
}
_PUT_ORIGIN: Final = Statement(
    "INSERT INTO log_origin (origin, name, seen) VALUES (?, ?, ?)"
    " ON CONFLICT (origin) DO UPDATE SET name = excluded.name, seen = excluded.seen"
)


class OldEntry(NamedTuple):
    """An entry of an archive as it was before."""

    id: int
    said: Said
    erased: bool


class FeedAge(NamedTuple):
    """A feed: its number, its log, the days of its oldest and newest entries, None if it has none."""

    number: int
    kind: str
    name: str
    oldest_day: int | None
    newest_day: int | None


class HistoryUpkeep:
    """Queries and writes of one process. StorageError if the database cannot be read."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._writer = storage.writer

    # --- archives before they were logs ------------------------------------------------------------

    def has_old(self, kind: str) -> bool:
        """Whether any archive of a kind has entries that are in no log yet."""
        return bool(self._storage.read(_OLD[kind].anything)[0][0])

    def old(self, kind: str, local: str, after: int, count: int) -> list[OldEntry]:
        """Return entries of an archive behind the id `after`, by the local part of its owner."""
        rows = self._storage.read(_OLD[kind].rows, (local, after, count), owner=_owner(kind, local))
        return [OldEntry(row[0], Said(*row[1:8]), bool(row[8])) for row in rows]

    def remove_old(self, kind: str, local: str, last: int = _LARGEST) -> int:
        """Forget entries of an archive up to the id `last`; returns the write's position."""
        return self._writer.remove(_OLD[kind].remove, (local, last), owner=_owner(kind, local))

    # --- ages ------------------------------------------------------------

    def account_created(self, local: str) -> float | None:
        """Return when an account was made, Unix seconds; None if there is none."""
        found = self._storage.read("SELECT created FROM account WHERE name = ?", (local,))
        return float(found[0][0]) if found else None

    def feeds(self, after: int, count: int) -> list[FeedAge]:
        """Return feeds in the order of their numbers, from behind `after` on."""
        rows = self._storage.read(
            "SELECT feed.number, CAST(room.kind AS BLOB), CAST(room.name AS BLOB),"
            " (SELECT min(day) FROM log_day WHERE log_day.feed = feed.number),"
            " (SELECT max(day) FROM log_day WHERE log_day.feed = feed.number)"
            " FROM log_feed AS feed JOIN log_room AS room ON room.number = feed.room"
            " WHERE feed.number > ? ORDER BY feed.number LIMIT ?",
            (after, count),
        )
        return [FeedAge(number, _text(kind), _text(name), *days) for number, kind, name, *days in rows]

    def rooms(self, kind: str, after: int, count: int) -> list[tuple[int, Manifest]]:
        """Return the manifests of logs of a kind by their numbers, from behind `after` on."""
        rows = self._storage.read(
            "SELECT number, CAST(name AS BLOB) FROM log_room WHERE kind = ? AND number > ? ORDER BY number LIMIT ?",
            (kind, after, count),
        )
        return [(number, Manifest(kind, _text(name))) for number, name in rows]

    # --- whom it trusts ------------------------------------------------------------

    def origins(self) -> dict[Origin, str]:
        """Return the keys of all nodes that were ever seen in the cluster, with their names."""
        rows: Sequence[tuple[Any, ...]] = self._storage.read("SELECT origin, name FROM log_origin")
        return {Origin(origin): name for origin, name in rows}

    def put_origin(self, origin: Origin, name: str, now: float) -> int:
        """Remember a node, and when it was seen last, Unix seconds."""
        return self._writer.put(_PUT_ORIGIN, (origin, name, now))


def _owner(kind: str, local: str) -> object:
    return ("room", local) if kind == MUC else local


def _text(data: bytes | None) -> str:
    return (data or b"").decode(errors="replace")

"""Archives of rooms and users on SQLite: appended to in batches, read by pages, their oldest entries dropped.

An id is a number, microseconds since 1970 or one more than the last, as decimal text; so the table's key is the order
of the archive. An archive keeps its newest `kept` entries and at most an eighth more: older ones are dropped now and
then, not at each entry. What is older than a given time is dropped by `drop_before`, for all archives at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from megaphone.errors import ArchiveError
from megaphone.history.entry import Kind
from megaphone.storage.transaction import Statement
from megaphone.stream.archive import UNKNOWN_ID, Archived, Page, Said, page_length

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from megaphone.storage.storage import Storage
    from megaphone.storage.transaction import Value
    from megaphone.stream.archive import Erasure, Wanted
    from megaphone.stream.jid import JID

KEPT: Final = 10_000
_MICROSECONDS: Final = 1_000_000
_LARGEST: Final = (1 << 63) - 1
_DIGITS: Final = 19
_NAMES_REMEMBERED: Final = 100_000  # archives of which the last id is known without a look


class _Table(NamedTuple):
    """What differs between the table of rooms' archives and that of users': its SQL."""

    name: str
    owner: str
    """The expression that is a local part's key."""
    key: str
    """The column of that key."""
    columns: str
    append: Statement
    erase: Statement
    prune: Statement
    forget: Statement
    drop: Statement


def _drop(table: str, key: str) -> Statement:
    """Return the statement that drops old entries of all archives, of which it looks up one after the other."""
    return Statement(
        f"WITH RECURSIVE owner (name) AS (SELECT min({key}) FROM {table} UNION ALL"  # noqa: S608
        f" SELECT (SELECT min({key}) FROM {table} WHERE {key} > owner.name) FROM owner WHERE owner.name IS NOT NULL)"
        f" DELETE FROM {table} WHERE ({key}, id) IN"
        f" (SELECT old.{key}, old.id FROM owner CROSS JOIN {table} AS old ON old.{key} = owner.name AND old.id < ?)"
    )


def _prune(table: str, key: str, owner: str) -> Statement:
    return Statement(
        f"DELETE FROM {table} WHERE {key} = {owner} AND id <="  # noqa: S608
        f" (SELECT id FROM {table} WHERE {key} = {owner} ORDER BY id DESC LIMIT 1 OFFSET ?)"
    )


_ACCOUNT: Final = "(SELECT id FROM account WHERE name = ?)"
_ROOMS: Final = _Table(
    name="history",
    owner="?",
    key="room",
    columns="id, time, kind, author, author, nick, stanza, message, erased",
    append=Statement(
        "INSERT INTO history (room, id, time, kind, author, nick, stanza, message, erased) VALUES ",
        "(?, ?, ?, ?, ?, ?, ?, ?, ?)",
    ),
    erase=Statement("UPDATE history SET stanza = ?, erased = 1 WHERE room = ? AND id = ?"),
    prune=_prune("history", "room", "?"),
    forget=Statement("DELETE FROM history WHERE room = ?"),
    drop=_drop("history", "room"),
)
_USERS: Final = _Table(
    name="archive",
    owner=_ACCOUNT,
    key="account",
    columns="id, time, kind, author, peer, resource, stanza, message, erased",
    append=Statement(
        "INSERT INTO archive (account, id, time, kind, author, peer, resource, stanza, message, erased)"
        " SELECT account.id, given.column2, given.column3, given.column4, given.column5, given.column6, given.column7,"
        " given.column8, given.column9, given.column10 FROM (VALUES ",
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ") AS given CROSS JOIN account ON account.name = given.column1",  # CROSS: in this order, not account by account
    ),
    erase=Statement(f"UPDATE archive SET stanza = ?, erased = 1 WHERE account = {_ACCOUNT} AND id = ?"),  # noqa: S608
    prune=_prune("archive", "account", _ACCOUNT),
    forget=Statement(f"DELETE FROM archive WHERE account = {_ACCOUNT}"),  # noqa: S608
    drop=_drop("archive", "account"),
)


class _SQLiteArchives:
    """`stream.archive.Archive`. Writes of one owner are seen by its reads; those of users without account are none."""

    _table: _Table
    _peer: str
    _resource: str

    def __init__(self, storage: Storage, kept: int = KEPT) -> None:
        """`kept`: entries of each archive, 1 or more."""
        self._storage = storage
        self._writer = storage.writer
        self.kept = kept
        self._last: dict[str, int] = {}  # the last id of each archive, by local part
        self._appended: dict[str, int] = {}  # since an archive was pruned

    def _owner(self, owner: JID) -> Hashable:
        """Whose rows they are, for the writer."""
        raise NotImplementedError

    def _row(self, said: Said) -> tuple[Value, ...]:
        """The columns of an entry behind its kind, but for whether it is erased."""
        raise NotImplementedError

    # --- writing ------------------------------------------------------------

    def append(self, owner: JID, said: Said, *, erases: Erasure | None = None, erased: bool = False) -> Archived:
        """Keep an entry, and return it; StorageFullError, and nothing is done, if it cannot be kept."""
        name = owner.local
        id_ = max(self._last_id(owner) + 1, int(said.time * _MICROSECONDS))
        values = (name, id_, said.time, int(said.kind), *self._row(said), int(erased))
        self._writer.put(self._table.append, values, owner=self._owner(owner))
        if erases is not None:
            # room for what makes room: there is some when there was some for the entry itself
            erasure = (erases.placeholder, name, _number(erases.id))
            self._writer.remove(self._table.erase, erasure, owner=self._owner(owner))
        if name not in self._last and len(self._last) >= _NAMES_REMEMBERED:
            self._last.clear()
        self._last[name] = id_
        self._prune_now_and_then(owner)
        return Archived(str(id_), said, erased)

    def _last_id(self, owner: JID) -> int:
        last = self._last.get(owner.local)
        if last is not None:
            return last
        rows = self._read(owner, f"SELECT ifnull(max(id), 0) FROM {self._where}", (owner.local,))  # noqa: S608
        return int(rows[0][0])

    def _prune_now_and_then(self, owner: JID) -> None:
        """Prune at the first entry since the start, and after every eighth of what is kept."""
        name = owner.local
        self._appended[name] = appended = self._appended.get(name, self.kept) + 1
        if appended * 8 <= self.kept:
            return
        if len(self._appended) > _NAMES_REMEMBERED:
            self._appended.clear()
        self._appended[name] = 0
        self._writer.remove(self._table.prune, (name, name, self.kept), owner=self._owner(owner))

    def forget(self, owner: JID) -> int:
        """Drop a whole archive; its ids are not given again as long as this process runs, or the clock goes on."""
        self._last[owner.local] = self._last_id(owner)
        return self._writer.remove(self._table.forget, (owner.local,), owner=self._owner(owner))

    def drop_before(self, time: float) -> int:
        """Drop the entries of all archives that are older than `time`, Unix seconds; returns the write's position."""
        return self._writer.remove(self._table.drop, (int(time * _MICROSECONDS),))

    # --- reading ------------------------------------------------------------

    @property
    def _where(self) -> str:
        table = self._table
        return f"{table.name} WHERE {table.key} = {table.owner}"

    def _read(self, owner: JID, query: str, values: Iterable[object]) -> list[tuple[Any, ...]]:
        return self._storage.read(query, tuple(values), owner=self._owner(owner))

    def _entries(self, owner: JID, rest: str, *values: object) -> list[Archived]:
        query = f"SELECT {self._table.columns} FROM {self._where} {rest}"  # noqa: S608
        return [_entry(row) for row in self._read(owner, query, (owner.local, *values))]

    def find(self, owner: JID, id_: str) -> Archived | None:
        """Return the entry with an id."""
        found = self._entries(owner, "AND id = ?", _number(id_))
        return found[0] if found else None

    def find_message(self, owner: JID, peer: str, author: str, message: str) -> Archived | None:
        """Return the newest entry that is not erased by who said it, to or from whom, and its client's id."""
        found = self._entries(
            owner,
            f"AND {self._peer} = ? AND author = ? AND message = ? AND kind = ? AND NOT erased ORDER BY id DESC LIMIT 1",
            *(peer, author, message, int(Kind.MESSAGE)),
        )
        return found[0] if found else None

    def tail(self, owner: JID, count: int) -> Sequence[Archived]:
        """Return the last `count` entries (1 or more), oldest first."""
        return self._entries(owner, "ORDER BY id DESC LIMIT ?", count)[::-1]

    def ends(self, owner: JID) -> tuple[Archived, Archived] | None:
        """Return the first and the last entry; None if there is none."""
        first = self._entries(owner, "ORDER BY id LIMIT 1")
        return (first[0], self.tail(owner, 1)[0]) if first else None

    def page(self, owner: JID, wanted: Wanted) -> Page:
        """Return a page; ArchiveError("item-not-found") if an id that is named in it is not in the archive."""
        self._check_named(owner, wanted)
        conditions, values = self._conditions(wanted)
        where = f"{self._where} {conditions}"
        if wanted.max == 0:
            total: int = self._read(owner, f"SELECT count(*) FROM {where}", (owner.local, *values))[0][0]  # noqa: S608
            return Page((), complete=total == 0, total=total)
        order = "DESC" if wanted.backwards else "ASC"
        # first how long they are, so that no more is read than one answer can carry
        rows = self._read(
            owner,
            f"SELECT id, length(stanza) FROM {where} ORDER BY id {order} LIMIT ?",  # noqa: S608
            (owner.local, *values, wanted.max + 1),
        )
        taken = page_length([length for _, length in rows], wanted.max)
        if not taken:
            return Page((), complete=True)
        first, last = sorted((rows[0][0], rows[taken - 1][0]))
        entries = self._entries(owner, f"{conditions} AND id BETWEEN ? AND ? ORDER BY id", *values, first, last)
        return Page(tuple(entries), complete=taken == len(rows))

    def _check_named(self, owner: JID, wanted: Wanted) -> None:
        numbers = {_number(id_) for id_ in wanted.named}
        if not numbers:
            return
        query = f"SELECT count(*) FROM {self._where} AND id IN ({', '.join('?' * len(numbers))})"  # noqa: S608
        if self._read(owner, query, (owner.local, *numbers))[0][0] != len(wanted.named):
            raise ArchiveError("item-not-found", UNKNOWN_ID)

    def _conditions(self, wanted: Wanted) -> tuple[str, list[object]]:
        found: list[tuple[str, tuple[object, ...]]] = []
        if wanted.after:
            found.append(("id > ?", (max(map(_number, wanted.after)),)))
        if wanted.before:
            found.append(("id < ?", (min(map(_number, wanted.before)),)))
        if wanted.start != float("-inf"):
            found.append(("time >= ?", (wanted.start,)))
        if wanted.end != float("inf"):
            found.append(("time <= ?", (wanted.end,)))
        if wanted.peer is not None:
            found.append((f"{self._peer} = ?", (wanted.peer,)))
        if wanted.resource is not None:
            found.append((f"{self._resource} = ?", (wanted.resource,)))
        if wanted.ids is not None:
            found.append((f"id IN ({', '.join('?' * len(wanted.ids))})", tuple(map(_number, wanted.ids))))
        return "".join(f" AND {text}" for text, _ in found), [value for _, values in found for value in values]


class SQLiteRoomArchives(_SQLiteArchives):
    """The archives of the rooms of one domain."""

    _table = _ROOMS
    _peer = "author"
    _resource = "nick"

    def _owner(self, owner: JID) -> Hashable:
        return ("room", owner.local)

    def _row(self, said: Said) -> tuple[Value, ...]:
        return (said.author, said.resource, said.stanza, said.message)


class SQLiteUserArchives(_SQLiteArchives):
    """The archives of the users of one domain."""

    _table = _USERS
    _peer = "peer"
    _resource = "resource"

    def _owner(self, owner: JID) -> Hashable:
        return owner.local

    def _row(self, said: Said) -> tuple[Value, ...]:
        return (said.author, said.peer, said.resource, said.stanza, said.message)


def _number(id_: str) -> int:
    """Return the number that an id is; -1, which none is, for a text that cannot be one of ours."""
    if not (id_.isascii() and id_.isdecimal()) or len(id_) > _DIGITS or (number := int(id_)) > _LARGEST:
        return -1
    return number if str(number) == id_ else -1


def _entry(row: tuple[Any, ...]) -> Archived:
    id_, time, kind, author, peer, resource, stanza, message, erased = row
    return Archived(str(id_), Said(time, kind, author, peer, resource, stanza, message), bool(erased))

"""The rows of this node that all nodes of a cluster have: what is to be told, what was heard, both on one connection.

    a write ─► trigger ─► row_version, unsent ─► unsent() ─► the store ─► told()
    the store ─► apply() ─┬─► theirs counts: the row is written, without being unsent again
                          ├─► ours counts: it is unsent
                          ├─► a mixture counts: it is written, and unsent
                          └─► what it belongs to is not here yet: held in row_version until that comes

Everything here is called within a transaction that somebody else began, but for `unsent`. Which of two versions counts
is storage.replicated_row's.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from megaphone.errors import RowError
from megaphone.history.clock import COUNTER_BITS, MILLISECONDS_A_DAY
from megaphone.storage.replicated_kinds import KINDS
from megaphone.storage.replicated_row import Row, decode_columns, encode_columns, merge
from megaphone.storage.replicated_tables import ACCOUNT, BLOCK, PRIVATE, ROOM, ROSTER, SECRET, SHARED_SECRET, VCARD

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from megaphone.storage.replicated_kinds import Kind

AHEAD_MS: Final = 60_000  # how far another node's clock may be ahead of ours
DELETIONS_KEPT_DAYS: Final = 30  # a node that was away for longer must begin with an empty database
UNSENT_BYTES: Final = 4_194_304
PARENTS_AT_ONCE: Final = 64  # accounts or rooms that get their versions in one transaction

_OF_USERS: Final = (ACCOUNT, ROSTER, BLOCK, PRIVATE, VCARD)
_MEMORY_OF_USERS: Final = (ACCOUNT, ROSTER, BLOCK)  # what a running service keeps of them in memory
_VERSION_BITS: Final = 10  # of roster versions, beneath the milliseconds


class Found(Enum):
    """What became of a version that was heard."""

    SAME = "same"
    THEIRS = "theirs"
    OURS = "ours"
    MIXED = "mixed"
    REFUSED = "refused"


class Heard(NamedTuple):
    """A version of a row that the store has, at this revision."""

    row: Row
    revision: int


class Unsent(NamedTuple):
    """A row that the store is to be told; `number` is its version's, `revision` what the store had of it last, or 0."""

    number: int
    revision: int
    row: Row


class Told(NamedTuple):
    """A row that the store has now, at this revision."""

    number: int
    revision: int
    row: Row


class Lost(NamedTuple):
    """A row that the store has not got, or nothing that can be read in its place, at this revision (0: never had)."""

    number: int
    revision: int


@dataclass(slots=True)
class Applied:
    """What came of what was heard: for each version what it was found to be, and the number of ours."""

    found: list[tuple[Found, int]] = field(default_factory=list)
    users: set[str] = field(default_factory=set)
    """Local parts of accounts of which something has changed that a running service has in memory."""
    rooms: set[str] = field(default_factory=set)
    """Local parts of rooms of which something has changed."""
    secrets: set[str] = field(default_factory=set)
    refusals: list[str] = field(default_factory=list)


class _Ours(NamedTuple):
    number: int
    row: Row


def enable(connection: sqlite3.Connection, origin: bytes) -> None:
    """Count writes from now on, as those of this origin (8 bytes)."""
    connection.execute(
        "INSERT INTO row_clock (one, last, origin)"  # noqa: S608
        f" VALUES (1, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) << {COUNTER_BITS}, ?)"
        " ON CONFLICT (one) DO UPDATE SET origin = excluded.origin WHERE origin <> excluded.origin",
        (origin,),
    )


def unsent(connection: sqlite3.Connection, limit: int, limit_bytes: int = UNSENT_BYTES) -> list[Unsent]:
    """Return rows that the store is to be told, at most `limit`, accounts and rooms first; in a transaction of its own.

    Read only: what it finds is from one moment. Behind `limit_bytes` of texts and blobs it ends early.
    """
    found: list[Unsent] = []
    size = 0
    connection.execute("BEGIN")
    try:
        versions = connection.execute(
            "SELECT number, revision, kind, owner, item, life, clock, origin, deleted, held FROM row_version"
            " WHERE unsent = 1 ORDER BY kind, number LIMIT ?",
            (limit,),
        ).fetchall()
        for number, revision, *rest in versions:
            row = _row(connection, *rest)
            found.append(Unsent(number, revision, row))
            size += sum(len(each) for each in row.columns or () if isinstance(each, str | bytes))
            if size >= limit_bytes:
                break
        return found
    finally:
        connection.execute("COMMIT")


def told(connection: sqlite3.Connection, rows: Iterable[Told]) -> None:
    """Take note of what the store has been told; what has changed since stays unsent."""
    for number, revision, row in rows:
        ours = _ours(connection, row)
        if ours is not None and ours.number == number:
            _take_note(connection, number, revision, again=ours.row != row)


def lost(connection: sqlite3.Connection, rows: Iterable[Lost]) -> None:
    """Take note of what the store has not got, so that it can be told."""
    connection.executemany(
        "UPDATE row_version SET revision = ? WHERE number = ?", [(each.revision, each.number) for each in rows]
    )


def told_before(connection: sqlite3.Connection) -> int:
    """Return how many rows the store should have at least."""
    ((count,),) = connection.execute("SELECT count(*) FROM row_version WHERE revision > 0").fetchall()
    return int(count)


def numbers_after(connection: sqlite3.Connection, after: int, limit: int) -> list[int]:
    """Return the numbers of versions, in order."""
    found = connection.execute(
        "SELECT number FROM row_version WHERE number > ? ORDER BY number LIMIT ?", (after, limit)
    ).fetchall()
    return [number for (number,) in found]


def tell_again(connection: sqlite3.Connection, numbers: Iterable[int]) -> None:
    """Let these versions be unsent: the store has not got them."""
    connection.executemany("UPDATE row_version SET unsent = 1, revision = 0 WHERE number = ?", [(n,) for n in numbers])


def drop_deleted(connection: sqlite3.Connection, now_ms: int, limit: int) -> int:
    """Forget deletions of 30 days ago, at most `limit`; return how many."""
    oldest = (now_ms - DELETIONS_KEPT_DAYS * MILLISECONDS_A_DAY) << COUNTER_BITS
    done = connection.execute(
        "DELETE FROM row_version WHERE number IN"
        " (SELECT number FROM row_version WHERE deleted = 1 AND clock < ? LIMIT ?)",
        (oldest, limit),
    )
    return done.rowcount


def is_ahead(row: Row, now_ms: int) -> bool:
    """Whether a version is of a time that is not to be believed yet."""
    return row.clock > (now_ms + AHEAD_MS) << COUNTER_BITS


def apply(connection: sqlite3.Connection, heard: Sequence[Heard], now_ms: int) -> Applied:
    """Take versions that the store has; the clock goes on behind them.

    A version whose clock is too far ahead of ours is refused, and one that the database does not take.
    """
    applied = Applied()
    connection.execute("UPDATE row_clock SET applying = 1")
    greatest = 0
    for row, revision in heard:
        if is_ahead(row, now_ms):
            applied.found.append((Found.REFUSED, 0))
            applied.refusals.append("clock ahead")
            continue
        greatest = max(greatest, row.clock)
        ours = _ours(connection, row)
        if ours is not None and ours.row == row:
            _take_note(connection, ours.number, revision)
            applied.found.append((Found.SAME, ours.number))
            continue
        connection.execute("SAVEPOINT row")
        try:
            applied.found.append(_apply_one(connection, ours, row, revision, applied, now_ms))
        except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError, UnicodeEncodeError, RowError) as error:
            connection.execute("ROLLBACK TO row")
            applied.found.append((Found.REFUSED, 0))
            applied.refusals.append(str(error))
        connection.execute("RELEASE row")
    connection.execute("UPDATE row_clock SET applying = 0, last = max(last, ?)", (greatest,))
    return applied


# --- one version ------------------------------------------------------------


def _apply_one(
    connection: sqlite3.Connection, ours: _Ours | None, row: Row, revision: int, applied: Applied, now_ms: int
) -> tuple[Found, int]:
    if ours is None:
        if row.columns is None and row.clock < (now_ms - DELETIONS_KEPT_DAYS * MILLISECONDS_A_DAY) << COUNTER_BITS:
            return Found.SAME, 0  # forgotten here already
        counts = row
    else:
        counts = merge(ours.row, row)
        if counts == ours.row:
            same = counts == row
            _take_note(connection, ours.number, revision, again=not same)
            return (Found.SAME if same else Found.OURS), ours.number
    number, written = _write(connection, counts, applied)
    _take_note(connection, number, revision, again=written != row)
    return (Found.THEIRS if counts == row else Found.MIXED), number


def _take_note(connection: sqlite3.Connection, number: int, revision: int, *, again: bool = False) -> None:
    connection.execute(
        "UPDATE row_version SET revision = ?1, unsent = ?2 WHERE number = ?3 AND (revision <> ?1 OR unsent <> ?2)",
        (revision, int(again), number),
    )


def _ours(connection: sqlite3.Connection, row: Row) -> _Ours | None:
    found = connection.execute(
        "SELECT number, kind, owner, item, life, clock, origin, deleted, held FROM row_version"
        " WHERE kind = ? AND owner = ? AND item = ?",
        (row.kind, row.owner, row.item),
    ).fetchone()
    if found is None:
        return None
    number, *rest = found
    return _Ours(number, _row(connection, *rest))


def _row(
    connection: sqlite3.Connection,
    kind: int,
    owner: str,
    item: str,
    life: int,
    clock: int,
    origin: bytes,
    deleted: int,
    held: bytes | None,
) -> Row:
    """Return a version with its columns, from its table or, if it is held, from beside it."""
    columns: tuple[object, ...] | None = None
    if held is not None:
        columns = decode_columns(KINDS[kind], held)
    elif not deleted:
        found = connection.execute(KINDS[kind].read, (owner, item)).fetchone()
        columns = None if found is None else found[: KINDS[kind].width]
    return Row(kind, owner, item, life, clock, origin, columns)


def _put_version(connection: sqlite3.Connection, row: Row, *, held: bytes | None = None) -> int:
    ((number,),) = connection.execute(
        "INSERT INTO row_version (kind, owner, item, life, clock, origin, deleted, unsent, held)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?) ON CONFLICT (kind, owner, item) DO UPDATE SET life = excluded.life,"
        " clock = excluded.clock, origin = excluded.origin, deleted = excluded.deleted, held = excluded.held"
        " RETURNING number",
        (row.kind, row.owner, row.item, row.life, row.clock, row.origin, int(row.columns is None), held),
    ).fetchall()
    return int(number)


def _note_change(row: Row, applied: Applied) -> None:
    if row.kind in _OF_USERS:
        if row.kind in _MEMORY_OF_USERS or (row.kind == PRIVATE and not row.item.startswith("{")):
            applied.users.add(row.owner)
    elif row.kind == SECRET:
        applied.secrets.add(row.owner)
    else:
        applied.rooms.add(row.owner)


def _write(connection: sqlite3.Connection, row: Row, applied: Applied) -> tuple[int, Row]:
    """Write a version that counts, or hold it; return its number and what it has become."""
    if KINDS[row.kind].parent:
        return _write_child(connection, row, applied)
    if row.life > _life(connection, row.kind, row.owner):
        connection.execute(KINDS[row.kind].remove, (row.owner, row.item))  # its rows go with it
        _bury(connection, row)
    number = _put_version(connection, row)
    _note_change(row, applied)
    if row.columns is not None:
        connection.execute(KINDS[row.kind].put, (row.owner, row.item, *row.columns))
        _bring_held(connection, row, applied)
    return number, row


def _life(connection: sqlite3.Connection, parent: int, owner: str) -> int:
    found = connection.execute(
        "SELECT life FROM row_version WHERE kind = ? AND owner = ? AND item = ''", (parent, owner)
    ).fetchone()
    return 0 if found is None else int(found[0])


def _children(parent: int) -> list[Kind]:
    return [kind for kind in KINDS.values() if kind.parent == parent]


def _bury(connection: sqlite3.Connection, parent: Row) -> None:
    """Let everything that belongs to a former life of an account or a room be deleted, and the store be told so."""
    for kind in _children(parent.kind):
        connection.execute(
            "UPDATE row_version SET deleted = 1, held = NULL, unsent = 1"
            " WHERE kind = ? AND owner = ? AND life < ? AND deleted = 0",
            (kind.number, parent.owner, parent.life),
        )


def _bring_held(connection: sqlite3.Connection, parent: Row, applied: Applied) -> None:
    """Write what was heard before the account or room that it belongs to."""
    kinds = [kind.number for kind in _children(parent.kind)]
    held = connection.execute(
        "SELECT number, kind, owner, item, life, clock, origin, held FROM row_version"
        " WHERE owner = ? AND held IS NOT NULL AND life = ?",
        (parent.owner, parent.life),
    ).fetchall()
    for number, child, owner, item, life, clock, origin, data in held:
        if child in kinds:
            connection.execute("UPDATE row_version SET held = NULL WHERE number = ?", (number,))
            columns = decode_columns(KINDS[child], data)
            _change_child(connection, Row(child, owner, item, life, clock, origin, columns), applied)


def _write_child(connection: sqlite3.Connection, row: Row, applied: Applied) -> tuple[int, Row]:
    """Write what belongs to an account or a room, or hold it until that is here."""
    kind = KINDS[row.kind]
    life = _life(connection, kind.parent, row.owner)
    if row.life < life and row.columns is not None:  # it belonged to one that was deleted since
        row = msgspec.structs.replace(row, columns=None)
    here = row.life == life
    if here and row.columns is not None:
        here = connection.execute(KINDS[kind.parent].read, (row.owner, "")).fetchone() is not None
    if here:
        _change_child(connection, row, applied)
    held = None if here or row.columns is None else encode_columns(row.columns)
    return _put_version(connection, row, held=held), row


def _change_child(connection: sqlite3.Connection, row: Row, applied: Applied) -> None:
    """Write a row that belongs to an account or a room which is here."""
    kind = KINDS[row.kind]
    if row.columns is None:
        connection.execute(kind.remove, (row.owner, row.item))
    else:
        connection.execute(kind.put, (row.owner, row.item, *row.columns))
    if row.kind == ROSTER:
        # Clients ask for a roster by its version, at any node: two that differ must not have the same (RFC 6121 2.6).
        at_least = (row.clock >> COUNTER_BITS << _VERSION_BITS) | row.clock % (1 << _VERSION_BITS)
        connection.execute(
            "UPDATE account SET roster_version = max(roster_version + 1, ?) WHERE name = ?", (at_least, row.owner)
        )
    _note_change(row, applied)


# --- rows from before the cluster ------------------------------------------------------------


def give_versions(connection: sqlite3.Connection) -> bool:
    """Give some of the rows from before this node was in a cluster a version; whether there are more.

    They are as old as can be: an account as its last change, a room as it was made, what belongs to them older than
    anything that is written in a cluster.
    """
    accounts, rooms, whole = connection.execute("SELECT accounts, rooms, whole FROM row_clock").fetchone()
    if whole:
        return False
    more_accounts = _give(connection, ACCOUNT, "account", "max(created, changed)", accounts)
    more_rooms = not more_accounts and _give(connection, ROOM, "room", "created", rooms)
    if more_accounts or more_rooms:
        return True
    connection.execute(
        "INSERT INTO row_version (kind, owner, item, life, clock, origin, deleted, unsent)"  # noqa: S608
        f" SELECT {SECRET}, secret.name, '', 0, row_clock.last + 1, row_clock.origin, 0, 1"
        f" FROM secret CROSS JOIN row_clock WHERE secret.name = '{SHARED_SECRET}' ON CONFLICT DO NOTHING"
    )
    connection.execute("UPDATE row_clock SET whole = 1, last = last + 1")
    return False


def _give(connection: sqlite3.Connection, number: int, table: str, changed: str, after: int) -> bool:
    ids = connection.execute(
        f"SELECT id FROM {table} WHERE id > ? ORDER BY id LIMIT ?",  # noqa: S608
        (after, PARENTS_AT_ONCE),
    ).fetchall()
    if not ids:
        return False
    last = ids[-1][0]
    connection.execute(
        "INSERT INTO row_version (kind, owner, item, life, clock, origin, deleted, unsent)"  # noqa: S608
        f" SELECT {number}, name, '', 0, min(CAST({changed} * 1000 AS INTEGER) << {COUNTER_BITS}, row_clock.last),"
        " row_clock.origin, 0, 1"
        f" FROM {table} CROSS JOIN row_clock WHERE id > ? AND id <= ? ON CONFLICT DO NOTHING",
        (after, last),
    )
    for kind in _children(number):
        connection.execute(
            "INSERT INTO row_version (kind, owner, item, life, clock, origin, deleted, unsent)"
            f" SELECT {kind.number}, {table}.name, {kind.item}, 0, 1, row_clock.origin, 0, 1 {kind.rows}"
            f" CROSS JOIN row_clock WHERE {table}.id > ? AND {table}.id <= ? ON CONFLICT DO NOTHING",
            (after, last),
        )
    connection.execute(f"UPDATE row_clock SET {table}s = ?", (last,))  # noqa: S608
    return True

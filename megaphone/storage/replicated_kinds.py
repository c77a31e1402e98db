"""The tables whose rows are replicated: what is told of each, and how a row is read, written and removed.

Rows are named by `owner` (the local part of an account or a room) and `item`, never by numbers, which each node gives
for itself. What a later version tells beside these columns is ignored.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta, Struct

from megaphone.rooms.ports import Affiliation, RoomConfig
from megaphone.storage import replicated_tables as numbers
from megaphone.stream.jid import JID

if TYPE_CHECKING:
    from collections.abc import Callable

_ACCOUNT: Final = "(SELECT id FROM account WHERE name = ?1)"
_ROOM: Final = "(SELECT id FROM room WHERE name = ?1)"

_Flag = Annotated[int, Meta(ge=0, le=1)]
_Rounds = Annotated[int, Meta(ge=1, le=10_000_000)]
_Time = Annotated[float, Meta(ge=0, le=1e12)]


class AccountColumns(Struct, frozen=True, array_like=True):
    """An account: when it was created and its password changed, and what checks the password."""

    created: _Time
    changed: _Time
    disabled: _Flag
    sha1_salt: bytes
    sha1_iterations: _Rounds
    sha1_stored_key: bytes
    sha1_server_key: bytes
    sha256_salt: bytes
    sha256_iterations: _Rounds
    sha256_stored_key: bytes
    sha256_server_key: bytes


class RoomColumns(Struct, frozen=True, array_like=True):
    """A room: its configuration as JSON, and who made it."""

    config: str
    created: _Time
    creator: str
    secret: bytes


class RosterColumns(Struct, frozen=True, array_like=True):
    """A roster item; `groups` as JSON."""

    name: str
    groups: str
    subscription: str
    ask: _Flag
    request: bytes | None
    listed: _Flag


class BlockColumns(Struct, frozen=True, array_like=True):
    """A JID on a block list."""


class ElementColumns(Struct, frozen=True, array_like=True):
    """Private XML, a vCard."""

    element: bytes


class SubjectColumns(Struct, frozen=True, array_like=True):
    """The subject of a room, a whole message, and when it was set."""

    subject: bytes
    time: _Time


class AffiliationColumns(Struct, frozen=True, array_like=True):
    """What somebody is in a room."""

    affiliation: str
    reason: str


class SecretColumns(Struct, frozen=True, array_like=True):
    """Random bytes that are the same on all nodes."""

    value: Annotated[bytes, Meta(min_length=16, max_length=64)]


class Kind(NamedTuple):
    """One table. The values of its SQL are owner, item and, to write, the columns; item is "" for a parent."""

    number: int
    name: str
    """In keys of the store."""
    parent: int
    """The kind of what the rows belong to; 0 if to nothing."""
    decoder: msgspec.msgpack.Decoder[Any]
    sound: Callable[[str, tuple[Any, ...]], bool]
    """Whether item and columns are what a store can read again."""
    width: int
    """How many columns are told."""
    read: str
    put: str
    remove: str
    item: str
    """The expression that is `item`."""
    rows: str
    """FROM which all rows come, with what they belong to."""


def _any(item: str, columns: tuple[Any, ...]) -> bool:
    return True


def _is_jid(text: str) -> bool:
    try:
        JID.parse(text)
    except ValueError:
        return False
    return True


def _is_blocked(item: str, columns: tuple[Any, ...]) -> bool:
    return _is_jid(item)


def _is_contact(item: str, columns: tuple[Any, ...]) -> bool:
    groups = _json(columns[1])
    named = isinstance(groups, list) and all(isinstance(group, str) for group in groups)
    return named and columns[2] in ("none", "to", "from", "both") and _is_jid(item)


def _is_affiliated(item: str, columns: tuple[Any, ...]) -> bool:
    return columns[0] in {str(each) for each in Affiliation} and _is_jid(item)


def _is_room(item: str, columns: tuple[Any, ...]) -> bool:
    config = _json(columns[0])
    if not isinstance(config, dict) or not _is_jid(columns[2]) or len(columns[3]) < 16:
        return False
    try:
        RoomConfig.of({key: tuple(value) if isinstance(value, list) else value for key, value in config.items()})
    except (TypeError, ValueError, KeyError):
        return False
    return True


def _json(text: str) -> object:
    try:
        found: object = json.loads(text)
    except ValueError:
        return None
    return found


def _upsert(table: str, parent: str, item: str, columns: str) -> str:
    """Return the SQL that writes a row that belongs to an account or a room."""
    names = columns.split(", ") if columns else []
    given = ", ".join(["id", *(["?2"] if item else []), *(f"?{number}" for number, _ in enumerate(names, 3))])
    key = f"({parent}, {item})" if item else f"({parent})"
    into = ", ".join([parent, *([item] if item else []), *names])
    update = ", ".join(f"{name} = excluded.{name}" for name in names)
    end = f"DO UPDATE SET {update}" if update else "DO NOTHING"
    also = "" if item else " AND ?2 = ''"
    return f"INSERT INTO {table} ({into}) SELECT {given} FROM {parent} WHERE name = ?1{also} ON CONFLICT {key} {end}"  # noqa: S608


def _child(
    number: int,
    table: str,
    parent: int,
    item: str,
    columns: str,
    struct: type[Struct],
    sound: Callable[[str, tuple[Any, ...]], bool] = _any,
) -> Kind:
    owner, column = (_ACCOUNT, "account") if parent == numbers.ACCOUNT else (_ROOM, "room")
    where = f"WHERE {column} = {owner} AND " + (f"{item} = ?2" if item else "?2 = ''")
    return Kind(
        number=number,
        name=table,
        parent=parent,
        decoder=msgspec.msgpack.Decoder(struct),
        sound=sound,
        read=f"SELECT {columns or '1'} FROM {table} {where}",  # noqa: S608
        put=_upsert(table, column, item, columns),
        remove=f"DELETE FROM {table} {where}",  # noqa: S608
        width=len(struct.__struct_fields__),
        item=f"{table}.{item}" if item else "''",
        rows=f"FROM {column} CROSS JOIN {table} ON {table}.{column} = {column}.id",
    )


_KEYS: Final = (
    "created, changed, disabled, sha1_salt, sha1_iterations, sha1_stored_key, sha1_server_key,"
    " sha256_salt, sha256_iterations, sha256_stored_key, sha256_server_key"
)
_ROOM_COLUMNS: Final = "config, created, creator, secret"


def _own(number: int, table: str, columns: str, struct: type[Struct], sound: Callable[..., bool] = _any) -> Kind:
    """Return the kind of a table whose rows belong to nothing."""
    names = columns.split(", ")
    values = ", ".join(f"?{at}" for at, _ in enumerate(names, 3))
    update = ", ".join(f"{name} = excluded.{name}" for name in names)
    return Kind(
        number=number,
        name=table,
        parent=0,
        decoder=msgspec.msgpack.Decoder(struct),
        sound=sound,
        read=f"SELECT {columns} FROM {table} WHERE name = ?1 AND ?2 = ''",  # noqa: S608
        put=(
            f"INSERT INTO {table} (name, {columns}) SELECT ?1, {values} WHERE ?2 = ''"
            f" ON CONFLICT (name) DO UPDATE SET {update}"
        ),
        remove=f"DELETE FROM {table} WHERE name = ?1 AND ?2 = ''",  # noqa: S608
        width=len(names),
        item="''",
        rows=f"FROM {table}",
    )


KINDS: Final = {
    kind.number: kind
    for kind in (
        _own(numbers.ACCOUNT, "account", _KEYS, AccountColumns),
        _own(numbers.ROOM, "room", _ROOM_COLUMNS, RoomColumns, _is_room),
        _child(
            numbers.ROSTER,
            "roster",
            numbers.ACCOUNT,
            "jid",
            "name, groups, subscription, ask, request, listed",
            RosterColumns,
            _is_contact,
        ),
        _child(numbers.BLOCK, "block", numbers.ACCOUNT, "jid", "", BlockColumns, _is_blocked),
        _child(numbers.PRIVATE, "private", numbers.ACCOUNT, "name", "element", ElementColumns),
        _child(numbers.VCARD, "vcard", numbers.ACCOUNT, "", "element", ElementColumns),
        Kind(
            number=numbers.SUBJECT,
            name="subject",
            parent=numbers.ROOM,
            decoder=msgspec.msgpack.Decoder(SubjectColumns),
            sound=_any,
            read="SELECT subject, subject_time FROM room WHERE name = ?1 AND ?2 = '' AND subject IS NOT NULL",
            put="UPDATE room SET subject = ?3, subject_time = ?4 WHERE name = ?1 AND ?2 = ''",
            remove="UPDATE room SET subject = NULL, subject_time = NULL WHERE name = ?1 AND ?2 = ''",
            width=2,
            item="''",
            rows="FROM (SELECT * FROM room WHERE subject IS NOT NULL) AS room",
        ),
        _child(
            numbers.AFFILIATION,
            "affiliation",
            numbers.ROOM,
            "jid",
            "affiliation, reason",
            AffiliationColumns,
            _is_affiliated,
        ),
        _own(numbers.SECRET, "secret", "value", SecretColumns),
    )
}
KINDS_BY_NAME: Final = {kind.name: kind for kind in KINDS.values()}

"""A replicated row as nodes tell it each other, and which of two versions of it counts. No I/O.

    value in the store: MessagePack ["row", table, owner, item, life, clock, origin, columns]    columns nil: deleted

    account ◄── roster, block, private, vcard        owner: the account's name; item: JID or name, "" for the vCard
    room ◄── affiliation, subject                    owner: the room's name; item: JID, "" for the subject
    secret                                           owner: its name

Every table has a total order of versions, and the greater one counts, whoever learns of the two in whichever order:

    life       first of all. It is 0 until the account or room is deleted, then the clock of that deletion, also for
               what is made under this name afterwards: so a deletion is not undone by a write on the other side of a
               cut, and nobody gets what belonged to a former owner of the name
    account    within a life the one that was created first; then the later write (clock, origin)
    room       within a life two things for themselves: who made it, when, and its secret: the first (created, creator);
               its configuration: the later write
    subject    the later time of the subject
    secret     the first write
    others     the later write (clock, origin)

`clock` is hybrid (history.clock), `origin` the first 8 bytes of the key of the node where the write was made.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from megaphone.errors import RowError
from megaphone.storage.replicated_kinds import KINDS, KINDS_BY_NAME
from megaphone.storage.replicated_tables import ACCOUNT, ROOM, SECRET, SUBJECT

if TYPE_CHECKING:
    from megaphone.storage.replicated_kinds import Kind

ORIGIN_BYTES: Final = 8
_LARGEST: Final = (1 << 63) - 1
_TOKEN_BYTES: Final = 16
_MADE: Final = slice(1, 4)  # of a room's columns: created, creator, secret

_Count = Annotated[int, Meta(ge=0, le=_LARGEST)]
_Name = Annotated[str, Meta(min_length=1, max_length=1023)]
_Item = Annotated[str, Meta(max_length=8192)]
_Origin = Annotated[bytes, Meta(min_length=ORIGIN_BYTES, max_length=ORIGIN_BYTES)]

Columns = tuple[Any, ...]


class _Told(Struct, frozen=True, array_like=True, tag="row"):
    table: str
    owner: _Name
    item: _Item
    life: _Count
    clock: _Count
    origin: _Origin
    columns: msgspec.Raw


class Row(Struct, frozen=True):
    """One version of a row; `columns` are None if it is deleted."""

    kind: int
    owner: str
    item: str
    life: int
    clock: int
    origin: bytes
    columns: Columns | None


_DECODER: Final = msgspec.msgpack.Decoder(_Told)
_NIL: Final = msgspec.msgpack.encode(None)


def key_of(kind: int, owner: str, item: str) -> str:
    """Return the key of a row in the store: its table, and 26 characters made of the rest."""
    digest = hashlib.sha256(f"{owner}\n{item}".encode()).digest()[:_TOKEN_BYTES]
    return f"{KINDS[kind].name}.{base64.b32encode(digest).decode().rstrip('=').lower()}"


def encode_columns(columns: Columns | None) -> bytes:
    """Return the columns of a row as MessagePack."""
    return msgspec.msgpack.encode(columns)


def decode_columns(kind: Kind, data: bytes | msgspec.Raw) -> Columns:
    """Read the columns of a row. RowError if they are none of this table's."""
    try:
        columns = msgspec.structs.astuple(kind.decoder.decode(data))
    except msgspec.MsgspecError as error:
        raise RowError(f"no row of {kind.name}: {error}") from None
    return columns


def encode_row(row: Row) -> bytes:
    """Return the value of a row in the store."""
    columns = msgspec.Raw(encode_columns(row.columns))
    name = KINDS[row.kind].name
    return msgspec.msgpack.encode(_Told(name, row.owner, row.item, row.life, row.clock, row.origin, columns))


def decode_row(key: str, value: bytes) -> Row:
    """Read the value of a key of the store. RowError if it is no row, or another key's."""
    try:
        told = _DECODER.decode(value)
    except msgspec.MsgspecError as error:
        raise RowError(f"the key {key[:80]!r} has no row: {error}") from None
    kind = KINDS_BY_NAME.get(told.table)
    if kind is None:
        raise RowError(f"the key {key[:80]!r} has a row of an unknown table, {told.table[:40]!r}")
    if key_of(kind.number, told.owner, told.item) != key:
        raise RowError(f"the key {key[:80]!r} has another key's row")
    columns = None if bytes(told.columns) == _NIL else decode_columns(kind, told.columns)
    if columns is not None and not kind.sound(told.item, columns):
        raise RowError(f"the key {key[:80]!r} has a row that says nothing")
    return Row(kind.number, told.owner, told.item, told.life, told.clock, told.origin, columns)


def merge(ours: Row, theirs: Row) -> Row:
    """Return the version that counts of two of one row: one of them, or for a room what is best of both."""
    if ours.kind == ROOM and ours.life == theirs.life and ours.columns is not None and theirs.columns is not None:
        written = max(ours, theirs, key=_order)
        made = min(ours.columns[_MADE], theirs.columns[_MADE])
        if written.columns is not None and written.columns[_MADE] != made:
            return msgspec.structs.replace(written, columns=(written.columns[0], *made))
        return written
    return max(ours, theirs, key=_order)


def _order(row: Row) -> tuple[Any, ...]:
    columns = row.columns
    data = b"" if columns is None else encode_columns(columns)
    if row.kind == ACCOUNT:
        created = 0.0 if columns is None else columns[0]
        return (row.life, columns is not None, -created, row.clock, row.origin, data)
    if row.kind == ROOM:
        config = "" if columns is None else columns[0]
        return (row.life, columns is not None, row.clock, row.origin, config)
    if row.kind == SUBJECT:
        # a subject goes with its room only: then it has gone, whatever was written to it
        time = 0.0 if columns is None else columns[1]
        return (row.life, columns is None, time, row.clock, row.origin, data)
    if row.kind == SECRET:
        return (-row.clock, row.origin, row.life, data)
    return (row.life, row.clock, row.origin, columns is None, data)

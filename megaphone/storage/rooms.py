"""Persistent rooms, on SQLite: what they are, and who is what in them. What was said in them is in an archive."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from megaphone.history.clock import COUNTER_BITS
from megaphone.rooms.ports import Affiliated, Affiliation, RoomConfig, RoomRecord, Subject
from megaphone.storage.replicated_tables import ROOM
from megaphone.storage.transaction import Statement
from megaphone.stream.jid import JID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from megaphone.storage.storage import Storage

_PUT_ROOM: Final = Statement(
    "INSERT INTO room (name, config, creator, created, secret, subject, subject_time) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (name) DO UPDATE SET config = excluded.config, creator = excluded.creator,"
    " created = excluded.created, secret = excluded.secret,"
    " subject = excluded.subject, subject_time = excluded.subject_time"
)
_DELETE_ROOM: Final = Statement("DELETE FROM room WHERE name = ?")
_PUT_AFFILIATION: Final = Statement(
    "INSERT INTO affiliation (room, jid, affiliation, reason) SELECT id, ?, ?, ? FROM room WHERE name = ?"
    " ON CONFLICT (room, jid) DO UPDATE SET affiliation = excluded.affiliation, reason = excluded.reason"
)
_DELETE_AFFILIATION: Final = Statement(
    "DELETE FROM affiliation WHERE room = (SELECT id FROM room WHERE name = ?) AND jid = ?"
)


class SQLiteRooms:
    """`rooms.ports.RoomStore` for the rooms of one domain. Every write returns its position."""

    def __init__(self, storage: Storage, domain: str) -> None:
        self._storage = storage
        self._writer = storage.writer
        self._domain = domain

    def rooms(self) -> Sequence[RoomRecord]:
        """Return every room of the domain, whichever worker it is at home in."""
        self._storage.writer.settle_all()
        rows = self._storage.read("SELECT name, config, creator, created, secret, subject, subject_time FROM room")
        return [self._record(row) for row in rows]

    def room(self, room: JID) -> RoomRecord | None:
        """Return one room; None if it is not kept."""
        rows = self._storage.read(
            "SELECT name, config, creator, created, secret, subject, subject_time FROM room WHERE name = ?",
            (room.local,),
            owner=_owner(room),
        )
        return next((self._record(row) for row in rows), None)

    def ended(self, room: JID) -> float:
        """Return when a room of this name was deleted last, Unix seconds; 0.0 outside a cluster, or if none was."""
        rows = self._storage.read(
            "SELECT life FROM row_version WHERE kind = ? AND owner = ? AND item = ''",
            (ROOM, room.local),
            owner=_owner(room),
        )
        return next(((life >> COUNTER_BITS) / 1000 for (life,) in rows), 0.0)

    def affiliations(self, room: JID) -> Sequence[Affiliated]:
        """Return every affiliation of a room."""
        rows = self._storage.read(
            "SELECT jid, affiliation, reason FROM affiliation WHERE room = (SELECT id FROM room WHERE name = ?)",
            (room.local,),
            owner=_owner(room),
        )
        return [Affiliated(JID.parse(jid), Affiliation(affiliation), reason) for jid, affiliation, reason in rows]

    def put_room(self, record: RoomRecord) -> int:
        """Keep a room in place of what was kept of it; its affiliations stay."""
        subject = record.subject
        values = (
            *(record.room.local, json.dumps(record.config.values()), str(record.creator), record.created),
            *(record.secret, subject.message if subject else None, subject.time if subject else None),
        )
        return self._writer.put(_PUT_ROOM, values, owner=_owner(record.room))

    def put_affiliation(self, room: JID, affiliated: Affiliated) -> int:
        """Keep one affiliation in place of this JID's former one; with NONE, drop it."""
        jid = str(affiliated.jid)
        if affiliated.affiliation is Affiliation.NONE:
            return self._writer.remove(_DELETE_AFFILIATION, (room.local, jid), owner=_owner(room))
        values = (jid, str(affiliated.affiliation), affiliated.reason, room.local)
        return self._writer.put(_PUT_AFFILIATION, values, owner=_owner(room))

    def delete_room(self, room: JID) -> int:
        """Drop a room with its affiliations."""
        return self._writer.remove(_DELETE_ROOM, (room.local,), owner=_owner(room))

    def _record(self, row: tuple[Any, ...]) -> RoomRecord:
        name, config, creator, created, secret, subject, subject_time = row
        return RoomRecord(
            room=JID(name, self._domain),
            config=RoomConfig.of({key: _hashable(value) for key, value in json.loads(config).items()}),
            creator=JID.parse(creator),
            created=created,
            secret=secret,
            subject=None if subject is None else Subject(subject, subject_time),
        )


def _owner(room: JID) -> tuple[str, str]:
    return ("room", room.local)


def _hashable(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value

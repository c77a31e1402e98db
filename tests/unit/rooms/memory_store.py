"""A store of rooms in dictionaries: what the one on SQLite is to do, for dialogues."""

from collections.abc import Iterable

from megaphone.rooms.ports import Affiliated, Affiliation, RoomConfig, RoomRecord
from megaphone.stream.jid import JID


class MemoryStore:
    def __init__(self) -> None:
        self.records: dict[JID, RoomRecord] = {}
        self.affiliated: dict[JID, dict[JID, Affiliated]] = {}

    def rooms(self) -> Iterable[RoomRecord]:
        return list(self.records.values())

    def room(self, room: JID) -> RoomRecord | None:
        return self.records.get(room)

    def affiliations(self, room: JID) -> Iterable[Affiliated]:
        return list(self.affiliated.get(room, {}).values())

    def put_room(self, record: RoomRecord) -> None:
        assert RoomConfig.of(record.config.values()) == record.config
        self.records[record.room] = record

    def put_affiliation(self, room: JID, affiliated: Affiliated) -> None:
        assert room in self.records
        entries = self.affiliated.setdefault(room, {})
        entries.pop(affiliated.jid, None)
        if affiliated.affiliation is not Affiliation.NONE:
            entries[affiliated.jid] = affiliated

    def delete_room(self, room: JID) -> None:
        self.records.pop(room, None)
        self.affiliated.pop(room, None)

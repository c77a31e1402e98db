"""A store of rooms in dictionaries: what the one on SQLite is to do, for dialogues."""

from collections.abc import Iterable, Sequence

from megaphone.rooms.ports import Affiliated, Affiliation, RoomConfig, RoomRecord, StoredMessage
from megaphone.stream.jid import JID


class MemoryStore:
    def __init__(self) -> None:
        self.records: dict[JID, RoomRecord] = {}
        self.affiliated: dict[JID, dict[JID, Affiliated]] = {}
        self.messages: dict[JID, list[StoredMessage]] = {}

    def rooms(self) -> Iterable[RoomRecord]:
        return list(self.records.values())

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

    def append(self, room: JID, message: StoredMessage) -> None:
        log = self.messages.setdefault(room, [])
        assert not log or log[-1].id < message.id
        log.append(message)

    def tail(self, room: JID, count: int) -> Sequence[StoredMessage]:
        return self.messages.get(room, [])[-count:]

    def forget(self, room: JID) -> None:
        self.messages.pop(room, None)

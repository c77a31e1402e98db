"""A store of rooms in dictionaries: what the one on SQLite is to do, for dialogues.

`bring` is what the tables do between nodes: of two versions the one counts that storage.replicated_row says.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from megaphone.rooms.ports import Affiliated, Affiliation, RoomConfig, RoomRecord
from megaphone.stream.jid import JID


class MemoryStore:
    def __init__(self) -> None:
        self.records: dict[JID, RoomRecord] = {}
        self.affiliated: dict[JID, dict[JID, Affiliated]] = {}
        self.deleted: dict[JID, float] = {}
        self.clock: Callable[[], float] = lambda: 0.0
        self._written: dict[JID, float] = {}
        self._affiliated: dict[tuple[JID, JID], tuple[float, Affiliated]] = {}
        self._last = 0.0

    def _tick(self) -> float:
        self._last = max(self.clock(), self._last + 1e-6)
        return self._last

    def rooms(self) -> Iterable[RoomRecord]:
        return list(self.records.values())

    def room(self, room: JID) -> RoomRecord | None:
        return self.records.get(room)

    def ended(self, room: JID) -> float:
        return self.deleted.get(room, 0.0)

    def affiliations(self, room: JID) -> Iterable[Affiliated]:
        return list(self.affiliated.get(room, {}).values())

    def put_room(self, record: RoomRecord) -> None:
        assert RoomConfig.of(record.config.values()) == record.config
        self.records[record.room] = record
        self._written[record.room] = self._tick()

    def put_affiliation(self, room: JID, affiliated: Affiliated) -> None:
        if room not in self.records:
            return  # as SQL does it
        self._affiliated[room, affiliated.jid] = (self._tick(), affiliated)
        self._enter(room, affiliated)

    def _enter(self, room: JID, affiliated: Affiliated) -> None:
        entries = self.affiliated.setdefault(room, {})
        entries.pop(affiliated.jid, None)
        if affiliated.affiliation is not Affiliation.NONE:
            entries[affiliated.jid] = affiliated

    def delete_room(self, room: JID) -> None:
        if self.records.pop(room, None) is not None:
            self._bury(room, self._tick())

    def _bury(self, room: JID, at: float) -> None:
        self.deleted[room] = at
        self.records.pop(room, None)
        self.affiliated.pop(room, None)
        self._affiliated = {key: each for key, each in self._affiliated.items() if key[0] != room}

    def bring(self, room: JID, to: "MemoryStore") -> bool:
        """Bring the rows of one room to another node's store; returns whether anything has changed there."""
        before = (to.records.get(room), dict(to.affiliated.get(room, {})), to.ended(room))
        to._last = max(to._last, self._last)
        if self.ended(room) > to.ended(room):
            to._bury(room, self.ended(room))
        if self.ended(room) == to.ended(room):
            self._merge(room, to)
        return before != (to.records.get(room), dict(to.affiliated.get(room, {})), to.ended(room))

    def _merge(self, room: JID, to: "MemoryStore") -> None:
        ours, theirs = self.records.get(room), to.records.get(room)
        if ours is None:
            return
        written = self._written[room]
        if theirs is not None:
            made = min(ours, theirs, key=lambda each: (each.created, str(each.creator), each.secret))
            ours, written = max((ours, written), (theirs, to._written[room]), key=lambda each: each[1])
            ours = replace(ours, created=made.created, creator=made.creator, secret=made.secret)
        to.records[room], to._written[room] = ours, written
        for (owner, jid), (at, affiliated) in self._affiliated.items():
            if owner == room and at > to._affiliated.get((room, jid), (0.0, None))[0]:
                to._affiliated[room, jid] = (at, affiliated)
                to._enter(room, affiliated)

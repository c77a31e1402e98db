"""Sessions that go on at another node, by XEP-0198: in their rooms nobody sees a difference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.rooms import leaving, presence
from megaphone.rooms.names import Status
from megaphone.rooms.ports import Role

if TYPE_CHECKING:
    from megaphone.rooms.room import Room
    from megaphone.rooms.rooms import Rooms
    from megaphone.rooms.telling import Telling
    from megaphone.stream.jid import JID


class MovedSessions:
    """Those of one worker's rooms that have left for another node, which has not claimed them yet."""

    def __init__(self, rooms: Rooms, telling: Telling) -> None:
        self._rooms = rooms
        self._telling = telling
        self._left: dict[tuple[JID, JID], float] = {}  # room, session: until when they may be claimed

    def leave(self, session: JID, now: float, resume_seconds: float) -> None:
        """A session of ours goes on at another node, which will claim it: it is not reached from here any more."""
        self._telling.now = now
        for room in self._rooms:
            if session in room.occupants.by_session and session not in room.occupants.remote:
                room.outlet.occupant_removed(room.jid, session)
                self._left[room.jid, session] = now + resume_seconds

    def has_left(self, room: Room, session: JID) -> bool:
        """Whether a session is not reached any more, because it has moved."""
        return self._left.pop((room.jid, session), None) is not None

    def come(self, session: JID, now: float) -> None:
        """A session of another node's goes on here, in the rooms that it is in; nobody sees a difference."""
        self._telling.now = now
        for room in self._rooms:
            occupant = room.occupants.by_session.get(session)
            if occupant is not None and session in room.occupants.remote and room.occupants.touched is not None:
                self._rooms.touch(room.jid)
                del room.occupants.remote[session]
                room.outlet.occupant_added(room.jid, session, moderator=occupant.role is Role.MODERATOR)
                room.occupants.touched[session] = None
                self._telling.tell_changes(room)

    def _end(self, jid: JID, session: JID) -> None:
        """Nobody has claimed a session that went to another node."""
        room = self._rooms.room(jid)
        occupant = None if room is None else room.occupants.by_session.get(session)
        if room is not None and occupant is not None and session not in room.occupants.remote:
            self._rooms.touch(jid)
            leaving.leave(room, occupant, session, why=presence.Why((Status.ERROR,)), is_reached=False)
            self._telling.tell_changes(room)

    def sweep(self, now: float) -> None:
        """Let those leave that nobody has claimed."""
        for jid, session in [key for key, until in self._left.items() if until <= now]:
            del self._left[jid, session]
            self._end(jid, session)

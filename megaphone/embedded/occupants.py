"""Which sessions of this worker are in which room: a room's words cross to each worker once and are sent out here.

The room itself, at its home, knows its occupants; what stands here is told by it, in order with all it says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from megaphone.service.session import Session
    from megaphone.stream.jid import JID

    Sessions = list[Session] | dict[JID, Session]


class FanOut(Protocol):
    """Where the stanzas go (embedded.stream.Streams)."""

    def fan_out(self, sessions: Sessions, stanza: bytes, from_: str) -> int:
        """Send a stanza to each of these sessions, at once or a little later, but before all that is said after it."""

    def settle(self) -> None:
        """Send what waits."""


class Occupants:
    """The occupants at home here, by room.

    `session_of` gives the session of a full JID, or None once it has ended.
    """

    def __init__(self, streams: FanOut, session_of: Callable[[JID], Session | None]) -> None:
        self._streams = streams
        self._session_of = session_of
        self._rooms: dict[JID, dict[JID, Session]] = {}
        self._moderators: dict[JID, set[JID]] = {}
        self.touched: set[JID] | None = None  # rooms whose occupants have changed, while they move to another process
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, room: JID, occupant: JID, *, moderator: bool) -> None:
        """Reach this session from now on; one that has ended meanwhile is passed over."""
        self._touch(room)
        session = self._session_of(occupant)
        if session is None:
            return
        self._streams.settle()
        sessions = self._rooms.setdefault(room, {})
        self._count += occupant not in sessions
        sessions[occupant] = session
        self.change(room, occupant, moderator=moderator)

    def change(self, room: JID, occupant: JID, *, moderator: bool) -> None:
        """Count an occupant among the moderators, or no longer."""
        self._touch(room)
        moderators = self._moderators.get(room)
        if moderator and occupant in self._rooms.get(room, ()):
            self._moderators.setdefault(room, set()).add(occupant)
        elif not moderator and moderators is not None:
            moderators.discard(occupant)
            if not moderators:
                del self._moderators[room]

    def remove(self, room: JID, occupant: JID) -> None:
        """Reach this session no more."""
        self.change(room, occupant, moderator=False)
        sessions = self._rooms.get(room)
        if sessions is not None:
            self._streams.settle()
            self._count -= sessions.pop(occupant, None) is not None
            if not sessions:
                del self._rooms[room]

    def fan_out(self, room: JID, stanza: bytes, from_: str, audience: str, except_: Collection[JID]) -> int:
        """Send a stanza to the room's occupants here; return to how many."""
        sessions = self._rooms.get(room)
        if not sessions:
            return 0
        if audience == "all" and not except_:
            return self._streams.fan_out(sessions, stanza, from_)
        return self._streams.fan_out(list(self._chosen(room, sessions, audience, except_)), stanza, from_)

    def _chosen(
        self, room: JID, sessions: dict[JID, Session], audience: str, except_: Collection[JID]
    ) -> Iterator[Session]:
        moderators = self._moderators.get(room, ())
        for occupant, session in sessions.items():
            wanted = audience == "all" or (occupant in moderators) == (audience == "moderators")
            if wanted and occupant not in except_:
                yield session

    def rooms(self) -> list[JID]:
        """Every room with an occupant here."""
        return list(self._rooms)

    def of(self, room: JID) -> list[tuple[JID, bool]]:
        """Return the occupants of a room, in the order of their coming: full JID, whether it is a moderator."""
        moderators = self._moderators.get(room, ())
        return [(occupant, occupant in moderators) for occupant in self._rooms.get(room, ())]

    def _touch(self, room: JID) -> None:
        if self.touched is not None:
            self.touched.add(room)

    def forget(self, room: JID) -> None:
        """The room is gone, with whatever home it had."""
        self._touch(room)
        self._streams.settle()
        self._count -= len(self._rooms.pop(room, ()))
        self._moderators.pop(room, None)

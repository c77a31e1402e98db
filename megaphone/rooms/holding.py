"""Stanzas to rooms of which the other nodes have not said yet who is in them: kept in order, a second at most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from megaphone.errors import RoomError

if TYPE_CHECKING:
    from megaphone.rooms.addressed import Addressed
    from megaphone.stream.jid import JID

HOLD_SECONDS: Final = 1.0
ROOM_LIMIT: Final = 1_000  # stanzas for one room
LIMIT: Final = 10_000  # for all of them


class Held:
    """What waits for one room. `locked`: another node says that it is being made there."""

    __slots__ = ("deadline", "locked", "stanzas")

    def __init__(self, stanza: Addressed, deadline: float) -> None:
        self.stanzas = [stanza]
        self.deadline = deadline
        self.locked = False


class Holding:
    """What waits, by room."""

    def __init__(self) -> None:
        self._held: dict[JID, Held] = {}  # the oldest first
        self._count = 0

    def __contains__(self, room: JID) -> bool:
        return room in self._held

    def rooms(self) -> list[JID]:
        """Return the rooms for which anything waits."""
        return list(self._held)

    def begin(self, room: JID, stanza: Addressed, now: float) -> None:
        """Keep the first stanza for a room, and what comes behind it; RoomError if too much waits."""
        self._admit(0)
        self._held[room] = Held(stanza, now + HOLD_SECONDS)

    def hold(self, stanza: Addressed) -> None:
        """Keep one more; RoomError if too much waits."""
        held = self._held[stanza.to.bare]
        self._admit(len(held.stanzas))
        held.stanzas.append(stanza)

    def _admit(self, waiting: int) -> None:
        if self._count >= LIMIT or waiting >= ROOM_LIMIT:
            raise RoomError("resource-constraint", "too much waits for other nodes; try again later")
        self._count += 1

    def lock(self, room: JID) -> None:
        """Note that a room is being made elsewhere."""
        self._held[room].locked = True

    def end(self, room: JID) -> Held | None:
        """Return what has waited for a room; None if nothing did."""
        held = self._held.pop(room, None)
        if held is not None:
            self._count -= len(held.stanzas)
        return held

    def overdue(self, now: float) -> list[JID]:
        """Return the rooms that have waited for long enough."""
        return [room for room, held in self._held.items() if held.deadline <= now]

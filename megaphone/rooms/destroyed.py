"""Rooms that an owner has destroyed a moment ago: what is late of them is not taken for the next of that name.

    an owner destroys ─┬─► Destroyed ─► every node ends its instance, and notes when
                       └─► the row goes, somewhat later: until it has gone, it would bring the room back
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from megaphone.stream.jid import JID

KEPT_SECONDS: Final = 300.0  # by then every node that can be reached has the deletion of the row
LIMIT: Final = 10_000  # the oldest are forgotten: what is late of them may show the room for a moment
LATER_SECONDS: Final = 10.0  # a row that has gone this soon after has gone for this reason


class DestroyedRooms:
    """When which room was destroyed, Unix seconds by the clock of the node where it was."""

    def __init__(self) -> None:
        self._at: dict[JID, float] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._at)

    def note(self, room: JID, at: float) -> None:
        """A room was destroyed; the last time counts."""
        at = max(at, self._at.pop(room, 0.0))
        self._at[room] = at
        if len(self._at) > LIMIT:
            del self._at[next(iter(self._at))]

    def at(self, room: JID) -> float:
        """Return when a room was destroyed last: whatever was made until then is over. 0.0 if it was not."""
        return self._at.get(room, 0.0)

    def over_until(self, room: JID, deleted: float) -> float:
        """Return until when what was made is over, if a row was deleted at this time: then, or shortly before."""
        at = self.at(room)
        return at if at <= deleted <= at + LATER_SECONDS else deleted

    def sweep(self, now: float) -> None:
        """Forget what was long ago."""
        while self._at and (first := next(iter(self._at))) and self._at[first] <= now - KEPT_SECONDS:
            del self._at[first]

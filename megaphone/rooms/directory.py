"""The room list, which disco#items of the rooms' domain shows; it lives at the domain's home, and rooms tell it all."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from megaphone.rooms.names import DISCO_ITEMS, element

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from megaphone.stream.jid import JID


class Directory:
    """Public rooms by their JIDs: name, and about how many occupants. At most `limit` are kept, and `shown` shown."""

    def __init__(self, limit: int, shown: int) -> None:
        self._rooms: dict[JID, tuple[str, int]] = {}
        self._limit = limit
        self._shown = shown
        self.touched: set[JID] | None = None  # which have changed, while the list moves to another process
        self._items: bytes | None = None  # the answer, until something changes: many ask

    def __len__(self) -> int:
        return len(self._rooms)

    def put(self, room: JID, name: str, occupants: int) -> None:
        """List a room, or list it anew; one too many is not listed."""
        self._touch(room)
        if room in self._rooms or len(self._rooms) < self._limit:
            self._rooms[room] = (name, occupants)
            self._items = None

    def remove(self, room: JID) -> None:
        """List a room no longer."""
        self._touch(room)
        self._rooms.pop(room, None)
        self._items = None

    def lose(self, is_lost: Callable[[JID], bool]) -> None:
        """Remove the rooms whose home has died."""
        for room in [room for room in self._rooms if is_lost(room)]:
            self._touch(room)
            del self._rooms[room]
        self._items = None

    def rooms(self) -> Iterator[tuple[JID, str, int]]:
        """Yield every room of the list: JID, name and about how many occupants."""
        for room, (name, occupants) in self._rooms.items():
            yield room, name, occupants

    def entry(self, room: JID) -> tuple[str, int] | None:
        """Return what is known of a room, None if it is not listed."""
        return self._rooms.get(room)

    def _touch(self, room: JID) -> None:
        if self.touched is not None:
            self.touched.add(room)

    def fullest(self) -> list[tuple[JID, str, int]]:
        """Return the rooms with the most occupants, and among as many by name of the room."""
        first = heapq.nsmallest(self._shown, self._rooms.items(), key=lambda entry: (-entry[1][1], entry[0]))
        return [(room, name, occupants) for room, (name, occupants) in first]

    def items(self) -> bytes:
        """Return `<query/>` of disco#items (XEP-0045 section 6.3)."""
        if self._items is None:
            content = b"".join(
                element(b"item", jid=str(room), name=name or room.local) for room, name, _ in self.fullest()
            )
            self._items = element(b"query", DISCO_ITEMS, content)
        return self._items

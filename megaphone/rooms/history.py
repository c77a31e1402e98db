"""The last entries of one room's archive, in memory: what a new occupant gets to read of them, and most queries ask.

XEP-0045 sections 7.2.13 and 7.2.14. Of a temporary room they are the whole archive.
"""

from __future__ import annotations

import datetime
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from megaphone.history.entry import Kind
from megaphone.rooms.names import MUC, delay
from megaphone.wire.stamp import add_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from xml.etree.ElementTree import Element

    from megaphone.stream.archive import Archived, Erasure


class Tail:
    """A bounded tail of the room's archive, oldest first."""

    __slots__ = ("_bytes", "_entries", "_limit", "_limit_bytes")

    def __init__(self, limit: int, limit_bytes: int, entries: Iterable[Archived] = ()) -> None:
        self._entries: deque[Archived] = deque()
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._bytes = 0
        for entry in entries:
            self.append(entry)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def last_number(self) -> int:
        """The number that is the last entry's id; 0 if there is no entry, or its id is no number."""
        return int(self._entries[-1].id) if self._entries and self._entries[-1].id.isdecimal() else 0

    @property
    def last_time(self) -> float:
        """When the last entry was said, Unix seconds; there is one."""
        return self._entries[-1].said.time

    def append(self, entry: Archived) -> None:
        """Add an entry; the oldest go when there are too many, or too many bytes of them."""
        self._entries.append(entry)
        self._bytes += len(entry.said.stanza)
        while len(self._entries) > self._limit or self._bytes > self._limit_bytes:
            self._bytes -= len(self._entries.popleft().said.stanza)

    def all(self) -> tuple[Archived, ...]:
        """Return all of it."""
        return tuple(self._entries)

    def find(self, id_: str) -> Archived | None:
        """Return the entry with an id, if it is among these."""
        return next((entry for entry in self._entries if entry.id == id_), None)

    def erase(self, erasure: Erasure) -> None:
        """Forget what an entry said, if it is among these."""
        for place, entry in enumerate(self._entries):
            if entry.id == erasure.id:
                self._entries[place] = erasure.of(entry)
                self._bytes += len(erasure.placeholder) - len(entry.said.stanza)
                return

    def last(self, wanted: Wanted, now: float, room: str, marked: Callable[[Archived], bytes]) -> list[bytes]:
        """Return the stanzas that a new occupant gets, as `marked` gives them, each with its delay stamp."""
        since = max(wanted.since, now - wanted.seconds)
        found: list[bytes] = []
        characters = 0
        for entry in reversed(self._entries):
            if len(found) == wanted.messages or entry.said.time < since:
                break
            if entry.said.kind != Kind.MESSAGE or entry.erased:
                continue
            stanza = add_child(marked(entry), delay(room, entry.said.time))
            characters += len(stanza)
            if characters > wanted.characters:
                break
            found.append(stanza)
        found.reverse()
        return found


class Wanted(NamedTuple):
    """How much history somebody asked for, and the room gives at most."""

    messages: int
    characters: float = float("inf")
    """Of whole stanzas, in bytes."""
    seconds: float = float("inf")
    since: float = float("-inf")
    """Unix seconds."""


def wanted(presence: Element, limit: int) -> Wanted:
    """Read `<history/>` of a presence that enters; what is no number or no time is passed over."""
    history = presence.find(f"{{{MUC}}}x/{{{MUC}}}history")
    if history is None:
        return Wanted(limit)
    return Wanted(
        int(min(limit, _number(history.get("maxstanzas")))),
        _number(history.get("maxchars")),
        _number(history.get("seconds")),
        _time(history.get("since")),
    )


def _number(text: str | None) -> float:
    """Return a number of 0 or more, infinity for anything else."""
    if text is None or not text.isdecimal() or len(text) > 15:
        return float("inf")
    return int(text)


def _time(text: str | None) -> float:
    """Return the Unix seconds of a time (XEP-0082), minus infinity for anything else."""
    try:
        moment = datetime.datetime.fromisoformat(text or "")
        return moment.timestamp() if moment.tzinfo is not None else float("-inf")
    except (ValueError, OverflowError):
        return float("-inf")

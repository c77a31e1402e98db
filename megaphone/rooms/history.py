"""The last messages of one room: what a new occupant gets to read (XEP-0045 sections 7.2.13 and 7.2.14)."""

from __future__ import annotations

import datetime
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from megaphone.rooms.names import MUC, delay
from megaphone.wire.stamp import add_child

if TYPE_CHECKING:
    from collections.abc import Iterable
    from xml.etree.ElementTree import Element

    from megaphone.rooms.ports import StoredMessage


class Tail:
    """A bounded tail of the room's messages, oldest first."""

    __slots__ = ("_bytes", "_limit", "_limit_bytes", "_messages")

    def __init__(self, limit: int, limit_bytes: int, messages: Iterable[StoredMessage] = ()) -> None:
        self._messages: deque[StoredMessage] = deque()
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._bytes = 0
        for message in messages:
            self.append(message)

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def last_id(self) -> int:
        """The greatest id so far; 0 if there is no message."""
        return self._messages[-1].id if self._messages else 0

    def append(self, message: StoredMessage) -> None:
        """Add a message; the oldest go when there are too many, or too many bytes of them."""
        self._messages.append(message)
        self._bytes += len(message.stanza)
        while len(self._messages) > self._limit or self._bytes > self._limit_bytes:
            self._bytes -= len(self._messages.popleft().stanza)

    def all(self) -> tuple[StoredMessage, ...]:
        """Return all of it."""
        return tuple(self._messages)

    def last(self, wanted: Wanted, now: float, room: str) -> list[bytes]:
        """Return the stanzas that a new occupant gets, each with its delay stamp."""
        since = max(wanted.since, now - wanted.seconds)
        found: list[bytes] = []
        characters = 0
        for message in reversed(self._messages):
            if len(found) == wanted.messages or message.time < since:
                break
            stanza = add_child(message.stanza, delay(room, message.time))
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

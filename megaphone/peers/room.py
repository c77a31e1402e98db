"""A room on the LAN: lines go into its log and come out of it, in one order, each once; no I/O.

The same line may come by several ways, and old ones long after new ones: a peer gives the newest page first. What is
shown is what is new here, but for what lies further back than the user asked to see.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from megaphone.errors import HistoryError
from megaphone.history import content
from megaphone.history.clock import COUNTER_BITS, Clock, milliseconds
from megaphone.history.content import Content
from megaphone.history.entry import Kind, Origin
from megaphone.history.manifest import LAN, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from megaphone.history.ports import Placed

CHANNEL_LIMIT_BYTES: Final = 128
LINE_LIMIT_BYTES: Final = 8_000
BURST_LIMIT: Final = 1_000  # lines shown of what comes at once; the rest is counted

Place = tuple[Clock, Origin, int]
"""Where an entry stands in the order of the log."""


class Line(NamedTuple):
    """What somebody said, as it stands in the log."""

    milliseconds: int
    """Since 1970."""
    author: str
    """As it says; whether the name is this key's is for the pins to tell."""
    origin: Origin
    text: str

    @property
    def time(self) -> str:
        """ISO 8601, UTC, to the second."""
        try:
            moment = datetime.datetime.fromtimestamp(self.milliseconds / 1000, datetime.UTC)
        except (ValueError, OverflowError):
            return "9999-12-31T23:59:59Z"
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def channel(text: str) -> Manifest:
    """Return the manifest of a room by the name that the user types, with or without "#"; ValueError for none."""
    name = text.strip().removeprefix("#")
    if not name or not name.isprintable():
        raise ValueError(f"{text!r} is no name of a room")
    if len(name.encode()) > CHANNEL_LIMIT_BYTES:
        raise ValueError(f"the name of a room has at most {CHANNEL_LIMIT_BYTES} bytes")
    return Manifest(LAN, name)


def said(author: str, text: str) -> Content:
    """Return the content of a line; ValueError if it is too long."""
    data = text.encode("utf-8", "replace")
    if len(data) > LINE_LIMIT_BYTES:
        raise ValueError(f"{len(data)} bytes are too long for one line (at most {LINE_LIMIT_BYTES})")
    return Content(author, data)


def line(placed: Placed) -> Line | None:
    """Return the line that an entry is, None if it is something else, or was erased."""
    if placed.entry.kind != Kind.NOTE or placed.entry.content is None:
        return None
    try:
        found = content.decode(placed.entry.content)
    except HistoryError:
        return None
    text = found.stanza.decode("utf-8", "replace")
    return Line(milliseconds(placed.entry.clock), found.author, placed.origin, text)


class Window:
    """What of a room's log the user sees: `first(page)` at the start, then `new(entries)` for all that is new.

    Who has been here before sees all that was missed, who is new at most `asked` lines of what was said before.
    """

    def __init__(self, asked: int, started_ms: int, burst_limit: int = BURST_LIMIT) -> None:
        self._asked = asked
        self._started_ms = started_ms
        self._burst_limit = burst_limit
        self._old_left = 0  # lines of the time before the start that somebody new may still see
        self._floor: Place | None = None  # nothing before is shown

    def first(self, page: list[Placed]) -> list[Line]:
        """Return the lines to show of the newest page of the log, `asked` + 1 entries if there are so many."""
        if not page:
            self._begin_new()
            return []
        shown = page[len(page) - self._asked :] if self._asked < len(page) else page
        if len(shown) < len(page):
            self._floor = _place(shown[0] if shown else page[-1])
        return _lines(shown)

    def _begin_new(self) -> None:
        self._old_left = self._asked
        if not self._asked:
            self._floor = self._start

    @property
    def _start(self) -> Place:
        return Clock(self._started_ms << COUNTER_BITS), Origin(b""), 0

    def new(self, entries: Iterable[Placed]) -> tuple[list[Line], int]:
        """Return the lines to show of new entries, in order, and how many are left out for they are too many."""
        above = sorted((each for each in entries if self._floor is None or _place(each) >= self._floor), key=_place)
        if self._old_left:
            above = self._cut_old(above)
        left_out = max(0, len(above) - self._burst_limit)
        if left_out:
            self._floor = _place(above[left_out])
        return _lines(above[left_out:]), left_out

    def _cut_old(self, entries: list[Placed]) -> list[Placed]:
        old = sum(_place(each) < self._start for each in entries)
        shown = entries[max(0, old - self._old_left) :]
        self._old_left = max(0, self._old_left - old)
        if not self._old_left:
            self._floor = _place(shown[0])
        return shown


def _lines(entries: Iterable[Placed]) -> list[Line]:
    return [found for found in map(line, entries) if found is not None]


def _place(placed: Placed) -> Place:
    return placed.entry.clock, placed.origin, placed.seq

"""The order of a log: the same on every replica, whatever came when."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from megaphone.history.clock import Clock
from megaphone.history.entry import Origin

if TYPE_CHECKING:
    from megaphone.history.ports import Placed

Place: TypeAlias = tuple[Clock, Origin, int]
"""Clock, origin, seq: a place in a log. Within a feed it rises with seq, because the clock does."""

FIRST_PLACE: Place = (Clock(0), Origin(b""), 0)
"""Before everything."""


def place(placed: Placed) -> Place:
    """Return where in its log an entry stands; a key to sort by."""
    return placed.entry.clock, placed.origin, placed.seq

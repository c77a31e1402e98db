"""The hybrid logical clock: close to the time of day, and never behind anything that was seen.

    64 bits:  milliseconds since 1970 (48) │ counter (16)

Kulkarni, Demirbas et al., "Logical Physical Clocks" (2014). A full counter goes into the milliseconds.
"""

from __future__ import annotations

from typing import Final, NewType

Clock = NewType("Clock", int)
"""A point of the hybrid clock, 0 to 2^64 - 1; comparing two compares what could have caused what."""

COUNTER_BITS: Final = 16
MILLISECONDS_A_DAY: Final = 86_400_000


class HybridClock:
    """One node's clock."""

    __slots__ = ("last",)

    def __init__(self, last: Clock = Clock(0)) -> None:
        self.last = last
        """The greatest point said or seen."""

    def tick(self, now_ms: int) -> Clock:
        """Return the point of something that happens now, greater than any before."""
        self.last = Clock(max(self.last + 1, now_ms << COUNTER_BITS))
        return self.last

    def observe(self, clock: Clock) -> None:
        """Go on behind a point that somebody else has said (which has been found to be near enough)."""
        self.last = max(self.last, clock)


def milliseconds(clock: Clock) -> int:
    """Return the time of day of a point, milliseconds since 1970."""
    return clock >> COUNTER_BITS


def day(clock: Clock) -> int:
    """Return the day of a point: days since 1970-01-01, UTC."""
    return milliseconds(clock) // MILLISECONDS_A_DAY

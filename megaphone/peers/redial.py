"""How long to wait before a peer is dialled again: growing pauses, each shortened by chance. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
STABLE_SECONDS: Final = 10.0  # a connection that lasted so long was a good one


class Redial:
    """The pauses of one address.

    `chance` gives numbers from 0 to 1, so that peers that lost each other do not meet in the middle again and again.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self.failures = 0

    def failed(self, lasted_seconds: float = 0.0) -> float:
        """Return how many seconds to wait after an attempt that failed, or a connection that lasted so long."""
        if lasted_seconds >= STABLE_SECONDS:
            self.failures = 0
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(self.failures, 16))
        self.failures += 1
        return pause * (0.5 + 0.5 * self._chance())

    def refused(self) -> float:
        """Return how many seconds to wait after a peer whose answer will not change soon: the longest pause."""
        self.failures = 16
        return self.failed()

    def seen(self) -> None:
        """The peer was heard of just now: begin with short pauses again."""
        self.failures = 0

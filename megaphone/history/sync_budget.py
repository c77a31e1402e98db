"""What a peer may cost: how often whole sets are read for it, and how much it may say that is wrong."""

from __future__ import annotations

from typing import Final

from megaphone.errors import HistoryError

READINGS: Final = 16
"""Of a whole set, in a row: some tenths of a second each for a million entries."""
READING_MS: Final = 5_000
"""After which there may be one more."""
MAX_FAULTS: Final = 16


class Budget:
    """Of one conversation."""

    __slots__ = ("_faults", "_left", "_since_ms")

    def __init__(self) -> None:
        self._left = READINGS
        self._since_ms: int | None = None
        self._faults = 0

    def spend(self, now_ms: int) -> bool:
        """Tell whether a whole set may be read now."""
        if self._since_ms is None:
            self._since_ms = now_ms
        gained = max(0, now_ms - self._since_ms) // READING_MS
        if gained:
            self._left = min(READINGS, self._left + gained)
            self._since_ms += gained * READING_MS
        if not self._left:
            return False
        self._left -= 1
        return True

    def fault(self, reason: str) -> None:
        """Note something that no honest peer says; HistoryError if it is enough."""
        self._faults += 1
        if self._faults >= MAX_FAULTS:
            raise HistoryError(reason, f"{self._faults} faults")

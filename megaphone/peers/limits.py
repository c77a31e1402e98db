"""How many connections an address may have, and how quickly it may come again: one host must not take all places."""

from __future__ import annotations

from typing import Final

CONNECTIONS_OF_AN_ADDRESS: Final = 16  # several peers may run on one host
ATTEMPTS_AT_ONCE: Final = 32
ATTEMPTS_PER_SECOND: Final = 1.0
ADDRESSES_LIMIT: Final = 4096  # remembered; beyond that the one that came longest ago is forgotten


class AddressLimits:
    """Counts connections, and attempts by a token bucket. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens, at what time; the oldest first

    def enter(self, address: str, now: float) -> bool:
        """Tell whether a connection from `address` may begin; if so, `leave` must be called at its end."""
        tokens, since = self._buckets.pop(address, (float(ATTEMPTS_AT_ONCE), now))
        tokens = min(float(ATTEMPTS_AT_ONCE), tokens + (now - since) * ATTEMPTS_PER_SECOND)
        count = self._open.get(address, 0)
        allowed = tokens >= 1.0 and count < CONNECTIONS_OF_AN_ADDRESS
        self._buckets[address] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._buckets) > ADDRESSES_LIMIT:
            del self._buckets[next(iter(self._buckets))]
        if allowed:
            self._open[address] = count + 1
        return allowed

    def leave(self, address: str) -> None:
        """A connection from `address` has ended."""
        count = self._open[address] - 1
        if count:
            self._open[address] = count
        else:
            del self._open[address]

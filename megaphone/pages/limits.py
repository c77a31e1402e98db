"""What visitors of pages may use, and the buckets that measure it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLimits:
    """Of one worker, unless it says of whom; rates have a burst of BURST_SECONDS."""

    page_bytes: int = 262_144  # of one page, as UTF-8
    pages: int = 4096  # held or wanted here
    visitors: int = 20_000  # connections
    viewers_per_page: int = 10_000  # holders of one page
    wants_per_page: int = 10_000  # connections that wait for one page
    topics_per_connection: int = 16
    messages_per_second: float = 50.0  # of one connection, of any kind
    joins_per_second: float = 5.0  # of one connection
    requests_per_second: float = 5.0  # of one connection: asking for a page
    joins_per_second_per_address: float = 200.0
    requests_per_second_per_address: float = 200.0


BURST_SECONDS = 8.0
ADDRESSES_LIMIT = 65_536


class Bucket:
    """A token bucket of `rate` a second and BURST_SECONDS of it."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, rate: float, now: float) -> None:
        self._tokens = rate * BURST_SECONDS
        self._at = now

    def take(self, rate: float, now: float, cost: float = 1.0) -> bool:
        """Take `cost` tokens; False, and none is taken, if there are too few."""
        self._tokens = min(rate * BURST_SECONDS, self._tokens + max(0.0, now - self._at) * rate)
        self._at = now
        if self._tokens < cost:
            return False
        self._tokens -= cost
        return True

    def fine(self, rate: float, seconds: float) -> None:
        """Take the tokens of so many seconds away, below nothing if need be."""
        self._tokens = max(-rate * BURST_SECONDS, self._tokens - rate * seconds)


class Addresses:
    """A bucket for each address, of those that were heard of last."""

    def __init__(self, limit: int = ADDRESSES_LIMIT) -> None:
        self._limit = limit
        self._buckets: OrderedDict[bytes, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, address: bytes, rate: float, now: float) -> Bucket:
        """Return the bucket of an address; the one not asked for longest is forgotten for a new one."""
        bucket = self._buckets.get(address)
        if bucket is None:
            while len(self._buckets) >= self._limit:
                self._buckets.popitem(last=False)
            bucket = self._buckets[address] = Bucket(rate, now)
        else:
            self._buckets.move_to_end(address)
        return bucket


def network_of(address: bytes) -> bytes:
    """Return what an address counts as: IPv4 by itself (16 bytes, mapped), IPv6 by its /64."""
    return address if address[:12] == b"\0" * 10 + b"\xff\xff" else address[:8]

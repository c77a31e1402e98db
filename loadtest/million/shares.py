"""How sessions are dealt out to load processes, each of which reaches Megaphone in one way. Pure arithmetic."""

from collections.abc import Mapping
from math import ceil
from typing import Literal, NamedTuple

Way = Literal["plain", "tls", "tls1.2"]
"""`tls` is TLS 1.3 from the first byte; `tls1.2` are clients that know nothing newer."""


class Share(NamedTuple):
    """A load process: how its sessions come in, and how many they are."""

    way: Way
    sessions: int


def by_way(sessions: int, tls: float, tls12: float) -> dict[Way, int]:
    """How many sessions come in each way, without those that nobody takes.

    `tls` is the part of all sessions that have TLS, `tls12` the part of these that have version 1.2; both 0 to 1.
    """
    encrypted = round(sessions * tls)
    old = round(encrypted * tls12)
    found: dict[Way, int] = {"plain": sessions - encrypted, "tls": encrypted - old, "tls1.2": old}
    return {way: count for way, count in found.items() if count > 0}


def least(counts: Mapping[Way, int], most: int) -> int:
    """How many load processes it takes when each may have at most so many sessions."""
    return sum(ceil(count / most) for count in counts.values())


def deal(counts: Mapping[Way, int], processes: int) -> tuple[Share, ...]:
    """The shares of so many load processes, one for each way at least: the largest is as small as can be."""
    numbers = dict.fromkeys(counts, 1)
    while sum(numbers.values()) < processes:
        way = max(counts, key=lambda each: counts[each] / numbers[each])
        if numbers[way] == counts[way]:  # one session each already
            break
        numbers[way] += 1
    return tuple(
        Share(way, count * (turn + 1) // numbers[way] - count * turn // numbers[way])
        for way, count in counts.items()
        for turn in range(numbers[way])
    )

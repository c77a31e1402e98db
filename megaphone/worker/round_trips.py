"""How long the round trips of clients take: every two seconds a look at some connections, put on the board."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from megaphone.dispatch.round_trip_slots import BUCKETS_SECONDS, GAUGES, RoundTripSlot
from megaphone.edge.round_trips import sample_round_trips

if TYPE_CHECKING:
    from collections.abc import Sequence

    from megaphone.dispatch.counters import Board
    from megaphone.dispatch.dispatcher import Dispatcher

LOOK_LIMIT: Final = 256  # connections at a time, a system call each
_BOUNDS_US: Final = [round(bound * 1e6) for bound in BUCKETS_SECONDS]


class RoundTrips:
    """Looks at other connections each time, until all have had their turn."""

    def __init__(self, dispatcher: Dispatcher, board: Board, *, every: int) -> None:
        """`every`: how many calls of `sweep` there are for one look."""
        self._dispatcher = dispatcher
        self._board = board
        self._every = every
        self._calls = 0

    def sweep(self) -> None:
        """Look, if it is time."""
        self._calls += 1
        if self._calls % self._every == 0:
            turn = self._calls // self._every
            note(self._board, sample_round_trips(self._dispatcher, LOOK_LIMIT, turn))


def note(board: Board, measured_us: Sequence[int]) -> None:
    """Put what was measured, in microseconds, on the board; of nothing the gauges become 0."""
    ordered = sorted(measured_us)
    for slot, value in zip(GAUGES, _shares(ordered), strict=True):
        board.set(slot, value * 1000)
    board.add(RoundTripSlot.SUM_NS, sum(ordered) * 1000)
    below = 0
    for place, bound in enumerate([*_BOUNDS_US, ordered[-1] if ordered else 0]):
        within = max(below, bisect_right(ordered, bound))
        board.add(RoundTripSlot.BUCKETS + place, within - below)
        below = within


def _shares(ordered: Sequence[int]) -> tuple[int, int, int]:
    """Return what half, nine tenths and all of them are within (nearest rank)."""
    if not ordered:
        return (0, 0, 0)
    last = len(ordered) - 1
    return ordered[last // 2], ordered[(len(ordered) * 9 + 9) // 10 - 1], ordered[last]

"""The slots of a board for the round trips of clients. They are free in `counters.Slot` and all others."""

from enum import IntEnum
from typing import Final

BUCKETS_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)


class RoundTripSlot(IntEnum):
    """A 64-bit slot of a worker's board, from 224 to 239."""

    MEDIAN_NS = 224  # gauges: of the connections that were looked at last; 0 if there were none
    NINETY_PERCENT_NS = 225
    WORST_NS = 226
    SUM_NS = 227  # over all looks at a connection
    BUCKETS = 228  # .. 238: not cumulative, by `BUCKETS_SECONDS`, and more


GAUGES: Final = (RoundTripSlot.MEDIAN_NS, RoundTripSlot.NINETY_PERCENT_NS, RoundTripSlot.WORST_NS)

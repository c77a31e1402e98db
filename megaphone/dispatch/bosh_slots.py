"""The slots of a board for BOSH (XEP-0124). They are free in `counters.Slot`, `ClusterSlot` and `WebSocketSlot`."""

from enum import IntEnum


class BoshSlot(IntEnum):
    """A 64-bit slot of a worker's board, from 208 to 223."""

    OPEN = 208  # gauge: sessions
    OPENED = 209
    EXPIRED = 210  # ended because their client did not come again
    WRONG_SID = 211  # requests for a session that is not known here
    LOCKED = 212  # ... and those not looked at, as too many came from their address
    PASSED_ON = 213  # requests that came to another worker than their session's
    REFUSED = 214  # first requests for which there was no room, or no more time

"""The slots of a board for ephemeral pages. They are free in `counters.Slot`, `ClusterSlot` and `WebSocketSlot`."""

from enum import IntEnum


class PagesSlot(IntEnum):
    """A 64-bit slot of a worker's board, from 156 to 171."""

    PAGES = 156  # gauge: pages that are held or wanted here
    HOLDERS = 157  # gauge: windows that show a page, by page
    WANTS = 158  # gauge: windows that wait for a page
    VISITORS = 159  # gauge: windows
    REQUESTS = 160  # content_request of visitors
    ASKS = 161  # content_request to holders, here or elsewhere
    HEDGES = 162  # of these, because the first holder took too long
    SERVED = 163  # contents brought to a window
    BAD_HASHES = 164  # contents that were not what they were said to be, or too large
    REFUSED = 165  # joins, requests and messages beyond a limit
    MESSAGES_IN = 166
    MESSAGES_OUT = 167
    BYTES_IN = 168
    BYTES_OUT = 169


GAUGES = (PagesSlot.PAGES, PagesSlot.HOLDERS, PagesSlot.WANTS, PagesSlot.VISITORS)

"""The slots of a board for WebSocket clients (RFC 7395). They are free in `counters.Slot` and `ClusterSlot`."""

from enum import IntEnum


class WebSocketSlot(IntEnum):
    """A 64-bit slot of a worker's board, from 176 to 191; edge/websocket.pxd has the same numbers."""

    OPEN = 176  # gauge: connections that speak WebSocket
    OPENED = 177  # upgrades answered with 101
    REFUSED = 178  # HTTP requests answered otherwise
    PINGS_IN = 179
    PINGS_OUT = 180
    FRAMES_REFUSED = 181  # connections ended for what RFC 6455 forbids

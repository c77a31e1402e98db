"""The slots of a board for HTTP clients and WebSockets; they are free in `counters.Slot` and `ClusterSlot`."""

from enum import IntEnum


class WebSocketSlot(IntEnum):
    """A 64-bit slot of a worker's board, from 176 to 191; edge/websocket.pxd has the same numbers."""

    OPEN = 176  # gauge: connections that speak WebSocket
    OPENED = 177  # upgrades answered with 101
    REFUSED = 178  # HTTP requests answered otherwise
    PINGS_IN = 179
    PINGS_OUT = 180
    FRAMES_REFUSED = 181  # connections ended for what RFC 6455 forbids
    HTTP_OPEN = 182  # gauge: connections that are the web's
    HTTP_ANSWERED = 183  # requests answered with a status below 400, and 101
    HTTP_REFUSED = 184  # requests answered with 400 and above
    MESSAGES_OPENED = 185  # WebSockets of the web

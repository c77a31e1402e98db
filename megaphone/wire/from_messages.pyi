"""Types of the compiled reader of a WebSocket client's messages."""

from enum import IntEnum

class Taken(IntEnum):
    """What was made of a slice of a message."""

    PASS = 0
    KEPT = 1
    TEXT = 2
    OPENED = 3
    CLOSED = 4
    REFUSED = 5

class StreamFromMessages:
    """One client's messages as the XML stream they stand for."""

    def __init__(self, stanza_bytes: int = 262144) -> None: ...
    def take(self, data: bytes, final: bool) -> tuple[Taken, bytes]: ...

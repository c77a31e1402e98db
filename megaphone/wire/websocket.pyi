"""Types of the compiled reader of WebSocket frames."""

from enum import IntEnum

CLOSE_CODES: dict[int, int]
STATE_BYTES: int
CONTROL_PAYLOAD_BYTES: int
NO_STATUS: int
ANY_FRAMES: int

class Event(IntEnum):
    """What a read stopped for."""

    MORE = 0
    DATA = 1
    PING = 2
    PONG = 3
    CLOSE = 4
    ERROR = 5

class Error(IntEnum):
    """Why the reader refuses."""

    NO_ERROR = 0
    RESERVED_BITS = 1
    UNKNOWN_OPCODE = 2
    NOT_MASKED = 3
    LENGTH_NOT_MINIMAL = 4
    LENGTH_TOP_BIT = 5
    CONTROL_FRAGMENTED = 6
    CONTROL_TOO_LONG = 7
    NOTHING_TO_CONTINUE = 8
    MESSAGE_UNDER_WAY = 9
    CLOSE_TOO_SHORT = 10
    INVALID_CLOSE_CODE = 11
    INVALID_UTF8 = 12
    BINARY_REFUSED = 13
    MESSAGE_TOO_BIG = 14
    TOO_MANY_FRAMES = 15
    NO_MEMORY = 16

class Opcode(IntEnum):
    """Kinds of frames (RFC 6455 section 5.2)."""

    CONTINUATION_FRAME = 0
    TEXT_FRAME = 1
    BINARY_FRAME = 2
    CLOSE_FRAME = 8
    PING_FRAME = 9
    PONG_FRAME = 10

class MessageReader:
    """What one client sends."""

    def __init__(self, message_bytes: int = 262144, frames: int = 1024, text_only: bool = True) -> None: ...
    @property
    def rests(self) -> bool: ...
    @property
    def holds(self) -> bool: ...
    def take_controls(self) -> int: ...
    def read(
        self, data: bytearray | memoryview
    ) -> tuple[Event, int, bytes, tuple[Opcode, bool, bool] | int | Error | None]: ...
    def read_times(self, data: bytes | bytearray | memoryview, times: int) -> int: ...

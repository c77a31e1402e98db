"""Types of the compiled link frame codec."""

from enum import IntEnum

class FrameType(IntEnum):
    """What a frame is."""

    CHALLENGE = 0x01
    HELLO = 0x02
    WELCOME = 0x03
    PING = 0x04
    PONG = 0x05
    ACK = 0x06
    DRAIN = 0x07
    OPEN = 0x10
    PUT_DATA = 0x11
    SEND_DATA = 0x12
    GET_DATA = 0x13
    SHUTDOWN = 0x14

class LinkReason(IntEnum):
    """Why a stream, or the link, ends; from PROTOCOL_ERROR on only the link."""

    CLOSED = 0
    CONNECTION_LOST = 1
    CONNECTION_TIMEOUT = 2
    POLICY_VIOLATION = 3
    SLOW_CONSUMER = 4
    RESOURCE_CONSTRAINT = 5
    SYSTEM_SHUTDOWN = 6
    INTERNAL_ERROR = 7
    REMOTE_CONNECTION_FAILED = 8
    PROTOCOL_ERROR = 16
    CREDIT_OVERSTEPPED = 17
    UNSUPPORTED_VERSION = 18
    NOT_AUTHORIZED = 19
    STALE_EPOCH = 20
    LINK_TIMEOUT = 21
    TOO_MANY_LINKS = 22

class Side(IntEnum):
    """Who says a frame."""

    EDGE = 1
    SERVER = 2

class Step(IntEnum):
    """What taking the next frame came to."""

    MORE = 0
    FRAME = 1
    FAULT = 2

class LinkFrameReader:
    """Cuts what one side of a link says into frames. `sender` is that Side."""

    def __init__(self, sender: int) -> None: ...
    @property
    def split_bytes(self) -> int: ...
    def feed(self, data: bytes | bytearray | memoryview) -> list[tuple[FrameType, int, bytes]]: ...
    def read_times(self, data: bytes | bytearray | memoryview, times: int) -> int: ...

def encode_frame(type: int, id: int, payload: bytes) -> bytes: ...  # noqa: A002
def write_times(type: int, streams: int, payload: bytes, times: int) -> int: ...  # noqa: A002

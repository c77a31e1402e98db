"""Types of the compiled framer."""

from enum import IntEnum

CONDITIONS: dict[int, str]
STATE_BYTES: int

class Event(IntEnum):
    """What a scan stopped for."""

    MORE = 0
    HEADER = 1
    STANZA = 2
    STREAM_END = 3
    ERROR = 4

class Error(IntEnum):
    """Why the framer refuses."""

    NO_ERROR = 0
    NOT_WELL_FORMED_XML = 1
    RESTRICTED = 2
    STANZA_TOO_BIG = 3
    TOO_DEEP = 4
    TOO_MANY_ATTRIBUTES = 5
    TEXT_BETWEEN_STANZAS = 6
    RESTART_NOT_ALLOWED = 7
    AFTER_STREAM_END = 8
    NAME_TOO_LONG = 9
    TOO_MANY_NAMESPACES = 10
    OUT_OF_MEMORY = 11
    ENCODING_NOT_UTF8 = 12

class Element(IntEnum):
    """First-level elements the edge has to know."""

    MESSAGE_ELEMENT = 0
    PRESENCE_ELEMENT = 1
    IQ_ELEMENT = 2
    OTHER_ELEMENT = 3
    SUCCESS_ELEMENT = 4
    COMPRESSED_ELEMENT = 5
    PROCEED_ELEMENT = 6
    STARTTLS_ELEMENT = 7
    FEATURES_ELEMENT = 8
    STREAM_ERROR_ELEMENT = 9

class StreamFramer:
    """One direction of one stream."""

    def __init__(self, stanza_bytes: int = 262144, depth: int = 64, attributes: int = 64) -> None: ...
    def allow_restart(self) -> None: ...
    def export(self) -> bytes: ...
    def restore(self, record: bytes) -> None: ...
    @property
    def rests(self) -> bool: ...
    def scan(
        self, data: bytes | bytearray | memoryview, stop_at_stanza: bool = True
    ) -> tuple[Event, int, Error | Element | None, int, tuple[int, int, int, int]]: ...
    def scan_times(self, data: bytes | bytearray | memoryview, times: int) -> bool: ...

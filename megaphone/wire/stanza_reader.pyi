"""Types of the compiled stanza reader."""

from megaphone.wire.framer import Element, Error, Event

STATE_BYTES: int

class StreamStanzaReader:
    """One direction of one stream."""

    def __init__(self, stanza_bytes: int = 262144, depth: int = 64, attributes: int = 64) -> None: ...
    def allow_restart(self) -> None: ...
    @property
    def held_bytes(self) -> int: ...
    @property
    def room(self) -> int: ...
    def read(
        self, data: bytes | bytearray | memoryview, *, restarts: bool = False
    ) -> list[tuple[Event, Element | Error | None, bytes, bool]]: ...

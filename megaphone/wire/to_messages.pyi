"""Types of the compiled writer of a WebSocket's messages."""

class StreamToMessages:
    """One server's XML stream as WebSocket frames."""

    @property
    def holds(self) -> int: ...
    def put(self, data: bytes) -> bytes: ...

def message(stanza: bytes) -> bytes: ...

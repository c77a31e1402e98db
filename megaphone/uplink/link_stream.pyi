"""Types of the compiled link stream."""

KIND: str

def stream_bytes() -> int: ...

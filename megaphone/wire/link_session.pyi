"""Types of the compiled link session, as far as Python sees it; compiled code subclasses it."""

from enum import IntEnum

class SessionState(IntEnum):
    """What a session and its socket have come to."""

    UNATTACHED = 0
    CHALLENGE_AWAITED = 1
    WELCOME_AWAITED = 2
    ATTACHED = 3
    CLOSING = 4
    ENDED = 5

class LinkSession:
    """One end of one link. `role` is a Side; window_bytes 4,096 to 1,048,576."""

    role: int
    state: int
    over: bool
    welcomed: bool
    draining: bool
    drained: bool
    features: int
    epoch: int
    grace_seconds: int
    window_bytes: int
    peer_window_bytes: int
    streams_limit: int
    backlog_limit_bytes: int
    round_trip_ns: int
    reattached_times: int
    held_times: int
    starved_times: int
    received_bytes: int
    frames_in: int
    frames_out: int
    name: str
    session_id: bytes
    peer_instance: bytes | None
    def __init__(
        self,
        role: int,
        secret: bytes,
        session_id: bytes,
        name: str = "",
        window_bytes: int = 65536,
        streams_limit: int = 10000,
        grace_seconds: int = 30,
    ) -> None: ...
    def stream_count(self) -> int: ...
    def kept_bytes(self) -> int: ...
    def unsent_bytes(self) -> int: ...
    def memory_bytes(self) -> int: ...

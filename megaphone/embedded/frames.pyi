"""Types of the compiled frames between homes."""

from enum import IntEnum
from typing import Any

from megaphone.bus.local import FrameTaker
from megaphone.embedded.stream import Streams

class FrameKind(IntEnum):
    """What a frame is about."""

    ROUTE = 2
    FAN_OUT = 3
    OCCUPANT = 4
    LISTED = 5
    RELAY = 8

class RouteFlag(IntEnum):
    """How a stanza is to be treated."""

    KEEP = 1
    PLAIN = 2

class HomeFrames(FrameTaker):
    """Takes the frames of the other workers."""

    def __init__(self, streams: Streams, router: Any) -> None: ...

def route_frame(to: bytes, stanza: bytes, flags: int) -> bytes: ...

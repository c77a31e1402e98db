"""Types of the compiled link."""

from enum import IntEnum
from typing import Any

class LinkState(IntEnum):
    """What a link has come to."""

    BROKEN = 0
    CONNECTING = 1
    HANDSHAKING = 2
    ATTACHED = 3
    DRAINING = 4
    CLOSED = 5

class Link:
    """One link of one worker to an upstream."""

    @property
    def index(self) -> int: ...
    @property
    def state(self) -> int: ...
    def describe(self) -> dict[str, Any]: ...

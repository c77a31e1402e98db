"""What a hub process is set up with, in the units of its data path."""

from dataclasses import dataclass
from typing import Self

from megaphone.sockets.poller import ticks_of


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """What holds for every link, from the start of the process to its end."""

    secret: bytes
    links: int  # at most, also those that wait for a new socket
    streams: int  # of one link, at most
    window_bytes: int
    grace_seconds: int


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """What holds for sockets, as `DirectUplink` reads it; ticks are 1/16 s. A reload may replace it."""

    connect_ticks: int
    slow_ticks: int
    close_ticks: int
    mailbox_bytes: int

    @classmethod
    def of(cls, *, connect_seconds: float, slow_seconds: float, close_seconds: float, window_bytes: int) -> Self:
        """Return the limits for these times; half a window may wait for a server before no more credit is given."""
        return cls(ticks_of(connect_seconds), ticks_of(slow_seconds), ticks_of(close_seconds), window_bytes // 2)

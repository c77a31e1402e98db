"""One client's stream on its own upstream socket as a record (docs/reference/hand-over.md, `direct`)."""

from __future__ import annotations

import msgspec

from megaphone.sockets.socket_record import SocketRecord


class DirectRecord(msgspec.Struct, array_like=True, frozen=True):
    """All that a DirectStream is between two turns of the poller; its one descriptor goes along.

    Fields are only ever added, at the end and with a default that means what was before.
    """

    upstream: str  # by name
    domain: str
    tried: list[str]  # upstreams that have failed this client
    socket: SocketRecord
    client_ended: bool = False
    postponed: bool = False  # a Unix socket that found no room in the server's queue, and is to be connected again
    connect_began_ns: int = 0  # CLOCK_MONOTONIC
    deadline_ms: int = 0  # of the connection attempt, CLOCK_MONOTONIC

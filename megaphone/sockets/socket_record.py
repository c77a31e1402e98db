"""A socket as a record, part of the records of connections and of streams to upstreams."""

from __future__ import annotations

import msgspec


class SocketRecord(msgspec.Struct, array_like=True, frozen=True):
    """One socket between two turns of the poller."""

    waiting: bytes = b""  # plaintext that the socket has not taken
    sealed: bytes = b""  # ciphertext that it has not taken; all of it goes before that
    tls: bytes = b""  # TLS.export_state(), or nothing without TLS
    stalled_ms: int = 0  # since when the peer has been too slow, 0: it is not
    flags: int = 0  # sockets.moving

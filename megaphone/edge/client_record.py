"""One client connection as a record, for the process that goes on with it (docs/reference/hand-over.md, `client`)."""

from __future__ import annotations

import msgspec

from megaphone.sockets.socket_record import SocketRecord

__all__ = ["ClientRecord", "WebSocketRecord"]


class WebSocketRecord(msgspec.Struct, array_like=True, frozen=True):
    """What a WebSocket's frames and messages are in the middle of (wire/websocket.pxd, wire/to_messages.pxd)."""

    left: int  # payload bytes of the frame under way
    message_bytes: int
    key: bytes
    frames: int
    state: int
    head: int
    message: int
    utf8: int
    due: int
    fragment: bool  # the first fragment of a message of the server's has been sent
    held: bytes | None  # of a start tag of the server's
    phase: int  # of the client's message
    kept: bytes | None  # of it, which may be <open/> or <close/>


class ClientRecord(msgspec.Struct, array_like=True, frozen=True):
    """All that a connection is between two turns of the poller; times are CLOCK_MONOTONIC in milliseconds.

    Fields are only ever added, at the end and with a default that means what was before.
    """

    state: int  # edge.relay.State, up to AUTHENTICATED
    address: bytes  # of the client, 16 bytes
    port: int
    listen: int  # index in [[listen]]
    domain: str | None
    jid: str | None
    flags: int  # edge.moving
    socket: SocketRecord
    framer_in: bytes  # client to server
    framer_out: bytes
    bytes_in: int
    bytes_out: int
    stanza_allowance: int  # in 1/1000 stanza
    byte_allowance: int  # in 1/1000 byte
    refilled_ms: int
    active_ms: int
    opened_ms: int
    pending: bytes = b""  # bytes of the client that wait for a decision
    held: bytes | None = None  # the server's first bytes, until its features are complete
    sniffed: bytes | None = None  # the server's bytes since success, while the JID is looked for
    end_condition: str | None = None  # the end waits for the server's stanza to end
    reason: int = 0  # dispatch.counters.Reason of that end
    deadline_ms: int = 0  # of that end, or of the server's last words
    upstream: str | None = None
    websocket: WebSocketRecord | None = None  # None: XMPP over TCP

"""The HTTP request that a WebSocket begins with (RFC 6455 section 4.2): read, answered, and who its client is.

It happens once per connection, so it is ordinary Python, and HTTP itself is h11's to read. A connection whose request
is not for XMPP over WebSocket is the web's from then on, with the head as it was read here, where the listener has
one; else it gets 404.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.dispatch.counters import Reason
from megaphone.dispatch.websocket_slots import WebSocketSlot
from megaphone.edge.forwarded import client_of
from megaphone.wire.http_head import HeadRefusedError, head_end, read_head
from megaphone.wire.websocket_handshake import Refused, answer

if TYPE_CHECKING:
    from megaphone.edge.connection import ClientConnection

_REASONS = {
    400: b"Bad Request",
    403: b"Forbidden",
    404: b"Not Found",
    408: b"Request Timeout",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    503: b"Service Unavailable",
    505: b"HTTP Version Not Supported",
}
# What a stream error would say of a connection that has no stream yet; all others are 503.
_STATUS_OF = {
    "connection-timeout": (408, "the request took too long"),
    "policy-violation": (431, "the request is too large"),
    "internal-server-error": (500, "a mistake of this server"),
    "system-shutdown": (503, "this server is going down"),
}


def take_request(connection: ClientConnection) -> None:
    """Answer the request that has come so far (`connection.pending`), if its head is complete."""
    collected = connection.pending
    limit = connection.clients.websocket.request_bytes
    end = head_end(collected)
    if not end or end > limit:
        if len(collected) > limit:
            refuse(connection, 431, "the request is too large")
        return
    settings = connection.clients.websocket
    try:
        head = read_head(collected[:end], limit)
    except HeadRefusedError as refused:
        refuse(connection, refused.status, refused.reason)
        return
    request = head.request
    address, secured = client_of(connection.client_address, request.headers, settings)
    if connection.listener.tls != "none" and connection.listener.starttls_required and not (connection.tls or secured):
        refuse(connection, 403, "this address wants TLS: use wss or https")
        return
    if not connection.listener.websocket or request.target.partition(b"?")[0] != settings.path:
        web = connection.listener.web
        if web is None:
            refuse(connection, 404, "there is nothing at this address")
        else:
            connection.open_web(web.serve(connection, head), collected[end:])
        return
    result = answer(request.method, request.http_version, request.headers, origins=settings.origins)
    if isinstance(result, Refused):
        _refuse(connection, result.response)
        return
    if len(collected) > end:
        # a client waits for the answer (RFC 6455 section 4.1): this is for somebody who reads the request otherwise
        refuse(connection, 400, "nothing may follow the request before it is answered")
        return
    if connection.awaits_address:
        connection.forwarded(address, secured)
        refusal = connection.clients.admission.admit(connection, connection.client_address)
        if refusal is not None:
            _refuse(connection, _response(429, "too many connections"), refusal)
            return
    connection.open_websocket(result.response)


def refuse_for(connection: ClientConnection, condition: str) -> None:
    """Say in HTTP why a connection ends that has no stream yet; the end itself is the caller's."""
    status, reason = _STATUS_OF.get(condition, (503, "this server cannot serve you now"))
    connection.say(_response(status, reason))
    connection.clients.board.add(WebSocketSlot.REFUSED, 1)


def refuse(connection: ClientConnection, status: int, reason: str) -> None:
    """Answer with this status, and end the connection."""
    _refuse(connection, _response(status, reason))


def _refuse(connection: ClientConnection, response: bytes, reason: Reason = Reason.HTTP_REFUSED) -> None:
    connection.say(response)
    connection.clients.board.add(WebSocketSlot.REFUSED, 1)
    connection.finish("", reason)


def _response(status: int, reason: str) -> bytes:
    body = reason.encode() + b"\n"
    return (
        b"HTTP/1.1 %d %b\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (status, _REASONS[status], len(body), body)
    )

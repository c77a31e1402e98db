"""The HTTP request that a WebSocket begins with (RFC 6455 section 4.2): read, answered, and who its client is.

It happens once per connection, so it is ordinary Python, and HTTP itself is h11's to read. One request is all there is
on a connection: whatever is not answered with 101 ends it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from megaphone.dispatch.counters import Reason
from megaphone.dispatch.websocket_slots import WebSocketSlot
from megaphone.sockets.client_address import address_bytes, in_networks
from megaphone.wire.websocket_handshake import Refused, answer

if TYPE_CHECKING:
    from megaphone.edge.connection import ClientConnection

_HEAD_END = re.compile(rb"\r?\n\r?\n")
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
# An element of Forwarded, up to its parameter "for" (RFC 7239 section 4); quoted where it has a colon.
_FOR = re.compile(r'(?:^|;)\s*for=(?:"([^"\\]*)"|([^;,"\s]+))', re.IGNORECASE)


@cache
def _http() -> Any:
    """h11, for a worker that has WebSocket clients; the others start faster without it."""
    import h11

    return h11


def take_request(connection: ClientConnection) -> None:
    """Answer the request that has come so far (`connection.pending`), if its head is complete."""
    collected = connection.pending
    limit = connection.clients.websocket.request_bytes
    ended = _HEAD_END.search(collected)
    if ended is None or ended.end() > limit:
        if len(collected) > limit:
            refuse(connection, 431, "the request is too large")
        return
    request = _read(connection, collected[: ended.end()])
    if request is None:
        return
    settings = connection.clients.websocket
    if request.target.partition(b"?")[0] != settings.path:
        refuse(connection, 404, "there is nothing at this address")
        return
    if connection.listener.tls != "none" and connection.tls is None and connection.listener.starttls_required:
        refuse(connection, 403, "this address wants TLS: use wss")
        return
    result = answer(request.method, request.http_version, request.headers, origins=settings.origins)
    if isinstance(result, Refused):
        _refuse(connection, result.response, _reason_of(result.status))
        return
    if len(collected) > ended.end():
        # a client waits for the answer (RFC 6455 section 4.1): this is for somebody who reads the request otherwise
        refuse(connection, 400, "nothing may follow the request before it is answered")
        return
    if connection.awaits_address:
        connection.forwarded(_client_of(connection, request.headers))
        refusal = connection.clients.admission.admit(connection, connection.client_address)
        if refusal is not None:
            _refuse(connection, _response(429, "too many connections"), refusal)
            return
    connection.open_websocket(result.response)


def _read(connection: ClientConnection, head: bytes) -> Any:
    """Return h11's request, or None: it was refused."""
    h11 = _http()
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head))
    reader.receive_data(head)
    try:
        request = reader.next_event()
    except h11.RemoteProtocolError as error:
        status = error.error_status_hint
        error.__traceback__ = None  # whose frames refer to the error: nothing would let go of the connection
        refuse(connection, status if status in _REASONS else 400, "this is no HTTP/1.1 request")
        return None
    if not isinstance(request, h11.Request):
        refuse(connection, 400, "this is no HTTP/1.1 request")
        return None
    return request


def _client_of(connection: ClientConnection, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the address that trusted proxies say they serve; without one, the nearest that is known."""
    settings = connection.clients.websocket
    address = connection.client_address
    values = [value.decode("latin-1") for name, value in headers if name.lower() == settings.forwarded_header]
    for element in reversed(",".join(values).split(",")):
        # each proxy adds whom it heard it from at the end: what stands before a stranger's address is his own invention
        if not in_networks(address, settings.forwarded_ranges):
            break
        found = _address_in(element, settings.forwarded_header)
        if found is None:
            break
        address = found
    return address


def _address_in(element: str, field: bytes) -> bytes | None:
    text = element.strip()
    if field == b"forwarded":
        match = _FOR.search(text)
        text = "" if match is None else match[1] or match[2] or ""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return address_bytes(str(ipaddress.ip_address(text)))
    except ValueError:
        return None


def refuse_for(connection: ClientConnection, condition: str) -> None:
    """Say in HTTP why a connection ends that has no stream yet; the end itself is the caller's."""
    status, reason = _STATUS_OF.get(condition, (503, "this server cannot serve you now"))
    connection.say(_response(status, reason))
    connection.clients.board.add(WebSocketSlot.REFUSED, 1)


def refuse(connection: ClientConnection, status: int, reason: str) -> None:
    """Answer with this status, and end the connection."""
    _refuse(connection, _response(status, reason), _reason_of(status))


def _reason_of(status: int) -> Reason:
    return Reason.POLICY_VIOLATION if status in (403, 431) else Reason.INVALID_XML


def _refuse(connection: ClientConnection, response: bytes, reason: Reason) -> None:
    connection.say(response)
    connection.clients.board.add(WebSocketSlot.REFUSED, 1)
    connection.finish("", reason)


def _response(status: int, reason: str) -> bytes:
    body = reason.encode() + b"\n"
    return (
        b"HTTP/1.1 %d %b\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (status, _REASONS[status], len(body), body)
    )

"""Answers a client's WebSocket opening handshake (RFC 6455 section 4.2), for XMPP (RFC 7395 section 3.1) or not.

HTTP itself has been parsed already: `answer` takes the method, the version and the header fields of a request, and
says which bytes to send. After those of an `Accepted` both sides speak WebSocket; after those of a `Refused` the
connection ends.
No extension is ever agreed on, whatever the client offers (section 9.1).
"""

import re
from base64 import b64encode
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from hashlib import sha1

SUBPROTOCOL = b"xmpp"
VERSION = b"13"

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # section 1.3
_HTTP_VERSION = re.compile(rb"1\.[1-9][0-9]*")
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2

_REASONS = {
    400: b"Bad Request",
    403: b"Forbidden",
    405: b"Method Not Allowed",
    426: b"Upgrade Required",
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """The connection becomes a WebSocket once `response` is sent."""

    response: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """It does not: `response` is all there is to send; `status` is HTTP's, and `reason`, in English, is in its body."""

    status: int
    reason: str
    response: bytes


def _refuse(status: int, reason: str, *fields: bytes) -> Refused:
    body = reason.encode() + b"\n"
    lines = [
        b"HTTP/1.1 %d %b" % (status, _REASONS[status]),
        *(fields or [b"Connection: close"]),
        b"Content-Type: text/plain; charset=utf-8",
        b"Content-Length: %d" % len(body),
    ]
    return Refused(status, reason, b"\r\n".join(lines) + b"\r\n\r\n" + body)


def _upgrade_required(reason: str) -> Refused:
    return _refuse(
        426,
        reason,
        b"Upgrade: websocket",  # RFC 9110 section 15.5.22
        b"Connection: Upgrade, close",
        b"Sec-WebSocket-Version: 13",  # section 4.4
    )


def _elements(values: Iterable[bytes]) -> list[bytes]:
    """The elements of a list-valued field, however many lines it came in (RFC 9110 section 5.6.1)."""
    return [element for value in values for part in value.split(b",") if (element := part.strip(b" \t"))]


def accept_value(key: bytes) -> bytes:
    """Return the Sec-WebSocket-Accept value for a Sec-WebSocket-Key (section 4.2.2)."""
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def answer(
    method: bytes,
    http_version: bytes,
    headers: Iterable[tuple[bytes, bytes]],
    *,
    origins: Collection[bytes] | None = None,
    subprotocol: bytes | None = SUBPROTOCOL,
    required: bool = True,
) -> Accepted | Refused:
    """Return the answer to a request with this method, this version ("1.1") and these header fields.

    Names come in any case, values without white space around them, as h11 gives both; limits on them are the HTTP
    parser's. `origins` are the values of Origin, in lower case, from which browsers may connect (section 10.2), all if
    None; a client that is not a browser sends no Origin and is accepted. A `subprotocol` that is not `required` is
    agreed on only with those that offer it.
    """
    fields: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        fields.setdefault(name.lower(), []).append(value)

    if method != b"GET":
        return _refuse(405, "a WebSocket is opened with GET", b"Allow: GET", b"Connection: close")
    if not _HTTP_VERSION.fullmatch(http_version):
        return _refuse(400, "a WebSocket is opened with HTTP/1.1")
    if fields.get(b"transfer-encoding") or any(value != b"0" for value in fields.get(b"content-length", [])):
        return _refuse(400, "the request has a body")
    if len(fields.get(b"host", [])) != 1:
        return _refuse(400, "the request needs one Host field")
    if b"websocket" not in (element.lower() for element in _elements(fields.get(b"upgrade", []))):
        return _upgrade_required("this address speaks WebSocket only (RFC 6455)")
    if b"upgrade" not in (element.lower() for element in _elements(fields.get(b"connection", []))):
        return _refuse(400, "the Connection field does not name Upgrade")
    versions = fields.get(b"sec-websocket-version", [])
    if len(versions) != 1:
        return _refuse(400, "the request needs one Sec-WebSocket-Version field")
    if versions != [VERSION]:
        return _upgrade_required("the WebSocket version is 13 (RFC 6455)")
    keys = fields.get(b"sec-websocket-key", [])
    if len(keys) != 1 or not _KEY.fullmatch(keys[0]):
        return _refuse(400, "the request needs one Sec-WebSocket-Key field of 16 bytes in base64")
    protocols = _elements(fields.get(b"sec-websocket-protocol", []))
    if len(set(protocols)) != len(protocols) or not all(map(_TOKEN.fullmatch, protocols)):
        return _refuse(400, "the Sec-WebSocket-Protocol field names no tokens, or one twice")
    if required and subprotocol not in protocols:
        return _refuse(400, "the Sec-WebSocket-Protocol field does not name xmpp (RFC 7395)")
    sources = fields.get(b"origin", [])
    if len(sources) > 1:
        return _refuse(400, "the request has several Origin fields")
    if origins is not None and sources and sources[0].lower() not in origins:
        return _refuse(403, "connections from this origin are not allowed")
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + accept_value(keys[0]),
    ]
    if subprotocol is not None and subprotocol in protocols:
        lines.append(b"Sec-WebSocket-Protocol: " + subprotocol)
    return Accepted(b"\r\n".join(lines) + b"\r\n\r\n")

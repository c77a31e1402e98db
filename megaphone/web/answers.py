"""The head of an answer: status line, what every answer says, and what keeps browsers from doing more with it."""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import formatdate

REASONS = {
    200: b"OK",
    201: b"Created",
    202: b"Accepted",
    204: b"No Content",
    301: b"Moved Permanently",
    302: b"Found",
    303: b"See Other",
    304: b"Not Modified",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    408: b"Request Timeout",
    409: b"Conflict",
    410: b"Gone",
    411: b"Length Required",
    412: b"Precondition Failed",
    413: b"Content Too Large",
    414: b"URI Too Long",
    415: b"Unsupported Media Type",
    421: b"Misdirected Request",
    422: b"Unprocessable Content",
    426: b"Upgrade Required",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}
WITHOUT_BODY = frozenset({204, 304})
CORS_ANSWER = ((b"Access-Control-Allow-Origin", b"*"),)
_PREFLIGHT_SECONDS = b"86400"
_OURS = frozenset({b"content-length", b"transfer-encoding", b"connection", b"date"})
# A page of ours that needs more says so itself, in fields of the same name.
_SECURITY = (
    (b"Content-Security-Policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
)


def fields_of(
    headers: Iterable[tuple[bytes, bytes]], length: int | None, *, cors: bool, close: bool
) -> list[tuple[bytes, bytes]]:
    """Return the fields of an answer: those in `headers`, and everybody's. ValueError for a name that is ours."""
    fields = list(headers)
    names = {name.lower() for name, _ in fields}
    if names & _OURS:
        raise ValueError(f"{(names & _OURS).pop().decode()} is not the route's to say")
    if cors and b"access-control-allow-origin" not in names:
        fields += CORS_ANSWER
    if b"content-security-policy" not in names:
        fields.append((b"X-Frame-Options", b"DENY"))
    if b"cross-origin-resource-policy" not in names:
        fields.append((b"Cross-Origin-Resource-Policy", b"cross-origin" if cors else b"same-origin"))
    fields += [field for field in _SECURITY if field[0].lower() not in names]
    fields.append((b"Date", formatdate(usegmt=True).encode()))
    if length is not None:
        fields.append((b"Content-Length", b"%d" % length))
    if close:
        fields.append((b"Connection", b"close"))
    return fields


def text(reason: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return fields and body of an answer that is a line for people."""
    return [(b"Content-Type", b"text/plain; charset=utf-8"), (b"Cache-Control", b"no-store")], reason.encode() + b"\n"


def preflight(methods: Iterable[str]) -> list[tuple[bytes, bytes]]:
    """Return the fields that let pages of any origin use these methods, with a body of any type."""
    return [
        (b"Access-Control-Allow-Methods", ", ".join(sorted(methods)).encode()),
        (b"Access-Control-Allow-Headers", b"Content-Type"),
        (b"Access-Control-Max-Age", _PREFLIGHT_SECONDS),
    ]

"""The head of one HTTP/1.1 request (RFC 9112): where it ends, and what no server should read in its own way.

h11 reads it; here is refused, beforehand, what two readers may take for two different requests: lines that end with a
lone CR or LF, folded lines (section 5.2), two lengths, a length beside a transfer coding (section 6.3), two Hosts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

_END = re.compile(rb"\r?\n\r?\n")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[^\x00]*")
_ONCE = (b"content-length", b"host", b"transfer-encoding")
_VERSION = re.compile(rb" HTTP/([0-9])\.[0-9]$")
_DIGITS = re.compile(rb"[0-9]{1,15}")


class HeadRefusedError(Exception):
    """The request is answered with `status`, for `reason`, and its connection ended."""

    def __init__(self, status: int, reason: str, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = headers


class Head(NamedTuple):
    """What was read: h11's Request, and the h11.Connection that reads what is behind its head and writes the answer."""

    request: Any
    reader: Any


@cache
def http() -> Any:
    """h11, for a worker that has HTTP clients; the others start faster without it."""
    import h11

    return h11


def head_end(data: bytes) -> int:
    """Return how many bytes the head has, its empty line included; 0: it has not ended yet."""
    ended = _END.search(data)
    return 0 if ended is None else ended.end()


def check_head(head: bytes) -> None:
    """Raise HeadRefusedError for a head that could be read in two ways."""
    lines = head.split(b"\r\n")
    if any(b"\n" in line or b"\r" in line for line in lines):
        raise HeadRefusedError(400, "a line ends with CR LF")
    version = _VERSION.search(lines[0])
    if version is not None and version[1] != b"1":
        raise HeadRefusedError(505, "the version is HTTP/1.1")
    seen: set[bytes] = set()
    for line in lines[1:-2]:
        if line[:1] in (b" ", b"\t"):
            raise HeadRefusedError(400, "a field has one line")
        field = _FIELD.fullmatch(line)
        if field is None:
            raise HeadRefusedError(400, "this is no HTTP/1.1 request")
        name = field[1].lower()
        if name in _ONCE and name in seen:
            raise HeadRefusedError(400, f"the request has two {name.decode()} fields")
        seen.add(name)
        if name == b"content-length" and not _DIGITS.fullmatch(line[len(name) + 1 :].strip(b" \t")):
            raise HeadRefusedError(400, "the Content-Length is no length")
    if {b"content-length", b"transfer-encoding"} <= seen:
        raise HeadRefusedError(400, "the request has a length and a transfer coding")
    if b"transfer-encoding" in seen and not lines[0].endswith(b"HTTP/1.1"):
        raise HeadRefusedError(400, "only HTTP/1.1 has transfer codings")


def read_head(head: bytes, limit_bytes: int) -> Head:
    """Read a whole head; `limit_bytes` also bound what frames its body. HeadRefusedError: that is the answer."""
    check_head(head)
    h11 = http()
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=limit_bytes)
    reader.receive_data(head)
    try:
        request = reader.next_event()
    except h11.RemoteProtocolError as error:
        raise refused_by_h11(error) from None
    if not isinstance(request, h11.Request):
        raise HeadRefusedError(400, "this is no HTTP/1.1 request")
    return Head(request, reader)


def refused_by_h11(error: Any) -> HeadRefusedError:
    """Return what the client is told of an error of h11's."""
    error.__traceback__ = None  # whose frames refer to the error: nothing would let go of the connection
    status = error.error_status_hint
    return HeadRefusedError(status if status in (400, 431, 501, 505) else 400, "this is no HTTP/1.1 request")

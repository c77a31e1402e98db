"""The client's side of the NATS protocol as text: what is said, and a parser for what is heard. No I/O.

Source: NATS's "Client Protocol" (INFO, CONNECT, PUB, HPUB, SUB, UNSUB, MSG, HMSG, PING, PONG, +OK, -ERR).

    MSG subject sid [reply] size CRLF payload CRLF
    HMSG subject sid [reply] size-of-headers size-of-all CRLF headers payload CRLF
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from megaphone.errors import BusError

if TYPE_CHECKING:
    from collections.abc import Mapping

LINE_LIMIT_BYTES = 4096  # of the server too (max_control_line)
INFO_LIMIT_BYTES = 65_536  # a large cluster names all of its servers
HEADERS_LIMIT_BYTES = 65_536

PING = b"PING\r\n"
PONG = b"PONG\r\n"

_HEADERS_HEAD = b"NATS/1.0"


class Delivery(NamedTuple):
    """A message for the subscription `sid`; `headers` begins with its status line, and is empty if there are none."""

    subject: bytes
    sid: int
    reply: bytes
    headers: bytes
    payload: bytes

    @property
    def status(self) -> int:
        """The status (503: nobody subscribes, 404, 408, 409, 100); 0 for an ordinary message."""
        text = self.headers[len(_HEADERS_HEAD) : len(_HEADERS_HEAD) + 4].strip()
        return int(text) if text.isdigit() else 0

    @property
    def fields(self) -> dict[str, str]:
        """The headers; the last one counts if a name comes twice."""
        lines = self.headers.decode("utf-8", "replace").split("\r\n")[1:]
        return {name: value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}


@dataclass(frozen=True, slots=True)
class Info:
    """What the server says of itself, first of all."""

    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trouble:
    """-ERR, without its quotes."""

    text: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Whether we are there."""


@dataclass(frozen=True, slots=True)
class Pong:
    """All that we said before our PING is done."""


Operation = Delivery | Info | Trouble | Ping | Pong


class Parser:
    """Cuts what arrives into operations; `payload_limit_bytes` bounds one payload, and so what is held."""

    def __init__(self, payload_limit_bytes: int) -> None:
        self._limit = payload_limit_bytes + HEADERS_LIMIT_BYTES
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._needed = 0

    @property
    def held_bytes(self) -> int:
        """How much of an operation that is not complete is here."""
        return self._held_bytes

    def feed(self, data: bytes) -> list[Operation]:
        """Return the operations that `data` completes. BusError for what no server says, or too much of it."""
        if self._held:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes < self._needed:
                return []  # most of a long payload is still to come; it is put together once
            data = b"".join(self._held)
        operations: list[Operation] = []
        at = self._needed = 0
        while (end := data.find(b"\r\n", at, at + INFO_LIMIT_BYTES)) >= 0:
            line = data[at:end]
            start = end + 2
            if line.startswith((b"MSG ", b"HMSG ")):
                delivery, sizes = self._read_head(line)
                stop = start + sizes[-1]
                if len(data) < stop + 2:
                    self._needed = stop + 2 - at
                    break
                if data[stop : stop + 2] != b"\r\n":
                    raise BusError("the NATS server says a message that is longer than it says")
                middle = start + sizes[0] if len(sizes) == 2 else start
                operations.append(delivery._replace(headers=data[start:middle], payload=data[middle:stop]))
                start = stop + 2
            elif (operation := _read_line(line)) is not None:
                operations.append(operation)
            at = start
        rest = data[at:]
        if not self._needed and len(rest) > (INFO_LIMIT_BYTES if rest.startswith(b"INFO") else LINE_LIMIT_BYTES):
            raise BusError("the NATS server says a line that does not end")
        self._held = [rest] if rest else []
        self._held_bytes = len(rest)
        return operations

    def _read_head(self, line: bytes) -> tuple[Delivery, list[int]]:
        words = line.split()
        count = 2 if words[0] == b"HMSG" else 1
        if len(words) not in (3 + count, 4 + count):
            raise BusError(f"the NATS server says {line[:80]!r}")
        try:
            sid, sizes = int(words[2]), [int(word) for word in words[-count:]]
        except ValueError:
            raise BusError(f"the NATS server says {line[:80]!r}") from None
        if not 0 <= sizes[0] <= sizes[-1] <= self._limit:
            raise BusError(f"the NATS server says a message of {sizes[-1]} bytes")
        reply = words[3] if len(words) == 4 + count else b""
        return Delivery(words[1], sid, reply, b"", b""), sizes


def _read_line(line: bytes) -> Operation | None:
    """Read an operation of one line; None for +OK."""
    word, _, rest = line.partition(b" ")
    if word == b"PING":
        return Ping()
    if word == b"PONG":
        return Pong()
    if word == b"-ERR":
        return Trouble(rest.strip(b" '").decode("utf-8", "replace"))
    if word == b"INFO":
        try:
            return Info(msgspec.json.decode(rest, type=dict[str, Any]))
        except msgspec.DecodeError as error:
            raise BusError(f"the NATS server's INFO cannot be read: {error}") from None
    if word == b"+OK":
        return None
    raise BusError(f"no NATS server: it says {line[:80]!r}")


def encode_connect(options: Mapping[str, Any]) -> bytes:
    """Return CONNECT with these options."""
    return b"CONNECT " + msgspec.json.encode(options) + b"\r\n"


def encode_publish(subject: bytes, payload: bytes, reply: bytes = b"", headers: bytes = b"") -> bytes:
    """Return PUB, or HPUB if there are headers (of `encode_headers`)."""
    route = b"%b %b" % (subject, reply) if reply else subject
    if headers:
        return b"HPUB %b %d %d\r\n%b%b\r\n" % (route, len(headers), len(headers) + len(payload), headers, payload)
    return b"PUB %b %d\r\n%b\r\n" % (route, len(payload), payload)


def encode_headers(fields: Mapping[str, str]) -> bytes:
    """Return a block of headers. Names and values are ours: without line ends."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return b"%b\r\n%b\r\n" % (_HEADERS_HEAD, lines.encode())


def encode_subscribe(subject: bytes, sid: int) -> bytes:
    """Return SUB."""
    return b"SUB %b %d\r\n" % (subject, sid)


def encode_unsubscribe(sid: int) -> bytes:
    """Return UNSUB."""
    return b"UNSUB %d\r\n" % sid

"""One HTTP request and its one answer, as whoever serves a route sees them.

    connection ─► Exchange(request) ─► Route.take ─► answer(...)            at once, or later: the request is held
                                                 └─► open_messages(...)     101, and the connection speaks RFC 6455
                  on_gone() ◄─ the client went away before either

Everything happens in the worker's loop: none of this may be called from another thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Protocol

import msgspec

Headers = Iterable[tuple[bytes, bytes]]


class Request(msgspec.Struct, frozen=True):
    """What a client asks for, whole: its body has come."""

    method: str
    """In upper case, as it came: "GET", "HEAD", "POST", ..."""
    path: str
    """Starts with "/"; percent-decoded, without the query; holds no segment "." or ".."."""
    query: str
    """What stood behind the first "?", not decoded; "" without one."""
    headers: tuple[tuple[bytes, bytes], ...]
    """In the order they came, names in lower case, values without white space around them."""
    body: bytes
    """Of at most the route's `body_limit_bytes`; b"" without one."""
    client_address: bytes
    """16 bytes (IPv4 mapped into IPv6), as trusted proxies say it."""
    secure: bool
    """The client has TLS with us, or with a trusted proxy that says so."""
    host: str
    """The field Host (RFC 9110 section 7.2), in lower case, port and all; "" without one."""

    def header(self, name: bytes) -> bytes | None:
        """Return the first field of this name (in lower case), None without one."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Messages(Protocol):
    """Who takes what comes on a message connection."""

    def take_text(self, text: bytes) -> None:
        """Take a whole text message: valid UTF-8 of at most the `message_bytes` that were asked for.

        A binary message never gets here: it ends the connection with 1003.
        """

    def closed(self) -> None:
        """Hear that the connection has ended, whoever ended it. Called once, and nothing comes after it."""


class MessageConnection(Protocol):
    """A WebSocket (RFC 6455) that carries text messages; pings, pongs and the idle limit are its own business."""

    @property
    def client_address(self) -> bytes:
        """16 bytes (IPv4 mapped into IPv6), as trusted proxies say it."""

    @property
    def full(self) -> bool:
        """Whether the outbox is full: one more message would end the connection. Whoever has more looks again later."""

    def send_text(self, text: bytes) -> bool:
        """Send one message, which must be valid UTF-8.

        False: it was not sent, as the connection has ended, or ends now because its outbox (`limits.mailbox_bytes`)
        is full: a slow consumer. `closed` of its subscriber follows or has been, never from within this call.
        """

    def close(self, code: int, reason: str = "") -> None:
        """End the connection in order, with a status code (RFC 6455 section 7.4) and a reason of at most 123 bytes.

        `closed` comes before this returns. ValueError for a code that is never sent.
        """


class Exchange(Protocol):
    """One request, and its one answer, which may come later: the request is held until then."""

    request: Request
    on_gone: Callable[[], None] | None
    """Called at most once, if the client goes away or its connection ends before the answer; it is dropped then."""
    on_ending: Callable[[], None] | None
    """Called at most once, if we end the connection (a drain) before the answer: it may be given within this call.
    Otherwise it is answered 503, and `on_gone` follows."""

    @property
    def answered(self) -> bool:
        """Whether there has been an answer, or nobody is there any more to take one."""

    def answer(self, status: int, headers: Headers = (), body: bytes | memoryview = b"") -> None:
        """Answer the request; a second answer, or one after `on_gone`, is dropped.

        Content-Length, Date, Connection, CORS fields of the route, and security fields (unless `headers` has them) are
        added here. The body of an answer to HEAD, or of 204 and 304, is not sent.
        """

    def open_messages(
        self,
        subscriber: Messages,
        *,
        message_bytes: int,
        protocol: bytes | None = None,
        origins: Collection[bytes] | None = None,
    ) -> MessageConnection | None:
        """Answer 101 and speak WebSocket from now on.

        None: it is no valid opening handshake, from another origin, or over a limit of connections, and was answered
        400, 426, 403 or 429; or the client has gone. `message_bytes` bounds what one message may have (1009 above it);
        `protocol` is the subprotocol to agree on, which is said only if the client has offered it; `origins` are those,
        in lower case, from which browsers may connect, all if None.
        """

"""One connection of a light XMPP client: SCRAM-SHA-256 with keys made once for all, then whole elements as bytes.

    connect ─► header ─► SCRAM ─► header ─┬─ <resume/> ─┬─ <resumed/> ──────────────────────► opened(resumed=True)
                                          │             └─ <failed/> ─┐
                                          └───────────────────────────┴─► bind, <enable/> ──► opened(resumed=False)

A line costs a few kilobytes, so that thousands fit into one process; it knows of XML only where an element ends.
"""

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, cast

from tests.servers.model import Endpoint

PASSWORD = "correct horse battery staple"
SALT = b"salt of everyone"
ITERATIONS = 4096  # RFC 7677's least
SM = b"urn:xmpp:sm:3"

_KEY = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), SALT, ITERATIONS)
_CLIENT_KEY = hmac.digest(_KEY, b"Client Key", "sha256")
_STORED_KEY = hashlib.sha256(_CLIENT_KEY).digest()

HEADER = (
    b"<?xml version='1.0'?><stream:stream to='%b' xmlns='jabber:client' "
    b"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)
_AUTH = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>%b</auth>"
_RESPONSE = b"<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>%b</response>"
_BIND = b"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>%b</resource></bind></iq>"
_ENABLE = b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>"
_RESUME = b"<resume xmlns='urn:xmpp:sm:3' previd='%b' h='%d'/>"

_BEFORE = re.compile(rb"\s*(?:<\?xml[^>]*\?>\s*)?(?:<stream:stream[^>]*>\s*)?")
_ELEMENT = re.compile(rb"<([^\s/>]+)(?:[^>]*/>|.*?</\1>)\s*", re.DOTALL)
_VALUE = r"""\s{}=['"]([^'"]*)['"]"""
STREAM_END = b"</stream:stream>"


def attribute(element: bytes, name: str) -> str | None:
    """The value of an attribute of the element's start tag, with predefined entities as they are."""
    tag = element[: element.find(b">")]
    found = re.search(_VALUE.format(name).encode(), tag)
    return None if found is None else found[1].decode()


class Speaker(Protocol):
    """Whoever uses a line."""

    def opened(self, line: "Line", resumed: bool) -> None:
        """The session is bound, or goes on."""

    def heard(self, line: "Line", element: bytes) -> None:
        """A first-level element came."""

    def closed(self, line: "Line") -> None:
        """The line is down."""


class Line(asyncio.Protocol):
    """A connection of `user` of `domain`; `resume` is (id, stanzas received) of the session to go on with."""

    def __init__(
        self,
        speaker: Speaker,
        user: str,
        domain: str,
        *,
        resource: str,
        resume: tuple[str, int] | None = None,
        management: bool = True,
    ) -> None:
        self.handled_before: int | None = None  # what <resumed/> or <failed/> said that the server had handled
        self.resumption_id = ""
        self.jid = ""
        self.port = 0  # its own
        self.condition = ""  # why the server ended the stream, or refused the login
        self.open = False
        self.down = False
        self._speaker = speaker
        self._user, self._domain, self._resource = user, domain.encode(), resource.encode()
        self._resume = resume
        self._management = management
        self._buffer = b""
        self._take: Callable[[bytes], None] = self._take_first_features
        self._transport: asyncio.Transport
        self._first = f"n={user},r={secrets.token_hex(8)}"

    # --- asyncio ------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the stream."""
        self._transport = cast(asyncio.Transport, transport)
        self.port = int(transport.get_extra_info("sockname")[1])
        self._transport.write(HEADER % self._domain)

    def data_received(self, data: bytes) -> None:
        """Cut elements."""
        buffer = self._buffer + data if self._buffer else data
        at = 0
        if not self.open:
            at = cast(re.Match[bytes], _BEFORE.match(buffer)).end()
        while (found := _ELEMENT.match(buffer, at)) is not None and not self.down:
            at = found.end()
            self._take(found[0])
            if not self.open:
                at = cast(re.Match[bytes], _BEFORE.match(buffer, at)).end()
        self._buffer = buffer[at:]
        if self._buffer.startswith(STREAM_END):
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the speaker, once."""
        if not self.down:
            self.down, self.open = True, False
            self._speaker.closed(self)

    # --- login ------------------------------------------------------------

    def _take_first_features(self, element: bytes) -> None:
        if self._refused(element):
            return
        self._take = self._take_challenge
        self.send(_AUTH % base64.b64encode(b"n,," + self._first.encode()))

    def _take_challenge(self, element: bytes) -> None:
        if self._refused(element):
            return
        challenge = base64.b64decode(element.partition(b">")[2].partition(b"<")[0]).decode()
        fields = dict(field.split("=", 1) for field in challenge.split(","))
        assert (base64.b64decode(fields["s"]), fields["i"]) == (SALT, str(ITERATIONS)), challenge
        final = f"c=biws,r={fields['r']}"
        message = f"{self._first},{challenge},{final}".encode()
        signature = hmac.digest(_STORED_KEY, message, "sha256")
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(_CLIENT_KEY, signature, strict=True))).decode()
        self._take = self._take_success
        self.send(_RESPONSE % base64.b64encode(f"{final},p={proof}".encode()))

    def _take_success(self, element: bytes) -> None:
        if self._refused(element):
            return
        self._take = self._take_features
        self.send(HEADER % self._domain)

    def _take_features(self, element: bytes) -> None:
        if self._refused(element):
            return
        if self._resume is not None:
            self._take = self._take_resumed
            self.send(_RESUME % (self._resume[0].encode(), self._resume[1]))
        else:
            self._bind()

    def _take_resumed(self, element: bytes) -> None:
        h = attribute(element, "h")
        self.handled_before = None if h is None else int(h)
        if element.startswith(b"<resumed"):
            assert self._resume is not None
            self.resumption_id = self._resume[0]
            self._opened(resumed=True)
        elif element.startswith(b"<failed"):
            self._bind()
        else:
            self._refused(element)

    def _bind(self) -> None:
        self._take = self._take_bound
        self.send(_BIND % self._resource)

    def _take_bound(self, element: bytes) -> None:
        if b" type='error'" in element or self._refused(element):
            self.condition = self.condition or "bind refused"
            self.drop()
            return
        self.jid = element.partition(b"<jid>")[2].partition(b"<")[0].decode()
        if self._management:
            self._take = self._take_enabled
            self.send(_ENABLE)
        else:
            self._opened(resumed=False)

    def _take_enabled(self, element: bytes) -> None:
        if element.startswith(b"<enabled"):
            self.resumption_id = attribute(element, "id") or ""
            self._opened(resumed=False)
        else:
            self._refused(element)

    def _opened(self, *, resumed: bool) -> None:
        self.open = True
        self._take = self._take_element
        self._speaker.opened(self, resumed)

    def _refused(self, element: bytes) -> bool:
        if element.startswith((b"<stream:error", b"<failure")):
            self.condition = self._condition_of(element)
            self._transport.close()
            return True
        return False

    # --- session ------------------------------------------------------------

    def _take_element(self, element: bytes) -> None:
        if element.startswith(b"<stream:error"):
            self.condition = self._condition_of(element)
        else:
            self._speaker.heard(self, element)

    @staticmethod
    def _condition_of(element: bytes) -> str:
        found = re.search(rb"<([a-z-]+)[ />]", element[1:])
        return "" if found is None else found[1].decode()

    def send(self, data: bytes) -> None:
        """Write bytes."""
        self._transport.write(data)

    def pause(self) -> None:
        """Read nothing more."""
        self._transport.pause_reading()

    def read_on(self) -> None:
        """Read again."""
        self._transport.resume_reading()

    def drop(self) -> None:
        """Break the connection off, as a lost network does."""
        self._transport.abort()

    def hang_up(self) -> None:
        """Close the socket without a goodbye, as the system does for a client that has died."""
        self._transport.close()

    def say_goodbye(self) -> None:
        """End the stream in order."""
        self._transport.write(STREAM_END)


async def connect(
    line: Line,
    endpoint: Endpoint,
    tls: ssl.SSLContext | None,
    domain: str,
    *,
    receive_buffer_bytes: int = 0,
    make_socket: Callable[[], socket.socket] = socket.socket,
) -> None:
    """Open the connection of a line; OSError if there is none to be had."""
    direct = endpoint.tls == "direct"
    loop = asyncio.get_running_loop()
    connected = make_socket()
    try:
        connected.setblocking(False)
        if receive_buffer_bytes:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        await loop.sock_connect(connected, (endpoint.host, endpoint.port))
        await loop.create_connection(
            lambda: line, sock=connected, ssl=tls if direct else None, server_hostname=domain if direct else None
        )
    except BaseException:
        connected.close()
        raise

"""A client that may say anything and hears everything: the exact bytes it got, and how its connection ended.

TLS runs on memory, so that each end is told apart: `FIN`, `close_notify, FIN`, `reset`, or a TLS alert by its name.
"""

import re
import socket
import ssl
import time
import warnings
from dataclasses import dataclass

from tests.servers.model import DOMAIN

TIMEOUT_SECONDS = 60.0
READ_BYTES = 65_536
ALERTS = {40: "handshake_failure", 70: "protocol_version", 120: "no_application_protocol"}  # RFC 8446 section 6
HEADER = (
    b"<?xml version='1.0'?><stream:stream to='%b' xmlns='jabber:client' "
    b"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)
STARTTLS = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
AUTH = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHVzZXIAcGFzcw==</auth>"
STREAM_END = b"</stream:stream>"
BIND = b"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"

_PLAIN_ALERT = re.compile(rb"\A\x15\x03.\x00\x02\x02(.)\Z", re.DOTALL)  # a record with one fatal alert
_STREAM_ID = re.compile(rb" id='[0-9a-f]{16}'")


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything received, with random stream ids replaced by `ID`, and how the connection ended."""

    data: bytes
    end: str


class Silence(Exception):  # noqa: N818 - a finding, not a fault of ours
    """Nothing more came, although something had to."""


class Visitor:
    """One connection to a listener; from `source`, if given."""

    def __init__(self, port: int, *, source: str | None = None, receive_buffer_bytes: int | None = None) -> None:
        self.byte_by_byte = False
        self._socket = socket.socket()
        if receive_buffer_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._socket.settimeout(TIMEOUT_SECONDS)
        if source is not None:
            self._socket.bind((source, 0))
        self._socket.connect(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._received = b""
        self._end: str | None = None
        self._alert: int | None = None

    def __enter__(self) -> "Visitor":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def fileno(self) -> int:
        """Its socket's descriptor, for select."""
        return self._socket.fileno()

    # Sending

    def send(self, data: bytes) -> None:
        """Send all of it, through TLS if there is any; a connection that has broken is noticed when reading."""
        if self._tls is None:
            self.send_raw(data)
        else:
            self._tls.write(data)
            self.send_raw(self._outgoing.read())

    def send_raw(self, data: bytes) -> None:
        """Send all of it past TLS."""
        try:
            for piece in (bytes([byte]) for byte in data) if self.byte_by_byte else (data,):
                self._socket.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            return

    def finish(self) -> None:
        """FIN: nothing more will be sent."""
        self._socket.shutdown(socket.SHUT_WR)

    # TLS

    def start_tls(self, context: ssl.SSLContext, server_name: str = DOMAIN) -> Answer | None:
        """The handshake; None, or how the connection ended instead."""
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # older Pythons set it: a bare FIN would pass for close_notify
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.send_raw(self._outgoing.read())
                self._fill()
            except ssl.SSLError as error:
                self._end_with(error)
                return self.answer()
            else:
                self.send_raw(self._outgoing.read())
                return None

    # Receiving

    def _fill(self) -> bool:
        """One read from the socket; False when the other side sends no more."""
        try:
            data = self._socket.recv(READ_BYTES)
        except ConnectionResetError:
            self._end = "reset"
            data = b""
        except TimeoutError:
            raise Silence(f"got {self._received[-200:]!r} and then nothing for {TIMEOUT_SECONDS:g} s") from None
        if self._tls is None:
            self._received += data
        elif data:
            found = _PLAIN_ALERT.search(data)
            if found is not None:  # OpenSSL does not know all of them by name
                self._alert = int.from_bytes(found[1])
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return bool(data)

    def _read(self) -> bool:
        """Some more bytes into `_received`; False at the end, when `_end` says how it ended."""
        if self._end is not None:
            return False
        if self._tls is None:
            if not self._fill():
                self._end = self._end or "FIN"
            return self._end is None
        try:
            data = self._tls.read(READ_BYTES)
        except ssl.SSLWantReadError:
            self._fill()
            return True
        except ssl.SSLZeroReturnError:
            data = b""
        except ssl.SSLError as error:
            self._end_with(error)
            return False
        self._received += data
        if not data:
            self._end_after("close_notify")
        return bool(data)

    def _end_with(self, error: ssl.SSLError) -> None:
        found = re.search(r"ALERT_([A-Z_]+)", str(error.reason))
        if isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING":
            self._end = self._end or "FIN"
        elif self._alert is not None:
            self._end_after(f"alert {ALERTS.get(self._alert, self._alert)}")
        elif found is not None:
            self._end_after(f"alert {found[1].lower()}")
        else:
            raise error

    def _end_after(self, last_record: str) -> None:
        """After its last record only the end of the connection may follow."""
        while self._fill():
            pass
        self._end = f"{last_record}, {self._end or 'FIN'}"

    def read_until(self, marker: bytes) -> bytes:
        """Everything up to and including `marker`; Silence when the connection ends before it comes."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while marker not in self._received:
            if not self._read() or time.monotonic() > deadline:
                raise Silence(f"got {self._received[-400:]!r}, {self._end}; no {marker!r}")
        found, _, self._received = self._received.partition(marker)
        return found + marker

    def answer(self) -> Answer:
        """Everything up to the end."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while self._read():
            if time.monotonic() > deadline:
                raise Silence(f"got {self._received[-400:]!r}, and no end")
        data, self._received = self._received, b""
        assert self._end is not None
        return Answer(_STREAM_ID.sub(b" id='ID'", data), self._end)

    def ended_within(self, seconds: float) -> bool:
        """Wait that long; whether the connection has ended meanwhile (only before TLS)."""
        self._socket.settimeout(seconds)
        try:
            while self._read():
                pass
        except Silence:
            return False
        finally:
            self._socket.settimeout(TIMEOUT_SECONDS)
        return True

    # The usual beginnings

    def open(self, domain: str = DOMAIN) -> bytes:
        """Send a stream header; what came up to the features."""
        self.send(HEADER % domain.encode())
        return self.read_until(b"</stream:features>")

    def secure(self, context: ssl.SSLContext) -> None:
        """STARTTLS, up to the end of the handshake."""
        self.open()
        self.send(STARTTLS)
        self.read_until(b"/>")
        refused = self.start_tls(context)
        assert refused is None, refused

    def leave(self) -> Answer:
        """End the stream in order."""
        self.send(STREAM_END)
        return self.answer()

    def log_in(self) -> None:
        """From the header to the bound session, on a connection whose TLS is settled."""
        self.open()
        self.send(AUTH)
        self.read_until(b"/>")
        self.open()
        self.send(BIND)
        self.read_until(b"</iq>")

    def echo(self, stanza: bytes = b"<presence/>") -> None:
        """Send a stanza and wait until it has come back."""
        self.send(stanza)
        assert self.read_until(stanza) == stanza


def tls_context(
    authority: str,
    *,
    alpn: str | None = "xmpp-client",
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    maximum: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
) -> ssl.SSLContext:
    """What a client brings to the handshake; versions below 1.2 need OpenSSL's leave."""
    context = ssl.create_default_context(cafile=authority)
    if minimum < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # old versions are the point here
        context.minimum_version, context.maximum_version = minimum, maximum
    if alpn is not None:
        context.set_alpn_protocols([alpn])
    return context

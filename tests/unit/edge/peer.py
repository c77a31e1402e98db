"""A scripted end of one TCP connection, client or server: what it sends, what it expects, how it ends."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from typing import TYPE_CHECKING

from megaphone.wire.proxy_protocol import NeedMore, Parsed, parse

if TYPE_CHECKING:
    from tests.unit.edge.edge_under_test import EdgeUnderTest

READ_BYTES = 65_536


class Peer:
    """One socket, driven by the edge's steps; all `expect` and `wait` methods let the edge run until they are met."""

    def __init__(self, edge: EdgeUnderTest, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.edge = edge
        self.socket = sock
        self.received = bytearray()  # decrypted, not yet expected
        self.total = 0
        self.reads: list[int] = []  # sizes as they came from the socket
        self.unsent = bytearray()
        self.reading = True
        self.ended = False  # FIN, and close_notify before it if there is TLS
        self.truncated = False  # FIN without close_notify
        self.reset = False
        self.tls: ssl.SSLObject | None = None
        self.tls_error: ssl.SSLError | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        edge.peers.append(self)

    # --- moving bytes ---

    def pump(self) -> None:
        """Takes and gives what the socket has room for now."""
        if self.socket.fileno() < 0:
            return
        try:
            self._send()
            if self.reading and not self.ended:
                self._receive()
        except (ConnectionResetError, BrokenPipeError):
            self.reset = self.ended = True

    def _send(self) -> None:
        if self.tls is not None:
            self.unsent += self._outgoing.read()
        if self.unsent:
            with contextlib.suppress(BlockingIOError):
                del self.unsent[: self.socket.send(self.unsent)]

    def _receive(self) -> None:
        try:
            data = self.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        self.reads.append(len(data))
        if self.tls is not None:
            self._decrypt(data)
        elif data:
            self.received += data
            self.total += len(data)
        else:
            self.ended = True

    def _decrypt(self, data: bytes) -> None:
        assert self.tls is not None
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        try:
            while plain := self.tls.read(READ_BYTES):
                self.received += plain
                self.total += len(plain)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLEOFError:
            self.ended = self.truncated = True
        except ssl.SSLError as error:
            self.tls_error = error

    # --- TLS ---

    def start_tls(
        self, context: ssl.SSLContext, server_name: str | None = "example.org", session: ssl.SSLSession | None = None
    ) -> Peer:
        """Handshakes as a client; ssl.SSLError if the server refuses, ConnectionError if it just hangs up."""
        tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name, session=session)
        result: list[ssl.SSLError | None] = []

        def advance() -> bool:
            try:
                tls.do_handshake()
                result.append(None)
            except ssl.SSLWantReadError:
                self.unsent += self._outgoing.read()
                return False
            except ssl.SSLError as error:
                result.append(error)
            self.unsent += self._outgoing.read()
            return True

        def handshake() -> bool:
            with contextlib.suppress(BlockingIOError):
                data = self.socket.recv(READ_BYTES)
                if not data:
                    raise ConnectionError("the handshake was cut")
                self._incoming.write(data)
            return advance()

        if not advance():
            self.reading = False
            try:
                self.edge.until(handshake, "a TLS handshake")
            finally:
                self.reading = True
        if result[0] is not None:
            raise result[0]
        self.tls = tls
        self._decrypt_rest()
        return self

    def _decrypt_rest(self) -> None:
        """What came in one read with the last handshake message."""
        assert self.tls is not None
        with contextlib.suppress(ssl.SSLWantReadError):
            while plain := self.tls.read(READ_BYTES):
                self.received += plain

    def take_tickets(self) -> ssl.SSLSession:
        """Read on until a session can be resumed."""
        assert self.tls is not None
        tls = self.tls
        self.edge.until(lambda: tls.session is not None and tls.session.has_ticket, "a session ticket")
        session = tls.session
        assert session is not None
        return session

    # --- what a test says ---

    def send(self, data: bytes) -> Peer:
        """Gives the data to the kernel, all of it; the edge runs meanwhile."""
        self.queue(data)
        self.edge.until(lambda: self.pump() or not self.unsent or self.reset, f"room to send {data[:40]!r}")
        return self

    def queue(self, data: bytes) -> Peer:
        """Gives the data to the kernel as it takes it, while other things go on."""
        if self.tls is not None:
            view = memoryview(data)
            while view:
                view = view[self.tls.write(view) :]
            self.unsent += self._outgoing.read()
        else:
            self.unsent += data
        self.pump()
        return self

    def expect(self, data: bytes) -> Peer:
        """These very bytes come next; whatever follows them is left."""
        self.edge.until(lambda: len(self.received) >= len(data) or self.ended, f"{data[:200]!r}", self)
        assert bytes(self.received[: len(data)]) == data
        del self.received[: len(data)]
        return self

    def expect_through(self, mark: bytes) -> bytes:
        """Return everything up to and with `mark`."""
        self.edge.until(lambda: mark in self.received or self.ended, f"{mark!r}", self)
        end = self.received.find(mark) + len(mark)
        assert end >= len(mark), f"{mark!r} did not come, but {bytes(self.received)!r}"
        data = bytes(self.received[:end])
        del self.received[:end]
        return data

    def expect_error(self, condition: str, *, header: bool = False) -> Peer:
        """A stream error, the stream's end, then an orderly end of the connection."""
        data = self.expect_through(b"</stream:error></stream:stream>")
        opened = data.removeprefix(b"<?xml version='1.0'?>").startswith(b"<stream:stream ")
        assert opened is header, f"unexpected or missing header in {data!r}"
        assert b"<stream:error><%b xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>" % condition.encode() in data, data
        return self.expect_end()

    def expect_end(self) -> Peer:
        """FIN, not RST, with nothing before it; with TLS a close_notify."""
        self.edge.until(lambda: self.ended, "the end of the connection", self)
        assert not self.reset, f"reset instead of an end, after {bytes(self.received[-200:])!r}"
        assert bytes(self.received) == b""
        assert not self.truncated, "no close_notify"
        return self

    def expect_reset(self) -> Peer:
        self.edge.until(lambda: self.ended, "a reset", self)
        assert self.reset
        return self

    def expect_nothing(self, turns: int = 20) -> Peer:
        """Nothing comes in as many rounds of everything."""
        for _ in range(turns):
            self.edge.step()
        assert bytes(self.received) == b""
        assert not self.ended
        return self

    def expect_proxy_header(self) -> Parsed:
        """A PROXY header comes first."""
        self.edge.until(lambda: not isinstance(parse(bytes(self.received)), NeedMore), "a PROXY header", self)
        parsed = parse(bytes(self.received))
        assert isinstance(parsed, Parsed)
        del self.received[: parsed.length]
        return parsed

    def finish(self) -> Peer:
        """Says no more (FIN, with TLS close_notify), but goes on reading."""
        if self.tls is not None:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.unwrap()
        self.edge.until(lambda: self.pump() or not self.unsent, "room for the last bytes")
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def close(self) -> None:
        """Both directions at once."""
        self.socket.close()

    def abort(self) -> None:
        """RST."""
        if self.socket.fileno() >= 0:
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

"""A scripted WebSocket client over a `Peer`: the upgrade, messages as text, raw frames where a test wants them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from megaphone.config.schema import Limits
from megaphone.sockets.tls_contexts import CertificateChoice
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer
from tests.unit.edge.peer import Peer
from tests.unit.wire.websocket_frames import frame

OPEN = b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.org' version='1.0'/>"
OPENED = b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='example.org' id='1' version='1.0'/>"
CLOSE = b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"
STREAM = (
    b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" to='example.org' version='1.0'>"
)
ANSWER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" id='1' from='example.org' version='1.0'>"
)
STREAM_END = b"</stream:stream>"
FEATURES = b"<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></stream:features>"
FEATURES_MESSAGE = (
    b"<stream:features xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
    b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></stream:features>"
)
AUTH = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHg=</auth>"
SUCCESS = b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
MESSAGE = b"<message xmlns='jabber:client' to='juliet@example.org'><body>Arise</body></message>"
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n"
)
TEXT, CONTINUATION, BINARY, CLOSING, PING, PONG = 1, 0, 2, 8, 9, 10
LIMITS = Limits(trusted_networks=("127.0.0.0/8",))


def request(
    *more: str,
    target: str = "/xmpp-websocket",
    method: str = "GET",
    without: tuple[str, ...] = (),
    version: str = "HTTP/1.1",
) -> bytes:
    """A request for an upgrade, with other fields more, or without some."""
    fields = {
        "Host": "example.org",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "xmpp",
    }
    lines = [f"{method} {target} {version}"]
    lines += [f"{name}: {value}" for name, value in fields.items() if name not in without]
    return "\r\n".join([*lines, *more, "", ""]).encode()


@dataclass
class WebSocketPeer:
    """One client that speaks WebSocket."""

    peer: Peer

    def send(self, *messages: bytes) -> WebSocketPeer:
        """Each as one message in one frame, all in one write."""
        return self.send_raw(b"".join([frame(TEXT, message) for message in messages]))

    def send_raw(self, data: bytes) -> WebSocketPeer:
        self.peer.send(data)
        return self

    def send_frame(self, opcode: int, payload: bytes = b"", *, more: bool = False) -> WebSocketPeer:
        return self.send_raw(frame(opcode, payload, more=more))

    def take_frame(self) -> tuple[int, bool, bytes]:
        """The next frame: opcode, whether it is final, payload."""
        (first, second) = self._take(2)
        assert not second & 0x80, "a server does not mask"
        assert not first & 0x70
        length = second
        if length == 126:
            length = int.from_bytes(self._take(2), "big")
            assert length >= 126
        elif length == 127:
            length = int.from_bytes(self._take(8), "big")
            assert length >= 65_536
        return first & 0x0F, bool(first & 0x80), self._take(length)

    def _take(self, length: int) -> bytes:
        self.peer.edge.until(lambda: len(self.peer.received) >= length or self.peer.ended, f"{length} bytes", self.peer)
        assert len(self.peer.received) >= length, "the connection ended inside a frame"
        data = bytes(self.peer.received[:length])
        del self.peer.received[:length]
        return data

    def take(self) -> bytes:
        """The next text message, whole."""
        opcode, final, payload = self.take_frame()
        assert opcode == TEXT, (opcode, payload)
        while not final:
            opcode, final, more = self.take_frame()
            assert opcode == CONTINUATION
            payload += more
        return payload

    def expect(self, *messages: bytes) -> WebSocketPeer:
        for message in messages:
            assert self.take() == message
        return self

    def expect_control(self, opcode: int, payload: bytes = b"") -> WebSocketPeer:
        assert self.take_frame() == (opcode, True, payload)
        return self

    def expect_close(self, code: int | None = 1000) -> WebSocketPeer:
        """A close frame, then FIN; answers it, and closes."""
        self.expect_control(CLOSING, b"" if code is None else code.to_bytes(2, "big"))
        self.peer.expect_end()
        self.peer.close()
        return self

    def expect_error(self, condition: str, code: int, *, opened: bool = False) -> WebSocketPeer:
        """A stream error, <close/>, a close frame with this code, and the end."""
        if opened:
            assert self.take().startswith(b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='example.org' id='")
        error = self.take()
        begin = b"<stream:error xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><%b xmlns"
        assert error.startswith(begin % condition.encode()), error
        return self.expect(CLOSE).expect_close(code)


def upgraded(peer: Peer, *fields: str) -> WebSocketPeer:
    """The same client after its upgrade."""
    peer.send(request(*fields)).expect(ACCEPTED)
    return WebSocketPeer(peer)


def connected(edge: EdgeUnderTest, *, buffers: int | None = None) -> WebSocketPeer:
    """A client of a plain listener, behind the upgrade."""
    return upgraded(edge.connect(edge.listen(websocket=True, buffers=buffers), buffers=buffers))


def connected_in_tls(
    edge: EdgeUnderTest, certificates: CertificateChoice, context: ssl.SSLContext, tls: str = "direct"
) -> WebSocketPeer:
    address = edge.listen(tls, websocket=True, certificates=certificates)
    return upgraded(edge.connect(address).start_tls(context))


def open_stream(client: WebSocketPeer, server: ScriptedServer) -> Peer:
    """<open/> goes to the server as a header, header and features come back as messages; returns the server's end."""
    client.send(OPEN)
    upstream = server.accept()
    upstream.expect(STREAM).send(ANSWER + FEATURES)
    client.expect(OPENED, FEATURES_MESSAGE)
    return upstream


def log_in(client: WebSocketPeer, upstream: Peer) -> None:
    """SASL, the restart, and binding."""
    client.send(AUTH)
    upstream.expect(AUTH).send(SUCCESS)
    client.expect(SUCCESS).send(OPEN)
    upstream.expect(STREAM).send(ANSWER + b"<stream:features/>")
    client.expect(OPENED, b"<stream:features xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'/>")
    bind = b"<iq xmlns='jabber:client' id='b' type='set'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
    client.send(bind)
    bound = (
        b" id='b' type='result'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
        b"<jid>romeo@example.org/o</jid></bind></iq>"
    )
    upstream.expect(bind).send(b"<iq" + bound)
    client.expect(b"<iq xmlns='jabber:client'" + bound)


def logged_in(edge: EdgeUnderTest, server: ScriptedServer, *, buffers: int | None = None) -> tuple[WebSocketPeer, Peer]:
    client = connected(edge, buffers=buffers)
    upstream = open_stream(client, server)
    log_in(client, upstream)
    return client, upstream

"""WebSockets of other messages than XMPP: the handshake, whole messages both ways, and how each ends."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from megaphone.config.schema import Limits, WebSocket
from megaphone.dispatch.counters import Reason
from megaphone.dispatch.websocket_slots import WebSocketSlot
from megaphone.sockets.tls_contexts import CertificateChoice
from megaphone.web.exchange import Exchange, MessageConnection
from megaphone.web.routes import Route
from tests.servers.certificates import CertificateAuthority
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.edge_under_test import EdgeUnderTest
from tests.unit.edge.tls_dialogue import trusting
from tests.unit.edge.websocket_dialogue import BINARY, CLOSING, CONTINUATION, PING, PONG, TEXT, WebSocketPeer
from tests.unit.edge.websocket_dialogue import request as upgrade
from tests.unit.web.http_dialogue import GET, HTTPPeer, Site, browser, request
from tests.unit.wire.websocket_frames import frame

MESSAGE_BYTES = 70_000


@dataclass
class Echo:
    """Sends back what it gets, and remembers how it went."""

    origins: frozenset[bytes] | None = None
    answers: bool = True
    connections: list[MessageConnection] = field(default_factory=list)
    taken: list[bytes] = field(default_factory=list)
    ends: int = 0
    refused: int = 0

    def route(self) -> Route:
        return Route("/ws", GET, self.open)

    def open(self, exchange: Exchange) -> None:
        connection = exchange.open_messages(self, message_bytes=MESSAGE_BYTES, protocol=b"echo", origins=self.origins)
        if connection is None:
            self.refused += 1
        else:
            self.connections.append(connection)

    def take_text(self, text: bytes) -> None:
        self.taken.append(text)
        if text == b"break":
            raise RuntimeError("a mistake of ours")
        if self.answers:
            self.connections[-1].send_text(text)

    def closed(self) -> None:
        self.ends += 1


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def edge(make_edge: MakeEdge) -> EdgeUnderTest:
    return make_edge("127.0.0.1:1")


def opened(client: HTTPPeer, *fields: str) -> WebSocketPeer:
    head = client.send(upgrade(*fields, target="/ws")).peer.expect_through(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 "), head
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
    return WebSocketPeer(client.peer)


def connected(edge: EdgeUnderTest, echo: Echo, *fields: str) -> WebSocketPeer:
    return opened(browser(edge, Site().server(echo.route())), *fields)


def test_messages_both_ways(edge: EdgeUnderTest, echo: Echo) -> None:
    client = browser(edge, Site().server(echo.route()))
    client.send(request()).expect(200)
    peer = opened(client, "Origin: https://anywhere.example")
    longer = "ä".encode() * 35_000
    peer.send(b"one", b"", longer).expect(b"one", b"", longer)
    peer.send_frame(TEXT, b"fr", more=True).send_frame(PING, b"p").send_frame(CONTINUATION, b"ag", more=True)
    peer.send_frame(CONTINUATION, b"ments")
    peer.expect_control(PONG, b"p").expect(b"fragments")
    for byte in frame(TEXT, b"slow"):
        peer.send_raw(bytes([byte]))
        edge.step()
    peer.expect(b"slow")
    assert edge.only().describe()["transport"] == "http"
    assert edge.board.get(WebSocketSlot.MESSAGES_OPENED) == 1
    assert echo.connections[0].client_address[-4:] == bytes([127, 0, 0, 1])
    peer.send_frame(CLOSING, b"\x0f\xa0bye").expect_close(4000)
    edge.wait_closed(Reason.CLIENT_CLOSED)
    assert echo.ends == 1
    assert not echo.connections[0].send_text(b"late")


def test_in_tls(
    edge: EdgeUnderTest, echo: Echo, authority: CertificateAuthority, either_certificates: CertificateChoice
) -> None:
    address = edge.listen("direct", web=Site().server(echo.route()), certificates=either_certificates)
    peer = opened(HTTPPeer(edge.connect(address).start_tls(trusting(authority))))
    peer.send(b"x" * 60_000).expect(b"x" * 60_000)
    echo.connections[0].close(4001, "over")
    peer.expect_control(CLOSING, b"\x0f\xa1over").peer.expect_end().close()
    assert echo.ends == 1


@pytest.mark.parametrize(("offered", "agreed"), [("chat, echo", True), ("chat", False)])
def test_subprotocols(edge: EdgeUnderTest, echo: Echo, offered: str, agreed: bool) -> None:
    client = browser(edge, Site().server(echo.route()))
    sent = upgrade(f"Sec-WebSocket-Protocol: {offered}", target="/ws", without=("Sec-WebSocket-Protocol",))
    head = client.send(sent).peer.expect_through(b"\r\n\r\n")
    assert (b"Sec-WebSocket-Protocol: echo\r\n" in head) is agreed


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (upgrade(target="/ws", without=("Upgrade",)), 426),
        (upgrade(target="/ws", without=("Sec-WebSocket-Key",)), 400),
        (upgrade("Sec-WebSocket-Version: 8", target="/ws", without=("Sec-WebSocket-Version",)), 426),
        (upgrade("Origin: https://evil.example", target="/ws"), 403),
        (upgrade("Origin: null", target="/ws"), 403),
        (upgrade("Origin: https://a.example", "Origin: https://b.example", target="/ws"), 400),
        (upgrade(target="/ws") + frame(TEXT, b"too early"), 400),
        (upgrade(target="/ws") + request("/take", method="POST", body=b"smuggled"), 400),
        (upgrade("Content-Length: 5", target="/ws") + b"close", 413),
        (upgrade("Transfer-Encoding: chunked", target="/ws") + b"0\r\n\r\n", 413),
    ],
)
def test_handshakes_that_are_refused(edge: EdgeUnderTest, sent: bytes, status: int) -> None:
    echo = Echo(origins=frozenset({b"https://a.example"}))
    client = browser(edge, Site().server(echo.route())).send(sent)
    head = client.peer.expect_through(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), head
    assert b"close" in head
    edge.until(lambda: client.peer.ended, "the end", client.peer)
    client.peer.close()
    edge.wait_closed(Reason.HTTP_REFUSED)
    assert echo.taken == []
    assert echo.connections == []


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(TEXT, b"x")[:1] + b"\x01x", 1002),
        (frame(BINARY, b"x"), 1003),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"x" * (MESSAGE_BYTES + 1)), 1009),
        (frame(CONTINUATION, b"x"), 1002),
        (b"\xf1" + frame(TEXT, b"x")[1:], 1002),
        (frame(TEXT, b"", more=True) + frame(CONTINUATION, b"", more=True) * 1100, 1008),
        (frame(PING, b"") * 200, None),
    ],
)
def test_frames_that_are_refused(edge: EdgeUnderTest, echo: Echo, sent: bytes, code: int | None) -> None:
    peer = connected(edge, echo)
    peer.send_raw(sent)
    if code is None:
        opcode, _, payload = peer.take_frame()
        while opcode == PONG:
            opcode, _, payload = peer.take_frame()
        assert payload == b"\x03\xf0too many pings"
        peer.peer.expect_end().close()
    else:
        peer.expect_close(code)
    edge.until(lambda: echo.ends == 1, "the news")
    assert echo.taken == []


def test_a_mistake_of_ours(edge: EdgeUnderTest, echo: Echo) -> None:
    connected(edge, echo).send(b"break").expect_close(1011)
    edge.wait_closed(Reason.INTERNAL)
    assert [str(fault) for fault in edge.faults] == ["a mistake of ours"]
    edge.faults.clear()
    assert echo.ends == 1


def test_the_end_of_the_edge(edge: EdgeUnderTest, echo: Echo) -> None:
    peer = connected(edge, echo)
    edge.only().finish("system-shutdown", Reason.SYSTEM_SHUTDOWN)
    peer.expect_close(1001)
    assert echo.ends == 1


def test_a_client_that_vanishes(edge: EdgeUnderTest, echo: Echo) -> None:
    peer = connected(edge, echo)
    edge.until(lambda: echo.connections, "the connection")
    peer.peer.abort()
    edge.until(lambda: echo.ends == 1, "the news")
    with pytest.raises(ValueError, match="1005"):
        echo.connections[0].close(1005)
    echo.connections[0].close(1000)
    assert echo.ends == 1


def test_silence(make_edge: MakeEdge, echo: Echo) -> None:
    edge = make_edge("127.0.0.1:1", websocket=WebSocket(ping_seconds=1))
    peer = connected(edge, echo)
    peer.expect_control(PING).send_frame(PONG).expect_control(PING)
    peer.peer.expect_through(b"\x88\x02\x03\xe8")
    peer.peer.expect_end().close()
    edge.wait_closed(Reason.IDLE_TIMEOUT)


def test_a_client_that_does_not_read(make_edge: MakeEdge) -> None:
    echo = Echo(answers=False)
    edge = make_edge("127.0.0.1:1", limits=Limits(mailbox_bytes=65_536))
    server = Site().server(echo.route())
    client = HTTPPeer(edge.connect(edge.listen(web=server, buffers=8192), buffers=8192))
    peer = opened(client)
    peer.peer.reading = False
    (connection,) = echo.connections

    def overrun() -> bool:
        return not connection.send_text(b"x" * 10_000)

    edge.until(overrun, "a full outbox")
    assert echo.ends == 0
    edge.until(lambda: echo.ends == 1, "the end")
    peer.peer.abort()
    edge.wait_closed(Reason.SLOW_CONSUMER)


def test_a_proxys_clients_count_for_themselves(make_edge: MakeEdge, echo: Echo) -> None:
    edge = make_edge(
        "127.0.0.1:1", limits=Limits(connections_per_address=1), websocket=WebSocket(forwarded_from=("127.0.0.1",))
    )
    server = Site().server(echo.route())
    for last in (1, 2):
        opened(browser(edge, server), f"X-Forwarded-For: 192.0.2.{last}")
    client = browser(edge, server).send(upgrade("X-Forwarded-For: 192.0.2.1", target="/ws"))
    client.expect_last(429)
    edge.wait_closed(Reason.ADDRESS_LIMIT)
    assert [connection.client_address[-1] for connection in echo.connections] == [1, 2]

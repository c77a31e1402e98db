"""Hostile HTTP, as the first request of a connection and as a later one: each answer is in docs/reference/http.md."""

import socket

import pytest

from megaphone.config.schema import Limits, WebSocket
from megaphone.dispatch.counters import Reason
from megaphone.edge.connection import adopt_stream
from megaphone.edge.limits import ListenerFacts
from megaphone.sockets.client_address import address_bytes
from tests.unit.edge import dialogue
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer
from tests.unit.edge.peer import Peer
from tests.unit.edge.websocket_dialogue import ACCEPTED, WebSocketPeer, open_stream
from tests.unit.edge.websocket_dialogue import request as upgrade
from tests.unit.web.http_dialogue import HTTPPeer, Site, browser, request

POST_HEAD = b"POST /take HTTP/1.1\r\nHost: example.org\r\n"
SMUGGLED = b"GET /files/smuggled HTTP/1.1\r\nHost: example.org\r\n\r\n"


@pytest.fixture
def edge(make_edge: MakeEdge) -> EdgeUnderTest:
    return make_edge("127.0.0.1:1")


@pytest.mark.parametrize("place", ["first", "later"])
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        # two lengths, and none of them counts
        (POST_HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, 400),
        (POST_HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + SMUGGLED, 400),
        (POST_HEAD + b"Content-Length: 4\r\nContent-Length: 0\r\n\r\nbody" + SMUGGLED, 400),
        (POST_HEAD + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody" + SMUGGLED, 400),
        (POST_HEAD + b"Content-Length: 4, 0\r\n\r\nbody" + SMUGGLED, 400),
        (POST_HEAD + b"Content-Length: +4\r\n\r\nbody" + SMUGGLED, 400),
        # a transfer coding that somebody else may not see, or see otherwise
        (POST_HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED, 501),
        (POST_HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED, 501),
        (POST_HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, 400),
        (POST_HEAD + b"X: a\r\n Transfer-Encoding: chunked\r\n\r\n" + SMUGGLED, 400),
        (POST_HEAD + b"X: a\nTransfer-Encoding: chunked\r\n\r\n" + SMUGGLED, 400),
        (POST_HEAD + b"X: a\rContent-Length: 4\r\n\r\nbody" + SMUGGLED, 400),
        # chunks that are none
        (POST_HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + SMUGGLED, 400),
        (POST_HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x4\r\nbody\r\n0\r\n\r\n" + SMUGGLED, 400),
        (POST_HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbodyX\r\n0\r\n\r\n" + SMUGGLED, 400),
        (POST_HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n" + SMUGGLED, 400),
        # bodies that nobody wants
        (POST_HEAD + b"Content-Length: 4000000\r\n\r\n", 413),
        (POST_HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n", None),
        (request("/", "Content-Length: 4") + b"body" + SMUGGLED, 413),
        (request("/nothing", "Content-Length: 4") + b"body" + SMUGGLED, 404),
        (request("/", "Content-Length: 4", method="PUT") + b"body" + SMUGGLED, 405),
        # targets
        (request("/files/../take"), 400),
        (request("/files/%2e%2e/take"), 400),
        (request("/files/%2E%2E%2ftake"), 400),
        (request("/files/..\\take"), 400),
        (request("/files/%ff"), 400),
        (request("/files/%00"), 400),
        (request("/files/%0d%0aX:1"), 400),
        (request("*"), 400),
        (request("example.org:443", method="CONNECT"), 400),
        # no request at all
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /" + b"a" * 9000, 431),
        (request("/", *(f"X-{number}: y" for number in range(2000))), 431),
    ],
)
def test_what_could_be_read_in_two_ways(edge: EdgeUnderTest, place: str, sent: bytes, status: int | None) -> None:
    site = Site()
    client = browser(edge, site.server(request_seconds=0.3))
    if place == "later":
        client.send(request()).expect(200)
    before = len(site.asked)
    client.peer.queue(sent)
    answer = client.expect(status or 408)
    assert answer.headers["connection"] == "close"
    edge.until(lambda: client.peer.ended, "the end", client.peer)
    assert bytes(client.peer.received) == b"", "something was answered behind it"
    client.peer.close()
    edge.wait_closed(Reason.HTTP_REFUSED if status else Reason.PREAUTH_TIMEOUT)
    assert len(site.asked) == before


def test_a_body_above_its_limit_in_chunks(edge: EdgeUnderTest) -> None:
    site = Site()
    client = browser(edge, site.server())
    client.send(POST_HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    client.peer.queue(b"2710\r\n%b\r\n" % (b"x" * 10_000) * 20)
    client.expect(413)
    client.peer.close()
    edge.wait_closed(Reason.HTTP_REFUSED)
    assert site.asked == []


def test_a_body_drop_by_drop(edge: EdgeUnderTest) -> None:
    """A byte now and then does not keep a request alive."""
    site = Site()
    client = browser(edge, site.server(request_seconds=0.4))
    client.send(POST_HEAD + b"Content-Length: 1000\r\n\r\n")
    while not edge.closed and not client.peer.ended:
        client.peer.queue(b"x")
        for _ in range(20):
            edge.step()
    client.expect(408)
    client.peer.close()
    edge.wait_closed(Reason.PREAUTH_TIMEOUT)


def test_an_upgrade_that_no_route_wants_is_just_a_request(edge: EdgeUnderTest) -> None:
    site = Site()
    client = browser(edge, site.server())
    client.send(upgrade(target="/files/x")).expect(200, b"/files/x")
    client.send(request("/files/y", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings")).expect(200, b"/files/y")


# --- HTTP and XMPP over WebSocket on one port ---


def test_both_on_one_connection(make_edge: MakeEdge, server: ScriptedServer) -> None:
    """As a proxy asks that keeps its connections."""
    edge = make_edge(server, websocket=WebSocket(forwarded_from=("127.0.0.1",)))
    client = browser(edge, Site().server(), websocket=True)
    client.send(request("/take", method="POST", body=b"b" * 70_000)).expect(200)
    client.send(request()).expect(200)
    client.send(upgrade("X-Forwarded-For: 192.0.2.1")).peer.expect(ACCEPTED)
    row = edge.only().describe()
    assert (row["transport"], row["address"]) == ("websocket", "192.0.2.1")
    open_stream(WebSocketPeer(client.peer), server)


@pytest.mark.parametrize("behind", [request("/files/smuggled"), b"\x81\x80\0\0\0\0", b"\r\n", b"G"])
def test_nothing_is_smuggled_behind_a_later_upgrade(make_edge: MakeEdge, server: ScriptedServer, behind: bytes) -> None:
    edge = make_edge(server)
    site = Site()
    client = browser(edge, site.server(), websocket=True)
    client.send(request()).expect(200)
    client.send(upgrade() + behind).expect_last(400)
    edge.wait_closed(Reason.HTTP_REFUSED)
    assert len(site.asked) == 1
    server.expect_no_connection()


def test_an_upgrade_with_a_body(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    for place in range(2):
        client = browser(edge, Site().server(), websocket=True)
        if place:
            client.send(request()).expect(200)
        client.send(upgrade("Content-Length: 5") + b"<open").expect_last(400)
    edge.wait_closed(Reason.HTTP_REFUSED, Reason.HTTP_REFUSED)
    server.expect_no_connection()


def test_a_pipelined_upgrade_waits_its_turn(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    site = Site()
    client = browser(edge, site.server(), websocket=True)
    client.send(request("/later") + upgrade()).peer.expect_nothing()
    site.held[0].answer(200, [], b"first")
    client.expect(200, b"first")
    client.peer.expect(ACCEPTED)


def test_the_other_way_round(edge: EdgeUnderTest) -> None:
    """Where only XMPP's WebSocket is served there is nothing else, and the other way round."""
    address = edge.listen(websocket=True)
    assert HTTPPeer(edge.connect(address)).send(request()).expect_last(404)
    HTTPPeer(edge.connect(edge.listen(web=Site().server()))).send(upgrade()).expect(404)


def test_xmpp_beside_http(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    edge.connect(edge.listen(web=Site().server())).send(dialogue.HEADER)
    server.accept().expect(dialogue.HEADER)
    assert edge.only().describe()["transport"] == "tcp"


# --- streams that come in HTTP requests ---


def test_a_stream_from_a_socket_pair(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(connections_per_address=1))
    facts = ListenerFacts("both", True, (), None, 0, False, Site().server())
    ends = []
    for _ in range(2):
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        connection = adopt_stream(edge.clients, facts, theirs.detach(), address_bytes("192.0.2.1"), 0, True)
        assert connection is not None
        ends.append(Peer(edge, ours))
    ends[0].send(dialogue.HEADER)
    server.accept().expect(dialogue.HEADER).send(b"<stream:stream>")
    ends[0].expect(b"<stream:stream>")
    row = edge.dispatcher.connections()[0].describe()
    assert (row["transport"], row["address"]) == ("bosh", "192.0.2.1")
    ends[1].expect_through(b"policy-violation")
    ends[1].close()
    edge.wait_closed(Reason.ADDRESS_LIMIT)

"""HTTP connections through the real listener: request after request, held answers, long ones, and how each ends."""

import pytest

from megaphone.config.schema import Limits, WebSocket
from megaphone.dispatch.counters import Reason, Slot
from megaphone.dispatch.websocket_slots import WebSocketSlot
from megaphone.sockets.tls_contexts import CertificateChoice
from megaphone.web.routes import Route
from tests.servers.certificates import CertificateAuthority
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.edge_under_test import EdgeUnderTest
from tests.unit.edge.tls_dialogue import trusting
from tests.unit.web.http_dialogue import LONG, POST, HTTPPeer, Site, browser, browser_in_tls, request


@pytest.fixture
def edge(make_edge: MakeEdge) -> EdgeUnderTest:
    return make_edge("127.0.0.1:1")


@pytest.fixture
def site() -> Site:
    return Site()


def test_request_after_request(edge: EdgeUnderTest, site: Site) -> None:
    client = browser(edge, site.server())
    for target, path in (("/", b"/"), ("/files/a%C3%A4/b?c=d%20e", "/files/aä/b".encode()), ("/open", b"/open")):
        answer = client.send(request(target, "X-Thing:  value ")).expect(200, path)
        assert "connection" not in answer.headers
    asked = site.asked[1]
    assert (asked.method, asked.query, asked.host, asked.body) == ("GET", "c=d%20e", "example.org", b"")
    assert asked.header(b"x-thing") == b"value"
    assert asked.client_address[-4:] == bytes([127, 0, 0, 1])
    assert not asked.secure
    row = edge.only().describe()
    assert (row["transport"], row["state"], row["jid"]) == ("http", "preauth", None)
    assert edge.board.get(WebSocketSlot.HTTP_OPEN) == 1
    assert edge.board.get(WebSocketSlot.HTTP_ANSWERED) == 3
    client.peer.close()
    edge.wait_closed(Reason.CLIENT_CLOSED)


@pytest.mark.parametrize("tls", ["direct", "both"])
def test_in_tls(
    edge: EdgeUnderTest, site: Site, authority: CertificateAuthority, either_certificates: CertificateChoice, tls: str
) -> None:
    client = browser_in_tls(edge, site.server(), either_certificates, trusting(authority), tls)
    client.send(request("/take", method="POST", body=b"b" * 50_000)).expect(200, b"/take")
    client.send(request("/long")).expect(200, LONG)
    assert site.asked[0].secure
    assert site.asked[0].body == b"b" * 50_000
    client.send(request("/", "Connection: close")).expect_last(200)


def test_a_request_byte_by_byte(edge: EdgeUnderTest, site: Site) -> None:
    client = browser(edge, site.server())
    for byte in request("/take", method="POST", body=b"body"):
        client.send(bytes([byte]))
        edge.step()
    client.expect(200, b"/take")
    assert site.asked[0].body == b"body"


def test_a_chunked_body(edge: EdgeUnderTest, site: Site) -> None:
    client = browser(edge, site.server())
    head = request("/take", "Transfer-Encoding: chunked", method="POST")
    client.send(head + b"4\r\nbody\r\n").peer.expect_nothing()
    client.send(b"3;x=y\r\nyes\r\n0\r\n\r\n" + request("/")).expect(200, b"/take")
    client.expect(200, b"/")
    assert site.asked[0].body == b"bodyyes"


def test_a_client_that_waits_until_its_body_is_wanted(edge: EdgeUnderTest, site: Site) -> None:
    client = browser(edge, site.server())
    head = "Expect: 100-continue"
    client.send(request("/take", head, "Content-Length: 4", method="POST"))
    client.peer.expect(b"HTTP/1.1 100 \r\n\r\n")
    client.send(b"body").expect(200)
    client.send(request("/take", head, "Content-Length: 4000000", method="POST")).expect_last(413)


def test_pipelined_requests_are_answered_in_order(make_edge: MakeEdge, site: Site) -> None:
    edge = make_edge("127.0.0.1:1", limits=Limits(stanzas_burst=10_000))
    client = browser(edge, site.server())
    many = 2000
    client.send(b"".join(request(f"/files/{number}") for number in range(many)))
    for number in range(many):
        client.expect(200, b"/files/%d" % number)


def test_what_waits_for_a_held_answer_is_bounded(make_edge: MakeEdge, site: Site) -> None:
    edge = make_edge("127.0.0.1:1", limits=Limits(bytes_burst=100_000_000, stanzas_burst=10_000))
    client = browser(edge, site.server(), buffers=8192)
    client.send(request("/later"))
    edge.until(lambda: site.held, "the held request")
    many = 1500  # 700 kB
    client.peer.queue(request("/files/x", "X: " + "x" * 400) * many)
    for _ in range(100):
        edge.step()
    assert edge.only().describe()["bytes_in"] < 200_000
    site.held[0].answer(200, [], b"now")
    client.expect(200, b"now")
    for _ in range(many):
        client.expect(200)


@pytest.mark.parametrize("over_rate", ["throttle", "close"])
def test_too_many_requests(make_edge: MakeEdge, site: Site, over_rate: str) -> None:
    limits = Limits(stanzas_burst=10, stanzas_per_second=1, over_rate=over_rate)  # type: ignore[arg-type]
    edge = make_edge("127.0.0.1:1", limits=limits)
    client = browser(edge, site.server())
    client.send(request() * 15)
    for _ in range(15):
        client.expect(200)
    client.send(request())
    if over_rate == "close":
        client.peer.expect_end().close()
        edge.wait_closed(Reason.POLICY_VIOLATION)
    else:
        client.expect(200)
    assert edge.count(Slot.LIMIT_STANZA_RATE) == 1


def test_the_first_request_may_bring_its_body_along(make_edge: MakeEdge, site: Site) -> None:
    edge = make_edge("127.0.0.1:1", limits=Limits(preauth_bytes=1000))
    client = browser(edge, site.server())
    client.send(request("/take", method="POST", body=b"b" * 50_000)).expect(200)
    browser(edge, site.server()).send(b"GET /" + b"a" * 60_000).expect_last(431)


def test_it_stays_where_it_is(edge: EdgeUnderTest, site: Site) -> None:
    """A successor does not get it (hand-over.md): its client comes again."""
    client = browser(edge, site.server())
    client.send(request()).expect(200)
    assert edge.only().export() is None


def test_a_held_answer(edge: EdgeUnderTest, site: Site) -> None:
    client = browser(edge, site.server())
    client.send(request("/later?1")).peer.expect_nothing()
    (exchange,) = site.held
    assert not exchange.answered
    exchange.answer(202, [], b"at last")
    exchange.answer(200, [], b"twice")
    assert exchange.answered
    client.expect(202, b"at last")
    client.send(request()).expect(200)
    assert site.gone == []


@pytest.mark.parametrize("how", ["reset", "end"])
def test_a_client_that_goes_away_while_it_waits(edge: EdgeUnderTest, site: Site, how: str) -> None:
    client = browser(edge, site.server())
    client.send(request("/later?1"))
    edge.until(lambda: site.held, "the request")
    if how == "reset":
        client.peer.abort()
    else:
        client.peer.close()
    edge.until(lambda: site.gone == ["/later?1"], "the news")
    site.held[0].answer(200)
    assert site.held[0].answered
    edge.until(lambda: len(edge.closed) == 1, "the end")


def test_the_end_of_the_edge_answers_what_is_held(edge: EdgeUnderTest, site: Site) -> None:
    server = site.server()
    first, second, idle = (browser(edge, server) for _ in range(3))
    for client in (first, second):
        client.send(request("/later"))
    idle.send(request()).expect(200)
    edge.until(lambda: len(site.held) == 2, "both requests")
    site.held[1].on_ending = lambda: site.held[1].answer(200, [], b"bye")
    for connection in edge.dispatcher.connections():
        connection.finish("system-shutdown", Reason.SYSTEM_SHUTDOWN)
    first.expect_last(503)
    second.expect_last(200)
    idle.peer.expect_end().close()
    assert site.gone == ["/later?"]
    edge.wait_closed(*[Reason.SYSTEM_SHUTDOWN] * 3)


def test_a_long_answer_is_written_as_it_is_taken(make_edge: MakeEdge, site: Site) -> None:
    edge = make_edge("127.0.0.1:1", limits=Limits(mailbox_bytes=65_536))
    address = edge.listen(web=site.server(), buffers=8192)
    client = HTTPPeer(edge.connect(address, buffers=8192))
    client.peer.reading = False
    client.send(request("/long"))
    for _ in range(100):
        edge.step()
    edge.clients.sweep(1)
    waiting = edge.only().describe()["bytes_out"]
    assert 65_536 <= waiting < 400_000
    client.peer.reading = True
    client.expect(200, LONG)
    client.send(request()).expect(200)


def test_a_long_answer_is_whole_although_the_edge_ends(make_edge: MakeEdge, site: Site) -> None:
    edge = make_edge("127.0.0.1:1", limits=Limits(mailbox_bytes=65_536))
    client = HTTPPeer(edge.connect(edge.listen(web=site.server(), buffers=8192), buffers=8192))
    client.send(request("/long")).peer.expect(b"HTTP/1.1 200 OK\r\n")
    edge.only().finish("system-shutdown", Reason.SYSTEM_SHUTDOWN)
    body = client.peer.expect_through(b"\r\n\r\n") and client
    edge.until(lambda: client.peer.ended, "the end", client.peer)
    assert body.peer.received == LONG
    client.peer.received.clear()
    client.peer.close()


def test_a_client_that_does_not_read(make_edge: MakeEdge, site: Site) -> None:
    edge = make_edge("127.0.0.1:1", limits=Limits(mailbox_bytes=65_536, slow_consumer_seconds=0.3))
    client = HTTPPeer(edge.connect(edge.listen(web=site.server(), buffers=8192), buffers=8192))
    client.peer.reading = False
    client.send(request("/long"))
    edge.wait_closed(Reason.SLOW_CONSUMER)


def test_a_mistake_of_ours(edge: EdgeUnderTest, site: Site) -> None:
    client = browser(edge, site.server()).send(request("/broken"))
    assert b"Runtime" not in client.expect_last(500).body
    edge.wait_closed(Reason.INTERNAL)
    assert [str(fault) for fault in edge.faults] == ["a mistake of ours"]
    edge.faults.clear()


def test_answers_for_everybody(edge: EdgeUnderTest, site: Site) -> None:
    client = browser(edge, site.server())
    client.send(request("/nothing")).expect(404)
    assert client.send(request("/take")).expect(405).headers["allow"] == "OPTIONS, POST"
    assert client.send(request("/", method="DELETE")).expect(405).headers["allow"] == "GET, HEAD, OPTIONS"
    client.send(request("/", method="HEAD"))
    assert client.take(head_only=True).headers["content-length"] == "1"
    answer = client.send(request("/open", method="OPTIONS")).expect(204)
    assert answer.headers["access-control-allow-methods"] == "GET"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "content-length" not in answer.headers
    answer = client.send(request("/", method="OPTIONS")).expect(204)
    assert "access-control-allow-origin" not in answer.headers
    answer = client.send(request("/")).expect(200)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert edge.board.get(WebSocketSlot.HTTP_REFUSED) == 3


def test_http_1_0(edge: EdgeUnderTest, site: Site) -> None:
    browser(edge, site.server()).send(b"GET / HTTP/1.0\r\n\r\n").expect_last(200)
    edge.wait_closed(Reason.SERVER_CLOSED)


def test_the_absolute_form(edge: EdgeUnderTest, site: Site) -> None:
    browser(edge, site.server()).send(request("http://Chat.example:8080/files/x?y")).expect(200, b"/files/x")
    assert (site.asked[0].host, site.asked[0].query) == ("chat.example:8080", "y")


def test_an_idle_connection(edge: EdgeUnderTest, site: Site) -> None:
    client = browser(edge, site.server(idle_seconds=0.3))
    client.send(request()).expect(200)
    client.peer.expect_end().close()
    edge.wait_closed(Reason.IDLE_TIMEOUT)


def test_a_slow_head_and_a_slow_body(edge: EdgeUnderTest, site: Site) -> None:
    server = site.server(request_seconds=0.3)
    client = browser(edge, server)
    client.send(request()).expect(200)
    client.send(request()[:-2]).expect_last(408)
    client = browser(edge, server)
    client.send(request("/take", method="POST", body=b"whole")[:-1]).expect_last(408)
    edge.wait_closed(Reason.PREAUTH_TIMEOUT, Reason.PREAUTH_TIMEOUT)


def test_who_a_proxy_asks_for(make_edge: MakeEdge, site: Site) -> None:
    edge = make_edge("127.0.0.1:1", websocket=WebSocket(forwarded_from=("127.0.0.0/8",)))
    client = browser(edge, site.server())
    client.send(request("/", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https")).expect(200)
    client.send(request("/", "X-Forwarded-For: 192.0.2.2")).expect(200)
    assert [(asked.client_address[-1], asked.secure) for asked in site.asked] == [(1, True), (2, False)]


def test_plain_http_where_tls_is_required(edge: EdgeUnderTest, site: Site, certificates: CertificateChoice) -> None:
    client = HTTPPeer(edge.connect(edge.listen("both", web=site.server(), certificates=certificates)))
    client.send(request()).expect_last(403)


def test_routes_that_contradict_each_other(site: Site) -> None:
    with pytest.raises(ValueError, match="two routes at /"):
        site.routes(Route("/", POST, site.answer))


def test_the_longest_prefix_counts(edge: EdgeUnderTest, site: Site) -> None:
    more = Route("/files/more/", POST, site.answer, prefix=True), Route("/files/more/one", POST, site.hold)
    routes = site.routes(*more)
    assert routes.find("/files/x") is not None
    assert routes.find("/files/more/x") is more[0]
    assert routes.find("/files/more/one") is more[1]
    assert routes.find("/file") is None

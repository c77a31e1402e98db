"""The HTTP request that a WebSocket begins with: who is let in, what everybody else is told, and one port for all."""

import ssl

import pytest

from megaphone.config.schema import Limits, WebSocket
from megaphone.dispatch.counters import Reason, Slot
from megaphone.dispatch.websocket_slots import WebSocketSlot
from megaphone.sockets.tls_contexts import CertificateChoice, TLSContext
from tests.servers.certificates import CertificateAuthority
from tests.unit.edge import dialogue
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer
from tests.unit.edge.peer import Peer
from tests.unit.edge.tls_dialogue import trusting
from tests.unit.edge.websocket_dialogue import (
    ACCEPTED,
    OPEN,
    connected,
    open_stream,
    request,
    upgraded,
)
from tests.unit.wire.websocket_frames import frame


def expect_status(client: Peer, status: int) -> bytes:
    """This answer, all of it, and the end."""
    head = client.expect_through(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), head
    assert b"101" not in head.split(b"\r\n")[0]
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
    client.edge.until(lambda: len(client.received) >= length, "the answer's body")
    del client.received[:length]
    client.expect_end().close()
    return head


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request(target="/"), 404),
        (request(target="/xmpp-websocket/"), 404),
        (request(target="http://example.org/xmpp-websocket"), 404),
        (request(method="POST"), 405),
        (request(version="HTTP/1.0"), 400),
        (request(version="HTTP/2.0"), 505),
        (request(without=("Host",)), 400),
        (request("Host: other"), 400),
        (request(without=("Upgrade",)), 426),
        (request("Upgrade: h2c", without=("Upgrade",)), 426),
        (request(without=("Connection",)), 400),
        (request(without=("Sec-WebSocket-Key",)), 400),
        (request("Sec-WebSocket-Key: short", without=("Sec-WebSocket-Key",)), 400),
        (request("Sec-WebSocket-Version: 8", without=("Sec-WebSocket-Version",)), 426),
        (request("Sec-WebSocket-Version: 13", without=()), 400),
        (request(without=("Sec-WebSocket-Protocol",)), 400),
        (request("Sec-WebSocket-Protocol: mqtt, soap", without=("Sec-WebSocket-Protocol",)), 400),
        (request("Content-Length: 5"), 400),
        (request("Transfer-Encoding: chunked"), 400),
        (request("Content-Length: 0", "Transfer-Encoding: chunked"), 400),
        (request("Content-Length: 0", "Content-Length: 9"), 400),
        (request("no colon here"), 400),
        (request("Bad Name: 1"), 400),
        (b"GET\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ],
)
def test_what_is_refused(make_edge: MakeEdge, server: ScriptedServer, sent: bytes, status: int) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen(websocket=True)).send(sent)
    head = expect_status(client, status)
    if status == 426:
        assert b"Sec-WebSocket-Version: 13" in head
    edge.wait_closed(Reason.HTTP_REFUSED)
    assert edge.board.get(WebSocketSlot.REFUSED) == 1
    server.expect_no_connection()


@pytest.mark.parametrize(
    "fields",
    [
        ("Sec-WebSocket-Protocol: mqtt", "Sec-WebSocket-Protocol: xmpp"),
        ("Sec-WebSocket-Protocol: soap, xmpp",),
    ],
)
def test_one_of_several_subprotocols(make_edge: MakeEdge, server: ScriptedServer, fields: tuple[str, ...]) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen(websocket=True))
    client.send(request(*fields, without=("Sec-WebSocket-Protocol",))).expect(ACCEPTED)


def test_extensions_are_not_agreed_on(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    upgraded(edge.connect(edge.listen(websocket=True)), "Sec-WebSocket-Extensions: permessage-deflate")


def test_a_request_byte_by_byte(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen(websocket=True))
    for byte in request(target="/xmpp-websocket?token=1"):
        client.send(bytes([byte]))
        edge.step()
    client.expect(ACCEPTED)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://chat.example.org", 101),
        ("https://CHAT.example.org", 101),
        ("https://evil.example", 403),
        ("null", 403),
    ],
)
def test_origins(make_edge: MakeEdge, server: ScriptedServer, origin: str, status: int) -> None:
    edge = make_edge(server, websocket=WebSocket(origins=("https://chat.example.org",)))
    client = edge.connect(edge.listen(websocket=True)).send(request(f"Origin: {origin}"))
    if status == 101:
        client.expect(ACCEPTED)
    else:
        expect_status(client, 403)
        edge.wait_closed(Reason.HTTP_REFUSED)


def test_a_client_without_origin_is_no_browser(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, websocket=WebSocket(origins=("https://chat.example.org",)))
    upgraded(edge.connect(edge.listen(websocket=True)))


def test_another_path(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, websocket=WebSocket(path="/ws"))
    edge.connect(edge.listen(websocket=True)).send(request(target="/ws")).expect(ACCEPTED)
    expect_status(edge.connect(edge.listen(websocket=True)).send(request()), 404)


def test_a_request_that_is_too_large(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, websocket=WebSocket(request_bytes=1024))
    client = edge.connect(edge.listen(websocket=True)).send(request("X: " + "x" * 2000))
    expect_status(client, 431)
    client = edge.connect(edge.listen(websocket=True)).send(b"GET /" + b"x" * 2000)
    expect_status(client, 431)
    edge.wait_closed(Reason.HTTP_REFUSED, Reason.HTTP_REFUSED)


def test_a_request_beyond_the_bytes_before_authentication(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(preauth_bytes=1024))
    expect_status(edge.connect(edge.listen(websocket=True)).send(b"GET /" + b"x" * 2000), 431)
    assert edge.count(Slot.LIMIT_PREAUTH_BYTES) == 1


def test_a_slow_request(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(preauth_seconds=0.5))
    client = edge.connect(edge.listen(websocket=True)).send(request()[:-2])
    expect_status(client, 408)
    edge.wait_closed(Reason.PREAUTH_TIMEOUT)


def test_a_websocket_that_opens_no_stream(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(preauth_seconds=0.5))
    connected(edge).expect_error("connection-timeout", 1000, opened=True)
    edge.wait_closed(Reason.PREAUTH_TIMEOUT)


@pytest.mark.parametrize(
    "behind", [frame(1, OPEN), b"GET /xmpp-websocket HTTP/1.1\r\n\r\n", request(), b"\r\n", dialogue.HEADER]
)
def test_nothing_is_smuggled_behind_the_request(make_edge: MakeEdge, server: ScriptedServer, behind: bytes) -> None:
    edge = make_edge(server)
    expect_status(edge.connect(edge.listen(websocket=True)).send(request() + behind), 400)
    server.expect_no_connection()


def test_a_second_request_behind_the_answer_is_no_frame(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client = connected(edge)
    client.send_raw(request()).expect_error("bad-format", 1002, opened=True)
    server.expect_no_connection()


# --- who the client is ---


def described(edge: EdgeUnderTest) -> str:
    return str(edge.only().describe()["address"])


@pytest.mark.parametrize(
    ("header", "fields", "address"),
    [
        ("x-forwarded-for", ["X-Forwarded-For: 192.0.2.7"], "192.0.2.7"),
        ("x-forwarded-for", ["X-Forwarded-For: 203.0.113.1, 192.0.2.7, 127.0.0.9"], "192.0.2.7"),
        ("x-forwarded-for", ["X-Forwarded-For: 203.0.113.1", "X-Forwarded-For: 192.0.2.7"], "192.0.2.7"),
        ("x-forwarded-for", ["X-Forwarded-For: 2001:db8::7"], "2001:db8::7"),
        ("x-forwarded-for", ["X-Forwarded-For: 192.0.2.7:4711"], "192.0.2.7"),
        ("x-forwarded-for", ["X-Forwarded-For: unknown"], "127.0.0.1"),
        ("x-forwarded-for", ["X-Forwarded-For: 192.0.2.7, unknown"], "127.0.0.1"),
        ("x-forwarded-for", ["Forwarded: for=192.0.2.7"], "127.0.0.1"),
        ("x-forwarded-for", [], "127.0.0.1"),
        ("forwarded", ["Forwarded: for=192.0.2.7;proto=https;by=203.0.113.43"], "192.0.2.7"),
        ("forwarded", ["Forwarded: for=203.0.113.1, For=192.0.2.7"], "192.0.2.7"),
        ("forwarded", ['Forwarded: proto=https;for="[2001:db8::7]:4711"'], "2001:db8::7"),
        ("forwarded", ["Forwarded: for=_hidden", "X-Forwarded-For: 192.0.2.7"], "127.0.0.1"),
    ],
)
def test_a_trusted_proxy_says_who_its_client_is(
    make_edge: MakeEdge, server: ScriptedServer, header: str, fields: list[str], address: str
) -> None:
    edge = make_edge(server, websocket=WebSocket(forwarded_from=("127.0.0.0/8",), forwarded_header=header))
    upgraded(edge.connect(edge.listen(websocket=True)), *fields)
    assert described(edge) == address


def test_nobody_else_does(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, websocket=WebSocket(forwarded_from=("192.0.2.0/24",)))
    upgraded(edge.connect(edge.listen(websocket=True)), "X-Forwarded-For: 203.0.113.1")
    assert described(edge) == "127.0.0.1"


def test_limits_are_those_of_the_client_and_not_of_its_proxy(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(
        server, limits=Limits(connections_per_address=2), websocket=WebSocket(forwarded_from=("127.0.0.1",))
    )
    address = edge.listen(websocket=True)
    for last in range(1, 6):
        upgraded(edge.connect(address), f"X-Forwarded-For: 192.0.2.{last}")
    upgraded(edge.connect(address), "X-Forwarded-For: 192.0.2.1")
    client = edge.connect(address).send(request("X-Forwarded-For: 192.0.2.1"))
    expect_status(client, 429)
    edge.wait_closed(Reason.ADDRESS_LIMIT)
    # and a proxy's own XMPP clients count under its own address
    for _ in range(2):
        edge.connect(address).send(dialogue.HEADER)
        server.accept()
    edge.connect(address).send(dialogue.HEADER).expect_through(b"policy-violation")


# --- one port for all ---


@pytest.fixture
def http_certificates(authority: CertificateAuthority) -> CertificateChoice:
    """A certificate for example.org, of its own (a context belongs to one choice); clients may agree on http/1.1."""
    files = authority.issue("example.org")
    return CertificateChoice([TLSContext(str(files.chain), str(files.key))], http=True)


def test_one_port_for_all(
    make_edge: MakeEdge,
    server: ScriptedServer,
    authority: CertificateAuthority,
    http_certificates: CertificateChoice,
) -> None:
    edge = make_edge(server)
    address = edge.listen("both", websocket=True, certificates=http_certificates)
    # STARTTLS
    client = edge.connect(address).send(dialogue.HEADER)
    client.expect_through(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>")
    client.send(dialogue.STARTTLS).expect(dialogue.PROCEED).start_tls(trusting(authority)).send(dialogue.HEADER)
    server.accept().expect(dialogue.HEADER)
    # direct TLS, with and without ALPN
    for alpn in (None, ["xmpp-client"], ["http/1.1", "xmpp-client"]):
        client = edge.connect(address).start_tls(trusting(authority, alpn)).send(dialogue.HEADER)
        server.accept().expect(dialogue.HEADER)
    # a WebSocket, with and without ALPN
    for alpn in (None, ["http/1.1"], ["h2", "http/1.1"]):
        websocket = upgraded(edge.connect(address).start_tls(trusting(authority, alpn)))
        assert edge.dispatcher.connections()[-1].describe()["tls"] == "TLSv1.3"
        open_stream(websocket, server)


def test_a_plain_websocket_where_tls_is_required(
    make_edge: MakeEdge, server: ScriptedServer, http_certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    for tls in ("both", "starttls"):
        address = edge.listen(tls, websocket=True, certificates=http_certificates)
        expect_status(edge.connect(address).send(request()), 403)
    address = edge.listen("both", websocket=True, certificates=http_certificates, starttls_required=False)
    upgraded(edge.connect(address))


@pytest.mark.parametrize("record_layer", ["own", "openssl"])
def test_what_alpn_has_agreed_on_is_binding(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority, record_layer: str
) -> None:
    files = authority.issue("example.org")
    context = TLSContext(str(files.chain), str(files.key))
    certificates = CertificateChoice([context], http=True, record_layer=record_layer)
    edge = make_edge(server)
    address = edge.listen("direct", websocket=True, certificates=certificates)
    client = edge.connect(address).start_tls(trusting(authority, ["http/1.1"])).send(dialogue.HEADER + b"\r\n\r\n")
    expect_status(client, 400)
    client = edge.connect(address).start_tls(trusting(authority, ["xmpp-client"])).send(request())
    client.expect_error("not-well-formed", header=True)
    server.expect_no_connection()


def test_http_is_no_protocol_without_websockets(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority, certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    edge.connect(edge.listen()).send(request()).expect_error("not-well-formed", header=True)
    address = edge.listen("direct", certificates=certificates)
    with pytest.raises(ssl.SSLError, match="no application protocol"):
        edge.connect(address).start_tls(trusting(authority, ["http/1.1"]))


def test_a_proxy_header_comes_first(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen(websocket=True, proxy_from=("127.0.0.0/8",)))
    client.send(b"PROXY TCP4 192.0.2.9 192.0.2.1 4711 443\r\n" + request()).expect(ACCEPTED)
    assert described(edge) == "192.0.2.9"

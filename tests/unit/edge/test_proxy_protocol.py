"""PROXY headers from listed networks: the client is who the header says, and without one it is nobody."""

import ipaddress
import socket
import ssl
import struct

import pytest

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Reason
from megaphone.sockets.tls_contexts import CertificateChoice
from megaphone.wire.proxy_protocol import V2_SIGNATURE, TlsFacts, build_v2
from tests.servers.certificates import CertificateAuthority
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import HEADER, MESSAGE, connect_through, open_stream
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer

LOOPBACK = ("127.0.0.0/24",)
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 5222\r\n"
V1_6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 40001 5222\r\n"
V2 = build_v2(source=("192.0.2.7", 40000), destination=("198.51.100.1", 5222), tls=None, alpn=None, authority=None)
V2_6 = build_v2(source=("2001:db8::7", 40001), destination=("::1", 5222), tls=None, alpn=b"x" * 200, authority="a")
V2_LOCAL = V2_SIGNATURE + b"\x20\x00\x00\x00"


def client_address(edge: EdgeUnderTest) -> tuple[str, int]:
    (connection,) = edge.dispatcher.connections()
    described = connection.describe()
    return described["address"], described["port"]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (V1, ("192.0.2.7", 40000)),
        (V1_6, ("2001:db8::7", 40001)),
        (V2, ("192.0.2.7", 40000)),
        (V2_6, ("2001:db8::7", 40001)),
        (V2_LOCAL, None),
        (b"PROXY UNKNOWN\r\n", None),
    ],
)
@pytest.mark.parametrize("cut", ["together", "apart", "bytes"])
def test_the_client_is_who_the_header_says(
    make_edge: MakeEdge, server: ScriptedServer, header: bytes, expected: tuple[str, int] | None, cut: str
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen(proxy_from=LOOPBACK))
    if cut == "together":
        client.send(header + HEADER)
    else:
        pieces = [header] if cut == "apart" else [bytes([byte]) for byte in header]
        for piece in pieces:
            client.send(piece)
            edge.step()
        server.expect_no_connection()
        client.send(HEADER)
    upstream = server.accept()
    upstream.expect(HEADER).send(MESSAGE)
    client.expect(MESSAGE)
    assert client_address(edge) == (expected or client.socket.getsockname())


@pytest.mark.parametrize(
    "data",
    [
        HEADER,
        b"\x16\x03\x01\x02\x00",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 5222 " + b"x" * 100,
        V2_SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
        V2_SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_without_a_good_header_there_is_no_connection(make_edge: MakeEdge, server: ScriptedServer, data: bytes) -> None:
    edge = make_edge(server)
    edge.connect(edge.listen(proxy_from=LOOPBACK)).send(data).expect_end().close()
    edge.wait_closed(Reason.PROXY_HEADER)
    server.expect_no_connection()


def test_a_header_is_not_waited_for_forever(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(preauth_seconds=0.15))
    edge.connect(edge.listen(proxy_from=LOOPBACK)).send(V2[:20]).expect_end().close()
    edge.wait_closed(Reason.PREAUTH_TIMEOUT)


def test_a_client_from_elsewhere_sends_no_header(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    address = edge.listen(proxy_from=("127.0.0.8/30", "2001:db8::/32"))
    client = edge.connect(address, source="127.0.0.7")
    open_stream(edge, server, client)
    assert client_address(edge)[0] == "127.0.0.7"
    liar = edge.connect(address, source="127.0.0.7").send(V1)
    liar.expect_error("not-well-formed", header=True)
    proxied = edge.connect(address, source="127.0.0.9").send(V1 + HEADER)
    server.accept().expect(HEADER)
    assert not proxied.ended


def test_limits_are_those_of_the_address_in_the_header(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(connections_per_address=1, connections_per_prefix=2))
    address = edge.listen(proxy_from=LOOPBACK)
    for last in (7, 8):
        edge.connect(address).send(V1.replace(b"192.0.2.7", b"192.0.2.%d" % last) + HEADER)
        server.accept()
    for last in (7, 9):
        client = edge.connect(address).send(V1.replace(b"192.0.2.7", b"192.0.2.%d" % last) + HEADER)
        assert b"<stream:error><policy-violation " in client.expect_through(b"</stream:stream>")
        client.expect_end().close()
    edge.wait_closed(Reason.ADDRESS_LIMIT, Reason.PREFIX_LIMIT)
    edge.connect(address).send(V1_6 + HEADER)
    server.accept()


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("header", [V1, V2_6])
def test_tls_begins_behind_the_header(
    make_edge: MakeEdge,
    server: ScriptedServer,
    authority: CertificateAuthority,
    certificates: CertificateChoice,
    header: bytes,
    together: bool,
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("direct", proxy_from=LOOPBACK, certificates=certificates))
    if together:
        client.unsent += header  # leaves with the client hello
    else:
        client.send(header)
    client.start_tls(ssl.create_default_context(cafile=str(authority.certificate)))
    open_stream(edge, server, client)
    assert client_address(edge)[0] in ("192.0.2.7", "2001:db8::7")


# --- the header that the upstream gets ---


def test_the_upstream_gets_the_clients_address_with_the_first_bytes(
    make_edge: MakeEdge, server: ScriptedServer
) -> None:
    edge = make_edge(server, upstream={"proxy_protocol": True})
    client = edge.connect(edge.listen()).send(HEADER + MESSAGE)
    upstream = server.accept()
    parsed = upstream.expect_proxy_header()
    assert parsed.source == client.socket.getsockname()
    assert parsed.destination == client.socket.getpeername()
    upstream.expect(HEADER + MESSAGE)
    assert len(upstream.reads) == 1, "header and first bytes leave in one write"
    client.send(MESSAGE)
    upstream.expect(MESSAGE)


def test_the_upstream_gets_what_is_known_of_tls(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority, certificates: CertificateChoice
) -> None:
    edge = make_edge(server, upstream={"proxy_protocol": True})
    client = edge.connect(edge.listen("direct", certificates=certificates))
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.set_alpn_protocols(["xmpp-client"])
    client.start_tls(context)
    client.send(HEADER)
    upstream = server.accept()
    parsed = upstream.expect_proxy_header()
    assert parsed.tls == TlsFacts(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384")
    assert (parsed.alpn, parsed.authority) == (b"xmpp-client", "example.org")
    assert parsed.source == client.socket.getsockname()
    upstream.expect(HEADER)
    assert len(upstream.reads) == 1


def test_the_upstream_gets_the_address_that_the_edge_was_told(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, upstream={"proxy_protocol": True})
    edge.connect(edge.listen(proxy_from=LOOPBACK)).send(V1 + HEADER)
    upstream = server.accept()
    assert upstream.expect_proxy_header().source == ("192.0.2.7", 40000)
    edge.connect(edge.listen(proxy_from=LOOPBACK)).send(V1_6 + HEADER)
    upstream = server.accept()
    parsed = upstream.expect_proxy_header()
    assert parsed.source is not None
    assert ipaddress.ip_address(parsed.source[0]) == ipaddress.ip_address("2001:db8::7")
    assert parsed.source[1] == 40001


def test_an_upstream_that_wants_no_header_gets_none(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    _, upstream = connect_through(edge, server)
    assert upstream.total == len(HEADER)


def test_a_proxy_that_resets_before_its_header(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen(proxy_from=LOOPBACK)).send(V2[:10])
    edge.until(lambda: edge.dispatcher.open_connections, "the connection")
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    edge.wait_closed(Reason.CLIENT_RESET)

"""TLS on sockets: direct TLS, which certificate, which versions, tickets, and the bytes inside."""

import ssl

import pytest

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Reason, Slot
from megaphone.sockets.tls_contexts import CertificateChoice, TLSContext
from tests.servers.certificates import CertificateAuthority
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import END, HEADER, MESSAGE, log_in, open_stream
from tests.unit.edge.edge_under_test import ScriptedServer
from tests.unit.edge.peer import Peer
from tests.unit.edge.tls_dialogue import connect_tls, trusting


def names_of(client: Peer) -> set[str]:
    assert client.tls is not None
    certificate = client.tls.getpeercert()
    assert certificate is not None
    return {value for _, value in certificate["subjectAltName"]}


# --- versions, ALPN, certificates ---


@pytest.mark.parametrize(
    ("version", "name", "slot"),
    [
        (ssl.TLSVersion.TLSv1_2, "TLSv1.2", Slot.TLS_1_2_OK),
        (ssl.TLSVersion.TLSv1_3, "TLSv1.3", Slot.TLS_1_3_OK),
    ],
)
def test_direct_tls_carries_a_session(
    make_edge: MakeEdge,
    server: ScriptedServer,
    authority: CertificateAuthority,
    either_certificates: CertificateChoice,
    version: ssl.TLSVersion,
    name: str,
    slot: Slot,
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("direct", certificates=either_certificates))
    client.start_tls(trusting(authority, ["xmpp-client"], version))
    assert client.tls is not None
    assert client.tls.selected_alpn_protocol() == "xmpp-client"
    upstream = open_stream(edge, server, client)
    log_in(client, upstream)
    (connection,) = edge.dispatcher.connections()
    assert connection.describe()["tls"] == connection.tls.version == name
    assert connection.tls.alpn == b"xmpp-client"
    assert connection.tls.server_name == "example.org"
    assert connection.tls.cipher.replace("_", "-").endswith("GCM-SHA384")
    client.send(MESSAGE)
    upstream.expect(MESSAGE).send(MESSAGE)
    client.expect(MESSAGE).send(END)
    upstream.expect(END).send(END).close()
    client.expect(END).expect_end().close()
    edge.wait_closed(Reason.CLIENT_CLOSED)
    assert edge.count(slot) == 1
    assert edge.count(Slot.TLS_RESUMED) == edge.count(Slot.TLS_FAILED) == 0


def test_a_client_without_alpn_is_welcome(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority, either_certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    client = connect_tls(edge, authority, either_certificates)
    assert client.tls is not None
    assert client.tls.selected_alpn_protocol() is None
    open_stream(edge, server, client)


def test_alpn_is_one_of_several(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority, certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("direct", certificates=certificates))
    client.start_tls(trusting(authority, ["h2", "xmpp-client", "http/1.1"]))
    assert client.tls is not None
    assert client.tls.selected_alpn_protocol() == "xmpp-client"


@pytest.mark.parametrize("alpn", [["h2"], ["http/1.1", "xmpp-server"], ["xmpp-clien"], ["xmpp-client2"]])
def test_a_wrong_alpn_is_refused(
    make_edge: MakeEdge,
    server: ScriptedServer,
    authority: CertificateAuthority,
    certificates: CertificateChoice,
    alpn: list[str],
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("direct", certificates=certificates))
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        client.start_tls(trusting(authority, alpn))
    client.expect_end().close()
    edge.wait_closed(Reason.TLS_HANDSHAKE_FAILED)
    assert edge.count(Slot.TLS_FAILED) == 1


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_tls_1_1_is_refused(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority, certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("direct", certificates=certificates))
    context = trusting(authority)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        client.start_tls(context)
    client.expect_end().close()
    edge.wait_closed(Reason.TLS_HANDSHAKE_FAILED)


def test_tls_1_2_is_refused_where_1_3_is_the_least(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority
) -> None:
    files = authority.issue("example.org")
    edge = make_edge(server)
    strict = CertificateChoice([TLSContext(str(files.chain), str(files.key), minimum_version="1.3")])
    address = edge.listen("direct", certificates=strict)
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        edge.connect(address).start_tls(trusting(authority, version=ssl.TLSVersion.TLSv1_2))
    edge.connect(address).start_tls(trusting(authority))


def test_sni_chooses_the_certificate(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority
) -> None:
    contexts = []
    for names in (("example.org", "127.0.0.1"), ("example.net", "chat.example.net"), ("*.example.com",)):
        files = authority.issue(*names)
        contexts.append(TLSContext(str(files.chain), str(files.key)))
    named = authority.issue("other.example")
    contexts.append(TLSContext(str(named.chain), str(named.key), ("configured.example",)))
    edge = make_edge(server)
    address = edge.listen("direct", certificates=CertificateChoice(contexts))
    context = trusting(authority)
    context.check_hostname = False
    for name, expected in [
        ("example.org", "example.org"),
        ("example.net", "example.net"),
        ("CHAT.Example.NET", "example.net"),
        ("a.example.com", "*.example.com"),
        ("configured.example", "other.example"),
        ("other.example", "example.org"),  # its names were given in the configuration: not this one
        ("a.b.example.com", "example.org"),
        ("unknown.example", "example.org"),
        (None, "example.org"),
    ]:
        client = edge.connect(address).start_tls(context, name)
        assert expected in names_of(client), name


def test_a_stream_to_nobody_goes_where_sni_says(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority
) -> None:
    files = authority.issue("example.org", "example.net")
    certificates = CertificateChoice([TLSContext(str(files.chain), str(files.key))])
    edge = make_edge(server, domains=("example.org", "example.net"))
    client = connect_tls(edge, authority, certificates, "example.net")
    client.send(HEADER.replace(b" to='example.org'", b""))
    server.accept()
    assert [connection.domain for connection in edge.dispatcher.connections()] == ["example.net"]


@pytest.mark.parametrize(
    "data",
    [
        HEADER,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        bytes(range(200)),
    ],
)
def test_what_is_no_client_hello_ends_in_order(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice, data: bytes
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("direct", certificates=certificates))
    client.send(data)
    edge.until(lambda: client.ended, "the end")
    assert not client.reset
    client.close()
    edge.wait_closed(Reason.TLS_HANDSHAKE_FAILED)


def test_a_handshake_that_does_not_go_on_is_ended(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice
) -> None:
    edge = make_edge(server, limits=Limits(preauth_seconds=0.2))
    client = edge.connect(edge.listen("direct", certificates=certificates))
    client.send(b"\x16\x03\x01\x00\xff").expect_end().close()
    edge.wait_closed(Reason.PREAUTH_TIMEOUT)


def test_a_handshake_a_byte_at_a_time(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority, either_certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("direct", certificates=either_certificates))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting(authority).wrap_bio(incoming, outgoing, server_hostname="example.org")

    def advance() -> bool:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            for byte in outgoing.read():
                client.socket.send(bytes([byte]))
                edge.turn()
            incoming.write(bytes(client.received))
            client.received.clear()
            return False
        return True

    edge.until(advance, "a handshake")
    tls.write(HEADER)
    for byte in outgoing.read():
        client.socket.send(bytes([byte]))
        edge.turn()
    server.accept().expect(HEADER)

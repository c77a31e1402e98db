"""Records of our own after OpenSSL's handshake: when they take over, what is still known then, and moving them."""

import hashlib
import random
import ssl
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from megaphone.dispatch.counters import Slot
from megaphone.edge.connection import ClientConnection
from megaphone.sockets.tls import TLS, tls_bytes
from megaphone.sockets.tls_contexts import CertificateChoice
from tests.servers.certificates import CertificateAuthority
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import ANSWER, FAST, FEATURES, HEADER, MESSAGE, log_in, open_stream
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer
from tests.unit.edge.openssl_client import OpenSSLClient
from tests.unit.edge.openssl_memory import OpenSSLMemory
from tests.unit.edge.peer import Peer
from tests.unit.edge.tls_dialogue import connect_tls, trusting

SUITES = ("TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256")


def shake_hands(edge: EdgeUnderTest, client: Peer, tls: OpenSSLMemory) -> None:
    """Handshake up to the client's last flight, which is left in its output."""
    client.send(b"")
    tls.handshake()
    client.send(tls.output())

    def advance() -> bool:
        received = bytes(client.received)
        client.received.clear()
        if received:
            tls.tls.bio_write(received)
        return tls.handshake()

    edge.until(advance, "a handshake")


def only_connection(edge: EdgeUnderTest) -> ClientConnection:
    (connection,) = edge.dispatcher.connections()
    return connection


def only_tls(edge: EdgeUnderTest) -> TLS:
    tls = only_connection(edge).tls
    assert tls is not None
    return tls


# --- which connections ---


@pytest.mark.parametrize(
    ("version", "layers"),
    [
        (ssl.TLSVersion.TLSv1_2, {"own": "openssl", "openssl": "openssl"}),
        (ssl.TLSVersion.TLSv1_3, {"own": "own", "openssl": "openssl"}),
    ],
)
def test_who_goes_on_after_the_handshake(
    make_edge: MakeEdge,
    server: ScriptedServer,
    authority: CertificateAuthority,
    either_certificates: CertificateChoice,
    version: ssl.TLSVersion,
    layers: dict[str, str],
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("direct", certificates=either_certificates))
    client.start_tls(trusting(authority, version=version))
    open_stream(edge, server, client)
    layer = layers["own" if either_certificates.own_records else "openssl"]
    assert only_tls(edge).record_layer == layer
    assert edge.count(Slot.TLS_OWN_RECORDS) == (layer == "own")
    assert edge.count(Slot.TLS_OPENSSL_RECORDS) == (layer == "openssl")


def test_they_need_a_few_hundred_bytes() -> None:
    assert tls_bytes() <= 400


# --- nothing is lost between OpenSSL and them ---


@pytest.mark.parametrize("suite", SUITES)
def test_data_behind_the_last_flight(
    make_edge: MakeEdge, server: ScriptedServer, either_certificates: CertificateChoice, suite: str
) -> None:
    """The client speaks at once, before it has seen the session ticket."""
    edge = make_edge(server)
    client = edge.connect(edge.listen("direct", certificates=either_certificates))
    tls = OpenSSLMemory(suite)
    shake_hands(edge, client, tls)
    tls.tls.send(HEADER)
    client.send(tls.output())
    upstream = server.accept()
    upstream.expect(HEADER).send(ANSWER + FEATURES)
    heard = bytearray()

    def hears() -> bool:
        heard.extend(tls.take(bytes(client.received)))
        client.received.clear()
        return bytes(heard) == ANSWER + FEATURES

    edge.until(hears, "the server's answer")
    assert only_tls(edge).cipher == suite
    assert tls.tls.get_cipher_name() == suite


@pytest.mark.parametrize("seed", range(12))
def test_however_it_is_cut(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice, seed: int
) -> None:
    """Finished, the header and the first stanzas in pieces of any size, several records in one or one in several."""
    chance = random.Random(seed)
    edge = make_edge(server, limits=FAST)
    client = edge.connect(edge.listen("direct", certificates=certificates))
    tls = OpenSSLMemory(SUITES[seed % 3])
    shake_hands(edge, client, tls)
    said = [HEADER, *(MESSAGE * chance.randrange(1, 40) for _ in range(20))]
    for each in said:
        tls.tls.send(each)
    ciphertext = tls.output()
    while more := tls.output():
        ciphertext += more
    while ciphertext:
        size = chance.choice((1, 3, 5, 17, 200, 4_000, 70_000))
        client.socket.send(ciphertext[:size])
        ciphertext = ciphertext[size:]
        if chance.random() < 0.7:
            edge.turn()
    upstream = server.accept()
    upstream.expect(HEADER).send(ANSWER + FEATURES)
    upstream.expect(b"".join(said[1:]))


def test_records_are_filled_across_the_chunks_of_a_mailbox(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority, certificates: CertificateChoice
) -> None:
    edge = make_edge(server, limits=FAST)
    client = connect_tls(edge, authority, certificates)
    upstream = open_stream(edge, server, client)
    long = b"<message><body>" + b"x" * 59_000 + b"</body></message>"
    client.reads.clear()
    client.reading = False
    upstream.send(long)
    edge.until(lambda: edge.count(Slot.BYTES_OUT) > len(long), "the stanza at the edge")
    client.reading = True
    client.expect(long)
    assert sum(client.reads) - len(long) <= 8 * 22, "a record costs 22 bytes; each of 15 chunks its own would be 330"


def test_new_keys_at_any_moment(
    make_edge: MakeEdge, server: ScriptedServer, either_certificates: CertificateChoice
) -> None:
    edge = make_edge(server, limits=FAST)
    client = edge.connect(edge.listen("direct", certificates=either_certificates))
    client.reading = False
    tls = OpenSSLClient(client.socket)
    edge.until(tls.handshake, "a handshake")
    tls.write(HEADER)
    upstream = server.accept()
    upstream.expect(HEADER).send(ANSWER + FEATURES)
    heard = bytearray()
    for _ in range(20):
        tls.ask_for_new_keys()
        tls.write(MESSAGE)
        upstream.expect(MESSAGE).send(MESSAGE)

    def hears() -> bool:
        heard.extend(tls.read())
        return bytes(heard) == ANSWER + FEATURES + MESSAGE * 20

    edge.until(hears, "what was said under 20 pairs of keys")
    tls.close()


# --- what is still known ---


@pytest.mark.parametrize("suite", SUITES)
def test_facts_outlive_the_ssl_object(
    make_edge: MakeEdge, server: ScriptedServer, either_certificates: CertificateChoice, suite: str
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("direct", certificates=either_certificates))
    client_tls = OpenSSLMemory(suite, "EXAMPLE.org")
    shake_hands(edge, client, client_tls)
    client.send(client_tls.output())
    edge.until(lambda: edge.count(Slot.TLS_1_3_OK), "the end of the handshake")
    tls = only_tls(edge)
    assert (tls.version, tls.cipher, tls.server_name, tls.alpn) == ("TLSv1.3", suite, "example.org", b"xmpp-client")
    assert (tls.resumed, tls.peer_refusal, tls.unique) == (False, "", None)
    assert tls.exporter == client_tls.exporter
    certificate = client_tls.tls.get_peer_certificate(as_cryptography=True)
    assert certificate is not None
    assert tls.certificate_hash == hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()


def test_resumption_is_remembered(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority, certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    address = edge.listen("direct", certificates=certificates)
    context = trusting(authority, version=ssl.TLSVersion.TLSv1_3)
    session = edge.connect(address).start_tls(context).take_tickets()
    edge.connect(address).start_tls(context, session=session)
    edge.until(lambda: edge.count(Slot.TLS_1_3_OK) == 2, "both handshakes")
    tls = [connection.tls for connection in edge.dispatcher.connections()]
    assert [each.resumed for each in tls if each is not None] == [False, True]
    assert all(each is not None and each.record_layer == "own" for each in tls)


def test_channel_bindings_are_forgotten_after_login(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority, certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    client = connect_tls(edge, authority, certificates)
    upstream = open_stream(edge, server, client)
    tls = only_tls(edge)
    assert tls.exporter is not None
    assert tls.certificate_hash is not None
    log_in(client, upstream)
    assert tls.exporter is tls.certificate_hash is None
    assert (tls.version, tls.server_name) == ("TLSv1.3", "example.org")


# --- moving ---


def facts(tls: TLS) -> tuple[object, ...]:
    names = "version cipher server_name alpn resumed record_layer exporter unique certificate_hash established"
    return tuple(getattr(tls, name) for name in names.split())


@pytest.mark.parametrize("authenticated", [False, True])
def test_a_state_is_the_same_connection(
    make_edge: MakeEdge,
    server: ScriptedServer,
    authority: CertificateAuthority,
    certificates: CertificateChoice,
    authenticated: bool,
) -> None:
    edge = make_edge(server)
    client = connect_tls(edge, authority, certificates)
    upstream = open_stream(edge, server, client)
    if authenticated:
        log_in(client, upstream)
    tls = only_tls(edge)
    state = tls.export_state()
    assert state is not None
    restored = TLS.restore(state)
    assert facts(restored) == facts(tls)
    assert restored.export_state() == state == tls.export_state()
    client.send(MESSAGE)
    upstream.expect(MESSAGE)
    assert tls.export_state() != state


def test_a_state_holds_half_a_record(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("direct", certificates=certificates))
    client_tls = OpenSSLMemory()
    shake_hands(edge, client, client_tls)
    client.send(client_tls.output())
    edge.until(lambda: edge.count(Slot.TLS_1_3_OK), "the end of the handshake")
    tls = only_tls(edge)
    before = tls.export_state()
    client_tls.tls.send(HEADER)
    record = client_tls.output()
    client.socket.send(record[:40])
    edge.until(lambda: tls.export_state() != before, "half a record")
    state = tls.export_state()
    assert before is not None
    assert state is not None
    assert len(state) == len(before) + 40
    assert state.endswith(record[:40])
    assert facts(TLS.restore(state)) == facts(tls)


def test_openssl_cannot_move(
    make_edge: MakeEdge,
    server: ScriptedServer,
    authority: CertificateAuthority,
    certificates: CertificateChoice,
    openssl_certificates: CertificateChoice,
) -> None:
    edge = make_edge(server)
    stays = connect_tls(edge, authority, openssl_certificates)
    edge.until(lambda: edge.count(Slot.TLS_1_3_OK) == 1, "a handshake")
    old = edge.connect(edge.listen("direct", certificates=certificates))
    old.start_tls(trusting(authority, version=ssl.TLSVersion.TLSv1_2))
    edge.until(lambda: edge.count(Slot.TLS_1_2_OK) == 1, "a handshake")
    shaking = edge.connect(edge.listen("direct", certificates=certificates))
    edge.until(lambda: len(edge.dispatcher.connections()) == 3, "a connection")
    states = [each.tls.export_state() for each in edge.dispatcher.connections() if each.tls is not None]
    assert states == [None, None, None]
    for client in (stays, old, shaking):
        client.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: b"",
        lambda state: state[:4],
        lambda state: bytes([2]) + state[1:],
        lambda state: state[:-1],
        lambda state: state + b"\0",
        lambda state: state[:3] + b"\x1f" + state[4:],
        lambda state: state[:2] + b"\xff" + state[3:],
    ],
)
def test_a_state_that_is_none_is_refused(
    make_edge: MakeEdge,
    server: ScriptedServer,
    authority: CertificateAuthority,
    certificates: CertificateChoice,
    damage: Callable[[bytes], bytes],
) -> None:
    edge = make_edge(server)
    client = connect_tls(edge, authority, certificates)
    open_stream(edge, server, client)
    state = only_tls(edge).export_state()
    assert state is not None
    with pytest.raises(ValueError, match="TLS"):
        TLS.restore(damage(state))

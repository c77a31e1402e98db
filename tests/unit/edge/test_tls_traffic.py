"""The bytes inside TLS, and the tickets that save a handshake."""

import os
import ssl

import pytest

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Reason, Slot
from megaphone.sockets.tls_contexts import CertificateChoice, TLSContext
from megaphone.sockets.tls_tickets import set_ticket_keys
from tests.servers.certificates import CertificateAuthority
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import END, HEADER, MESSAGE, log_in, open_stream
from tests.unit.edge.edge_under_test import ScriptedServer
from tests.unit.edge.openssl_client import OpenSSLClient
from tests.unit.edge.tls_dialogue import connect_tls, trusting


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_megabytes_in_both_directions_at_once(
    make_edge: MakeEdge,
    server: ScriptedServer,
    authority: CertificateAuthority,
    either_certificates: CertificateChoice,
    version: ssl.TLSVersion,
) -> None:
    fast = Limits(bytes_per_second=10**9, bytes_burst=10**9, stanza_bytes=10**8)
    edge = make_edge(server, limits=fast)
    client = edge.connect(edge.listen("direct", certificates=either_certificates))
    client.start_tls(trusting(authority, version=version))
    upstream = open_stream(edge, server, client)
    log_in(client, upstream)
    up = b"<message>" + os.urandom(1_500_000).hex().encode() + b"</message>"
    down = b"<message>" + os.urandom(1_500_000).hex().encode() + b"</message>"
    client.queue(up)
    upstream.queue(down)
    client.expect(down)
    upstream.expect(up)


def test_small_stanzas_of_one_turn_share_a_record(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority, either_certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    client = connect_tls(edge, authority, either_certificates)
    upstream = open_stream(edge, server, client)
    client.reads.clear()
    upstream.send(MESSAGE * 100)
    client.expect(MESSAGE * 100)
    assert sum(client.reads) < len(MESSAGE) * 100 + 100, "a record costs 22 bytes, each its own would be 2200 more"


def test_a_record_that_was_tampered_with_resets(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority, either_certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    client = connect_tls(edge, authority, either_certificates)
    upstream = open_stream(edge, server, client)
    client.socket.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    upstream.expect_end()
    edge.wait_closed(Reason.CLIENT_RESET)


def test_a_close_notify_is_the_clients_end(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority, either_certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    client = connect_tls(edge, authority, either_certificates)
    upstream = open_stream(edge, server, client)
    client.finish()
    upstream.expect_end().send(MESSAGE + END).close()
    client.expect(MESSAGE + END).expect_end()
    edge.wait_closed(Reason.CLIENT_CLOSED)


@pytest.mark.parametrize("reads", [True, False])
def test_answers_to_key_updates_do_not_pile_up(
    make_edge: MakeEdge, server: ScriptedServer, either_certificates: CertificateChoice, reads: bool
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("direct", certificates=either_certificates, buffers=4096), buffers=4096)
    client.reading = False
    tls = OpenSSLClient(client.socket)
    edge.until(tls.handshake, "a handshake")
    client.reading = reads
    tls.write(HEADER)
    server.accept().expect(HEADER)
    most = 0

    def flood() -> bool:
        nonlocal most
        for _ in range(100):
            tls.ask_for_new_keys()
            tls.write(b" ")
        edge.sweep()
        most = max(most, edge.count(Slot.MAILBOX_BYTES))
        return edge.count(Slot.BYTES_IN) > 20_000 or bool(edge.closed) or bool(edge.gauges().get("OPEN_CLOSING"))

    edge.until(flood, "20,000 key updates")
    assert most < 400_000
    # records of our own answer with their next data, so that nothing waits; OpenSSL answers each time
    waits = not (reads or either_certificates.own_records)
    assert edge.gauges() == ({"OPEN_CLOSING": 1} if waits else {"OPEN_CONNECTING": 1})
    tls.close()


# --- tickets ---


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_ticket_saves_the_handshake_until_its_key_has_gone(
    make_edge: MakeEdge,
    server: ScriptedServer,
    authority: CertificateAuthority,
    either_certificates: CertificateChoice,
    version: ssl.TLSVersion,
) -> None:
    keys = [os.urandom(80) for _ in range(4)]
    set_ticket_keys(keys[:1])
    edge = make_edge(server)
    set_ticket_keys(keys[:1])
    address = edge.listen("direct", certificates=either_certificates)
    context = trusting(authority, version=version)

    def resumes(session: ssl.SSLSession) -> bool:
        before = edge.count(Slot.TLS_RESUMED)
        client = edge.connect(address).start_tls(context, session=session)
        assert client.tls is not None
        ok = Slot.TLS_1_2_OK if version is ssl.TLSVersion.TLSv1_2 else Slot.TLS_1_3_OK
        edge.until(lambda: edge.count(ok) == len(edge.peers), "the end of the handshake at the edge")
        assert edge.count(Slot.TLS_RESUMED) == before + client.tls.session_reused
        return bool(client.tls.session_reused)

    first = edge.connect(address).start_tls(context)
    assert first.tls is not None
    assert not first.tls.session_reused
    session = first.take_tickets()
    assert resumes(session)
    set_ticket_keys([keys[1], keys[0]])
    assert resumes(session)
    set_ticket_keys([keys[2], keys[1], keys[0]])
    assert resumes(session)
    set_ticket_keys([keys[3], keys[2], keys[1]])
    assert not resumes(session)
    assert edge.count(Slot.TLS_FAILED) == 0


def test_a_resumption_with_an_old_key_gets_a_ticket_under_the_new_one(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority, certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    old, new = os.urandom(80), os.urandom(80)
    set_ticket_keys([old])
    address = edge.listen("direct", certificates=certificates)
    context = trusting(authority, version=ssl.TLSVersion.TLSv1_2)
    session = edge.connect(address).start_tls(context).take_tickets()
    set_ticket_keys([new, old])
    renewed = edge.connect(address).start_tls(context, session=session).take_tickets()
    set_ticket_keys([new])
    again = edge.connect(address).start_tls(context, session=renewed)
    assert again.tls is not None
    assert again.tls.session_reused


def test_each_resumption_brings_the_next_ticket(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority, either_certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    set_ticket_keys([os.urandom(80)])
    address = edge.listen("direct", certificates=either_certificates)
    context = trusting(authority, version=ssl.TLSVersion.TLSv1_3)
    session = edge.connect(address).start_tls(context).take_tickets()
    for _ in range(3):
        client = edge.connect(address).start_tls(context, session=session)
        assert client.tls is not None
        assert client.tls.session_reused
        tls, used = client.tls, session
        # a client uses a TLS 1.3 ticket once (RFC 8446 appendix C.4), so it needs another one
        edge.until(lambda tls=tls, used=used: tls.session is not None and tls.session != used, "a new ticket")
        session = client.take_tickets()


def test_tickets_can_be_switched_off(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority
) -> None:
    files = authority.issue("example.org")
    certificates = CertificateChoice([TLSContext(str(files.chain), str(files.key), session_tickets=False)])
    edge = make_edge(server)
    client = connect_tls(edge, authority, certificates)
    open_stream(edge, server, client)
    assert client.tls is not None
    assert client.tls.session is None or not client.tls.session.has_ticket

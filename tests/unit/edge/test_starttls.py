"""STARTTLS as dialogues: required, optional, pipelined, refused (RFC 6120 section 5)."""

import ssl

import pytest

from megaphone.dispatch.counters import Reason, Slot
from megaphone.sockets.tls_contexts import CertificateChoice
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import ANSWER, AUTH, END, FEATURES, HEADER, MESSAGE, PROCEED, STARTTLS
from tests.unit.edge.edge_under_test import ScriptedServer
from tests.unit.edge.peer import Peer

ONLY_STARTTLS = (
    b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"
)


def ask_for_tls(client: Peer) -> Peer:
    client.send(HEADER)
    client.expect_through(ONLY_STARTTLS)
    return client.send(STARTTLS).expect(PROCEED)


# --- required ---


def test_the_edge_answers_the_first_stream_itself(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice, trusting_context: ssl.SSLContext
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("starttls", certificates=certificates))
    client.send(HEADER)
    answer = client.expect_through(ONLY_STARTTLS)
    assert b" from='example.org'" in answer
    assert b" id='" in answer
    server.expect_no_connection()
    client.send(STARTTLS).expect(PROCEED).start_tls(trusting_context)
    assert edge.gauges() == {"OPEN_NEGOTIATING": 1}
    client.send(HEADER)
    upstream = server.accept()
    upstream.expect(HEADER).send(ANSWER + FEATURES)
    client.expect(ANSWER + FEATURES).send(END)
    upstream.expect(END).send(END).close()
    client.expect(END).expect_end().close()
    edge.wait_closed(Reason.CLIENT_CLOSED)
    assert edge.count(Slot.STARTTLS_OFFERED) == 1
    assert edge.count(Slot.TLS_1_3_OK) == 1


def test_a_byte_at_a_time(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice, trusting_context: ssl.SSLContext
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("starttls", certificates=certificates))
    for byte in HEADER:
        client.send(bytes([byte]))
        edge.step()
    client.expect_through(ONLY_STARTTLS)
    for byte in b" \n" + STARTTLS:
        client.send(bytes([byte]))
        edge.step()
    client.expect(PROCEED).start_tls(trusting_context).send(HEADER)
    server.accept().expect(HEADER)


def test_header_and_starttls_in_one_segment_are_answered_in_order(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice, trusting_context: ssl.SSLContext
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("starttls", certificates=certificates))
    client.send(HEADER + STARTTLS)
    answer = client.expect_through(PROCEED)
    assert answer.startswith(b"<?xml version='1.0'?><stream:stream ")
    assert answer.endswith(ONLY_STARTTLS + PROCEED)
    client.start_tls(trusting_context).send(HEADER)
    server.accept().expect(HEADER)


def test_a_line_break_may_follow_starttls(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice, trusting_context: ssl.SSLContext
) -> None:
    """RFC 6120 section 5.3.3 forbids it; go-xmpp sends it."""
    edge = make_edge(server)
    client = edge.connect(edge.listen("starttls", certificates=certificates))
    client.send(HEADER).expect_through(ONLY_STARTTLS)
    client.send(STARTTLS + b" \t\r\n").expect_through(PROCEED)
    client.start_tls(trusting_context).send(HEADER)
    server.accept().expect(HEADER)


@pytest.mark.parametrize("smuggled", [b"\n\x16\x03\x01", b"\x16\x03\x01", HEADER, AUTH, b"\n" + STARTTLS])
def test_nothing_may_follow_starttls_in_clear(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice, smuggled: bytes
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("starttls", certificates=certificates))
    client.send(HEADER)
    client.expect_through(ONLY_STARTTLS)
    client.send(STARTTLS + smuggled).expect_error("policy-violation").close()
    edge.wait_closed(Reason.POLICY_VIOLATION)
    server.expect_no_connection()


def test_plaintext_where_the_handshake_should_be_is_refused(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("starttls", certificates=certificates))
    ask_for_tls(client).send(HEADER).expect_end().close()
    edge.wait_closed(Reason.TLS_HANDSHAKE_FAILED)
    assert edge.count(Slot.TLS_FAILED) == 1
    server.expect_no_connection()


@pytest.mark.parametrize(
    ("element", "condition"),
    [
        (AUTH, "policy-violation"),
        (MESSAGE, "policy-violation"),
        (b"<starttls/>", None),
        (b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", None),
        (b"<!-- -->", "restricted-xml"),
        (b"<x:a/>", "not-well-formed"),
        (b"text", "not-well-formed"),
    ],
)
def test_anything_else_before_tls_is_refused(
    make_edge: MakeEdge,
    server: ScriptedServer,
    certificates: CertificateChoice,
    element: bytes,
    condition: str | None,
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("starttls", certificates=certificates))
    client.send(HEADER)
    client.expect_through(ONLY_STARTTLS)
    client.send(element)
    if condition is None:
        client.expect(b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>").expect_end()
    else:
        client.expect_error(condition)
    server.expect_no_connection()


def test_a_client_that_says_goodbye_before_tls_is_answered(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("starttls", certificates=certificates))
    client.send(HEADER)
    client.expect_through(ONLY_STARTTLS)
    client.send(END).expect(END).expect_end().close()
    edge.wait_closed(Reason.CLIENT_CLOSED)


@pytest.mark.parametrize(
    ("header", "condition", "reason"),
    [
        (HEADER.replace(b"example.org", b"other.example"), "host-unknown", Reason.HOST_UNKNOWN),
        (HEADER.replace(b"jabber:client", b"jabber:server"), "invalid-namespace", Reason.INVALID_XML),
        (HEADER.replace(b" version='1.0'>", b">"), "unsupported-version", Reason.INVALID_XML),
        (HEADER.replace(b" version='1.0'>", b" version='1.0' version='1.0'>"), "not-well-formed", None),
    ],
)
def test_a_first_header_that_is_refused(
    make_edge: MakeEdge,
    server: ScriptedServer,
    certificates: CertificateChoice,
    header: bytes,
    condition: str,
    reason: Reason | None,
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("starttls", certificates=certificates))
    client.send(header).expect_error(condition, header=True).close()
    edge.wait_closed(reason or Reason.NOT_WELL_FORMED)
    server.expect_no_connection()


def test_a_second_stream_may_be_for_another_domain(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice, trusting_context: ssl.SSLContext
) -> None:
    edge = make_edge(server, domains=("example.org", "example.net"))
    address = edge.listen("starttls", certificates=certificates)
    client = ask_for_tls(edge.connect(address)).start_tls(trusting_context)
    client.send(HEADER.replace(b"'example.org'", b"'example.net'"))
    server.accept().expect_through(b"'example.net' version='1.0'>")
    client = ask_for_tls(edge.connect(address)).start_tls(trusting_context)
    client.send(HEADER.replace(b"'example.org'", b"'other.example'")).expect_error("host-unknown", header=True)

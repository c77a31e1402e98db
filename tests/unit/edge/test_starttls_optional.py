"""STARTTLS as an option: the server answers the first stream, the edge adds its offer, the client chooses."""

import ssl

import pytest

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Reason, Slot
from megaphone.sockets.tls_contexts import CertificateChoice
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import ANSWER, AUTH, FEATURES, HEADER, PROCEED, STARTTLS, SUCCESS
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer
from tests.unit.edge.peer import Peer

OFFERED = FEATURES.replace(b"<stream:features>", b"<stream:features>" + STARTTLS)


def open_optional(
    edge: EdgeUnderTest, server: ScriptedServer, certificates: CertificateChoice, first: bytes = b""
) -> tuple[Peer, Peer]:
    client = edge.connect(edge.listen("starttls", starttls_required=False, certificates=certificates))
    client.send(HEADER + first)
    upstream = server.accept()
    upstream.expect(HEADER)
    return client, upstream


def test_an_optional_starttls_is_added_to_the_servers_features(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    client, upstream = open_optional(edge, server, certificates)
    upstream.send(ANSWER + FEATURES)
    client.expect(ANSWER + OFFERED).send(AUTH)
    upstream.expect(AUTH).send(SUCCESS)
    client.expect(SUCCESS).send(HEADER)
    upstream.expect(HEADER).send(ANSWER + FEATURES)
    client.expect(ANSWER + FEATURES)
    assert edge.gauges() == {"OPEN_AUTHENTICATED": 1}
    assert edge.count(Slot.STANZAS_IN + 3) == 1
    assert edge.count(Slot.STANZAS_OUT + 3) == 3


def test_an_optional_starttls_that_is_taken_starts_anew_behind_it(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice, trusting_context: ssl.SSLContext
) -> None:
    edge = make_edge(server)
    client, upstream = open_optional(edge, server, certificates)
    upstream.send(ANSWER + FEATURES)
    client.expect(ANSWER + OFFERED).send(STARTTLS).expect(PROCEED)
    upstream.expect_end().close()
    client.start_tls(trusting_context).send(HEADER)
    second = server.accept()
    second.expect(HEADER).send(ANSWER + FEATURES)
    client.expect(ANSWER + FEATURES).send(AUTH)
    second.expect(AUTH)


@pytest.mark.parametrize("step", [1, 30])
def test_the_servers_first_features_may_come_in_pieces(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice, step: int
) -> None:
    edge = make_edge(server)
    client, upstream = open_optional(edge, server, certificates)
    data = ANSWER + b" \n" + FEATURES
    for start in range(0, len(data), step):
        upstream.send(data[start : start + step])
        edge.step()
    client.expect(ANSWER + b" \n" + OFFERED)


def test_starttls_asked_for_before_the_features_came(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice, trusting_context: ssl.SSLContext
) -> None:
    edge = make_edge(server)
    client, upstream = open_optional(edge, server, certificates)
    upstream.send(ANSWER + FEATURES[:20])
    client.expect(ANSWER).send(STARTTLS).expect(PROCEED)
    upstream.send(FEATURES[20:])
    client.start_tls(trusting_context).send(HEADER)
    server.accept().expect(HEADER)


def test_auth_sent_before_the_features_came_goes_on_in_clear(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    client, upstream = open_optional(edge, server, certificates, AUTH)
    upstream.expect(AUTH).send(ANSWER + FEATURES + SUCCESS)
    client.expect(ANSWER + FEATURES + SUCCESS)
    assert edge.gauges() == {"OPEN_AUTHENTICATED": 1}


@pytest.mark.parametrize("smuggled", [b" " + AUTH, AUTH])
def test_nothing_may_follow_an_optional_starttls_in_clear(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice, smuggled: bytes
) -> None:
    edge = make_edge(server)
    client, upstream = open_optional(edge, server, certificates)
    upstream.send(ANSWER + FEATURES)
    client.expect(ANSWER + OFFERED).send(STARTTLS + smuggled).expect_error("policy-violation")
    upstream.expect_end()


def test_host_unknown_behind_an_optional_starttls_has_a_header(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice, trusting_context: ssl.SSLContext
) -> None:
    edge = make_edge(server)
    client, upstream = open_optional(edge, server, certificates)
    upstream.send(ANSWER + FEATURES)
    client.expect(ANSWER + OFFERED).send(STARTTLS).expect(PROCEED).start_tls(trusting_context)
    client.send(HEADER.replace(b"'example.org'", b"'other.example'")).expect_error("host-unknown", header=True)


@pytest.mark.parametrize(
    "first",
    [
        b"<stream:error><host-gone xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
        b"<message/>",
        b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>",
        b"<a></b>",
        b"</stream:stream>",
    ],
)
def test_what_is_no_features_to_add_to_passes_as_it_is(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice, first: bytes
) -> None:
    edge = make_edge(server)
    client, upstream = open_optional(edge, server, certificates)
    upstream.send(ANSWER + first)
    client.expect(ANSWER + first)


def test_features_that_take_too_long_to_end_pass_as_they_are(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    client, upstream = open_optional(edge, server, certificates)
    upstream.send(ANSWER + b"<stream:features>" + b" " * 20_000)
    client.expect(ANSWER + b"<stream:features>" + b" " * 20_000)
    upstream.send(b"</stream:features>")
    client.expect(b"</stream:features>").send(AUTH)
    upstream.expect(AUTH)


def test_a_server_that_dies_before_its_features_is_no_silence(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    client, upstream = open_optional(edge, server, certificates)
    upstream.send(ANSWER)
    client.expect(ANSWER)
    upstream.close()
    client.expect_error("remote-connection-failed").close()
    edge.wait_closed(Reason.REMOTE_CONNECTION_FAILED)


def test_a_client_that_never_chooses_runs_into_the_byte_limit(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice
) -> None:
    edge = make_edge(server, limits=Limits(preauth_bytes=1000))
    client, upstream = open_optional(edge, server, certificates)
    upstream.send(ANSWER + FEATURES)
    client.expect(ANSWER + OFFERED).send(b" " * 1000).expect_error("policy-violation").close()
    edge.wait_closed(Reason.POLICY_VIOLATION)

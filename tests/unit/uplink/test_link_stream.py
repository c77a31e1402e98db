"""Streams on a link: what the server is told, bytes both ways, credit both ways, and how either side ends a stream."""

import os
import ssl

import pytest

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Board, LinkSlot, Reason, Slot
from megaphone.sockets.tls_contexts import CertificateChoice
from megaphone.uplink.link_stream import stream_bytes
from megaphone.wire.link import LinkReason
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import ANSWER, AUTH, END, FAST, FEATURES, HEADER, MESSAGE, log_in
from tests.unit.edge.edge_under_test import EdgeUnderTest
from tests.unit.edge.peer import Peer
from tests.unit.uplink.conftest import MakeLinkServer
from tests.unit.uplink.link_server import LinkServer, ServerStream


def link_count(edge: EdgeUnderTest, slot: LinkSlot) -> int:
    """The sum over the first upstream's links."""
    return sum(edge.board.get(Board.link_slot(0, link, slot)) for link in range(16))


def opened(
    edge: EdgeUnderTest, server: LinkServer, address: tuple[str, int] | None = None
) -> tuple[Peer, ServerStream]:
    """A client with an open stream, and the server's end of it."""
    client = edge.connect(address or edge.listen()).send(HEADER)
    stream = server.stream(len(server.streams)).expect(HEADER).send(ANSWER + FEATURES)
    client.expect(ANSWER + FEATURES)
    return client, stream


# --- OPEN ---


def test_the_server_is_told_who_the_client_is(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server)
    address = edge.listen()
    client, stream = opened(edge, link_server, address)
    assert stream.facts.client == client.socket.getsockname()
    assert stream.facts.local == address
    assert (stream.facts.transport, stream.facts.tls_version, stream.facts.cipher) == (1, 0, None)
    assert edge.only().describe()["upstream"] == "u0"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_server_is_told_what_binds_the_channel(
    make_edge: MakeEdge,
    link_server: LinkServer,
    certificates: CertificateChoice,
    trusting_context: ssl.SSLContext,
    version: ssl.TLSVersion,
) -> None:
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(trusting_context.get_ca_certs(binary_form=True)[0]))
    context.maximum_version = version
    context.set_alpn_protocols(["xmpp-client"])
    edge = make_edge(link_server)
    client = edge.connect(edge.listen("direct", certificates=certificates)).start_tls(context).send(HEADER)
    facts = link_server.stream().expect(HEADER).facts
    assert client.tls is not None
    assert (facts.transport, facts.server_name, facts.alpn) == (2, "example.org", b"xmpp-client")
    assert facts.tls_version == int(version)
    assert facts.cipher == client.tls.cipher()[0]  # type: ignore[index]
    assert facts.tls_exporter is not None
    assert facts.edge_certificate is not None
    assert len(facts.edge_certificate) == 32
    if version == ssl.TLSVersion.TLSv1_2:
        assert facts.tls_unique == client.tls.get_channel_binding("tls-unique")
    else:
        assert facts.tls_unique is None


def test_tls_unique_of_a_resumed_session_is_the_servers_finished(
    make_edge: MakeEdge, link_server: LinkServer, certificates: CertificateChoice, trusting_context: ssl.SSLContext
) -> None:
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(trusting_context.get_ca_certs(binary_form=True)[0]))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    edge = make_edge(link_server)
    address = edge.listen("direct", certificates=certificates)
    first = edge.connect(address).start_tls(context).send(HEADER)
    link_server.stream(0).expect(HEADER)
    session = first.take_tickets()
    second = edge.connect(address).start_tls(context, session=session).send(HEADER)
    facts = link_server.stream(1).expect(HEADER).facts
    assert second.tls is not None
    assert second.tls.session_reused
    assert facts.tls_unique == second.tls.get_channel_binding("tls-unique")


# --- bytes ---


def test_a_client_logs_in(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server)
    client, stream = opened(edge, link_server)
    log_in(client, stream)  # type: ignore[arg-type]
    client.send(MESSAGE)
    stream.expect(MESSAGE).send(MESSAGE * 2)
    client.expect(MESSAGE * 2)


def test_frames_of_a_turn_leave_in_one_write(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server)
    address = edge.listen()
    pairs = [opened(edge, link_server, address) for _ in range(20)]
    for client, _ in pairs:
        client.socket.send(MESSAGE)
    socket = link_server.wait_links(2)[0].socket
    assert socket is not None
    socket.reads.clear()
    for _, stream in pairs:
        stream.expect(MESSAGE)
    assert len(socket.reads) <= 3, socket.reads  # in one turn, or two if the kernel was slow to say who can be read


@pytest.mark.parametrize("direction", ["in", "out"])
def test_megabytes_pass_unchanged(make_edge: MakeEdge, link_server: LinkServer, direction: str) -> None:
    edge = make_edge(link_server, limits=FAST)
    client, stream = opened(edge, link_server)
    data = b"".join(b"<message>%b</message>" % os.urandom(4000).hex().encode() for _ in range(300))
    if direction == "in":
        log_in(client, stream)  # type: ignore[arg-type]
        client.queue(data)
        stream.expect(data)
    else:
        stream.send(data)
        client.expect(data)


def test_a_client_without_credit_waits_and_its_neighbour_does_not(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server, limits=FAST)
    address = edge.listen()
    greedy, slow = opened(edge, link_server, address)
    neighbour, stream = opened(edge, link_server, address)
    for pair in ((greedy, slow), (neighbour, stream)):
        log_in(*pair)  # type: ignore[arg-type]
    slow.taking = False
    data = b"<message>%b</message>" % (b"x" * 9000) * 100
    greedy.queue(data)
    before = slow.total
    edge.until(lambda: link_count(edge, LinkSlot.LI_CREDIT_WAITS) == 1, "a wait for credit")
    for _ in range(50):
        neighbour.send(MESSAGE)
        stream.expect(MESSAGE).send(MESSAGE)
        neighbour.expect(MESSAGE)
    assert slow.total <= 65_536 + before
    assert edge.board.get(Slot.BYTES_IN) < 65_536 + 3 * 65_536, "the greedy client is not read"
    slow.taking = True
    slow.session.end.took(slow.id, slow.total)
    slow.expect(data)
    assert link_count(edge, LinkSlot.LI_CREDIT_WAIT_NS) > 0


def test_a_client_that_does_not_read_stops_its_own_stream_alone(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server, limits=Limits(mailbox_bytes=20_000))
    address = edge.listen(buffers=4096)
    lazy = edge.connect(address, buffers=4096).send(HEADER)
    stream = link_server.stream().expect(HEADER)
    neighbour, other = opened(edge, link_server, edge.listen())
    lazy.reading = False
    data = ANSWER + os.urandom(400_000).hex().encode()
    stream.send(data)
    edge.until(lambda: edge.count(Slot.MAILBOX_FULL) >= 1, "a full mailbox")
    for _ in range(50):
        other.send(MESSAGE)
        neighbour.expect(MESSAGE)
    assert len(stream.outgoing) > 500_000, "the server has no more credit for this stream"
    assert edge.poller.chunks.queued_bytes <= 20_000 + 2 * 65_536
    lazy.reading = True
    lazy.expect(data)


def test_a_server_that_gives_no_credit_is_not_waited_for_forever(make_edge: MakeEdge, link_server: LinkServer) -> None:
    """As one that does not read is not in direct mode; a link that is broken meanwhile does not count."""
    edge = make_edge(link_server, limits=Limits(slow_consumer_seconds=0.5))
    client, stream = opened(edge, link_server)
    log_in(client, stream)  # type: ignore[arg-type]
    stream.taking = False
    client.queue(b"<message>%b</message>" % (b"x" * 9000) * 20)
    edge.until(lambda: link_count(edge, LinkSlot.LI_CREDIT_WAITS) == 1, "a wait for credit")
    client.expect_error("remote-connection-failed")
    edge.until(lambda: stream.ended is not None, "the end of the stream")
    assert stream.ended is not None
    assert stream.ended[0] == LinkReason.CONNECTION_LOST


# --- ends ---


def test_the_clients_goodbye_is_answered_by_the_server(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server)
    client, stream = opened(edge, link_server)
    client.send(END)
    stream.expect(END).send(END).close()
    client.expect(END).expect_end().close()
    edge.wait_closed(Reason.CLIENT_CLOSED)
    assert link_count(edge, LinkSlot.LI_BREAKS) == 0


def test_the_servers_goodbye_is_passed_on(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server)
    client, stream = opened(edge, link_server)
    stream.send(END).close()
    client.expect(END).expect_end().close()
    edge.wait_closed(Reason.SERVER_CLOSED)


@pytest.mark.parametrize("how", ["finish", "abort"])
def test_a_client_that_breaks_off_is_reported_lost(make_edge: MakeEdge, link_server: LinkServer, how: str) -> None:
    edge = make_edge(link_server)
    client, stream = opened(edge, link_server)
    getattr(client, how)()
    stream.expect_end(LinkReason.CONNECTION_LOST)
    edge.until(lambda: edge.closed, "the end")
    assert edge.reasons() == [Reason.CLIENT_CLOSED if how == "finish" else Reason.CLIENT_RESET]


def test_a_client_that_stops_talking_is_still_answered(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server)
    client, stream = opened(edge, link_server)
    client.send(AUTH).finish()
    stream.expect(AUTH).send(MESSAGE)
    client.expect(MESSAGE)
    stream.expect_end(LinkReason.CONNECTION_LOST)


@pytest.mark.parametrize(
    ("reason", "condition", "counted"),
    [
        (LinkReason.CONNECTION_LOST, "remote-connection-failed", Reason.REMOTE_CONNECTION_FAILED),
        (LinkReason.REMOTE_CONNECTION_FAILED, "remote-connection-failed", Reason.REMOTE_CONNECTION_FAILED),
        (LinkReason.CONNECTION_TIMEOUT, "connection-timeout", Reason.SERVER_CLOSED),
        (LinkReason.POLICY_VIOLATION, "policy-violation", Reason.SERVER_CLOSED),
        (LinkReason.RESOURCE_CONSTRAINT, "resource-constraint", Reason.RESOURCE_CONSTRAINT),
        (LinkReason.SYSTEM_SHUTDOWN, "system-shutdown", Reason.SERVER_CLOSED),
        (LinkReason.INTERNAL_ERROR, "internal-server-error", Reason.REMOTE_CONNECTION_FAILED),
    ],
)
def test_each_reason_of_the_server_is_a_stream_error(
    make_edge: MakeEdge, link_server: LinkServer, reason: LinkReason, condition: str, counted: Reason
) -> None:
    edge = make_edge(link_server)
    client, stream = opened(edge, link_server)
    stream.close(reason, "for people")
    client.expect_error(condition).close()
    edge.wait_closed(counted)


@pytest.mark.parametrize(
    ("condition", "counted", "reason"),
    [
        ("system-shutdown", Reason.SYSTEM_SHUTDOWN, LinkReason.SYSTEM_SHUTDOWN),
        ("policy-violation", Reason.KICKED, LinkReason.POLICY_VIOLATION),
        ("connection-timeout", Reason.IDLE_TIMEOUT, LinkReason.CONNECTION_TIMEOUT),
        ("internal-server-error", Reason.INTERNAL, LinkReason.INTERNAL_ERROR),
    ],
)
def test_the_server_is_told_why_the_edge_ends_a_stream(
    make_edge: MakeEdge, link_server: LinkServer, condition: str, counted: Reason, reason: LinkReason
) -> None:
    edge = make_edge(link_server)
    client, stream = opened(edge, link_server)
    edge.only().finish(condition, counted)
    stream.expect_end(reason)
    client.expect_error(condition)


def test_bad_xml_is_a_policy_violation_to_the_server(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server)
    client, stream = opened(edge, link_server)
    client.send(MESSAGE + b"<a></b>")
    stream.expect(MESSAGE).expect_end(LinkReason.POLICY_VIOLATION)
    client.expect_error("not-well-formed")


def test_both_ends_may_cross(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server)
    client, stream = opened(edge, link_server)
    edge.only().finish("system-shutdown", Reason.SYSTEM_SHUTDOWN)
    stream.close(LinkReason.SYSTEM_SHUTDOWN)
    client.expect_error("system-shutdown").close()
    edge.until(lambda: link_count(edge, LinkSlot.LI_STREAMS) == 0, "the id is free")
    assert link_count(edge, LinkSlot.LI_BREAKS) == 0


def test_last_words_without_credit_leave_when_it_comes(make_edge: MakeEdge, make_link_server: MakeLinkServer) -> None:
    server = make_link_server(window_bytes=4096)
    edge = make_edge(server, limits=FAST)
    client, stream = opened(edge, server)
    log_in(client, stream)  # type: ignore[arg-type]
    stream.taking = False
    words = b"<message>%b</message>" % (b"x" * 5000)
    client.send(words)
    edge.until(lambda: link_count(edge, LinkSlot.LI_CREDIT_WAITS) == 1, "a wait for credit")
    edge.only().finish("system-shutdown", Reason.SYSTEM_SHUTDOWN)
    client.expect_error("system-shutdown").close()
    edge.wait_closed(Reason.SYSTEM_SHUTDOWN)
    stream.taking = True
    stream.session.end.took(stream.id, stream.total)
    stream.expect(words).expect_end(LinkReason.SYSTEM_SHUTDOWN)


def test_last_words_that_never_get_credit_are_given_up(make_edge: MakeEdge, make_link_server: MakeLinkServer) -> None:
    server = make_link_server(window_bytes=4096)
    edge = make_edge(server, limits=Limits(close_seconds=0.2))
    client, stream = opened(edge, server)
    stream.taking = False
    client.send(b"<message>%b</message>" % (b"x" * 9000))
    edge.until(lambda: link_count(edge, LinkSlot.LI_CREDIT_WAITS) == 1, "a wait for credit")
    edge.only().finish("system-shutdown", Reason.SYSTEM_SHUTDOWN)
    edge.until(lambda: stream.ended is not None, "the end of the stream")
    assert len(stream.received) <= 4096


def test_optional_starttls_opens_two_streams_in_turn(
    make_edge: MakeEdge, link_server: LinkServer, certificates: CertificateChoice, trusting_context: ssl.SSLContext
) -> None:
    edge = make_edge(link_server)
    client = edge.connect(edge.listen("starttls", starttls_required=False, certificates=certificates)).send(HEADER)
    clear = link_server.stream(0).expect(HEADER).send(ANSWER + FEATURES)
    client.expect(ANSWER).expect_through(b"</stream:features>")
    client.send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    client.expect_through(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
    clear.expect_end(LinkReason.CONNECTION_LOST)
    client.start_tls(trusting_context).send(HEADER)
    covered = link_server.stream(1).expect(HEADER)
    assert (clear.facts.transport, covered.facts.transport) == (1, 3)


def test_an_idle_stream_costs_less_than_a_socket() -> None:
    assert stream_bytes() < 350

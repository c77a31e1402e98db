"""Admission to links: a server that lags gets no more than it answers, and clients that return go first."""

import ssl

import pytest

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import AdmissionSlot, Board, Reason
from megaphone.sockets.tls_contexts import CertificateChoice
from megaphone.wire.link import LinkReason
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import ANSWER, HEADER, MESSAGE
from tests.unit.edge.edge_under_test import EdgeUnderTest
from tests.unit.uplink.link_server import LinkServer

RESUME = b"<resume xmlns='urn:xmpp:sm:3' h='0' previd='x'/>"


def admission(edge: EdgeUnderTest, slot: AdmissionSlot) -> int:
    return edge.board.get(Board.admission_slot(0, slot))


def waiting(edge: EdgeUnderTest, count: int) -> None:
    edge.until(lambda: admission(edge, AdmissionSlot.AD_WAITING) == count, f"{count} that wait")


def test_no_more_streams_are_opened_than_the_server_answers(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server, upstream={"opening_streams": 3})
    edge.until(lambda: edge.pool.upstreams[0].healthy and edge.changes == [""], "links")
    address = edge.listen()
    clients = [edge.connect(address).send(HEADER) for _ in range(8)]
    waiting(edge, 5)
    edge.until(lambda: len(link_server.streams) == 3, "three streams")
    assert admission(edge, AdmissionSlot.AD_OPENING) == 3
    for number in range(8):
        link_server.stream(number).expect(HEADER).send(ANSWER)
        assert len(link_server.streams) <= 3 + number + 1
    for client in clients:
        client.expect(ANSWER)
    assert (admission(edge, AdmissionSlot.AD_WAITED), admission(edge, AdmissionSlot.AD_RETURNING)) == (5, 0)
    assert admission(edge, AdmissionSlot.AD_WAITED_NS) > 0
    answers = [edge.board.get(Board.admission_slot(0, AdmissionSlot.AD_ANSWER_BUCKETS) + place) for place in range(7)]
    assert sum(answers) == 8
    assert admission(edge, AdmissionSlot.AD_ANSWER_NS) > 0


def test_those_with_a_resumption_among_their_first_bytes_go_first(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server, upstream={"opening_streams": 1})
    address = edge.listen()
    edge.connect(address).send(HEADER)
    first = link_server.stream(0).expect(HEADER)
    new = [edge.connect(address).send(HEADER + MESSAGE) for _ in range(3)]
    waiting(edge, 3)
    edge.connect(address).send(HEADER + RESUME)
    waiting(edge, 4)
    edge.until(lambda: admission(edge, AdmissionSlot.AD_RETURNING) == 1, "one that returns")
    first.send(ANSWER)
    link_server.stream(1).expect(HEADER + RESUME).send(ANSWER)
    for number in range(2, 5):
        link_server.stream(number).expect(HEADER + MESSAGE).send(ANSWER)
    for client in new:
        client.expect(ANSWER)


def test_those_with_a_tls_ticket_go_first(
    make_edge: MakeEdge, link_server: LinkServer, certificates: CertificateChoice, trusting_context: ssl.SSLContext
) -> None:
    edge = make_edge(link_server, upstream={"opening_streams": 1})
    address = edge.listen("direct", certificates=certificates)
    known = edge.connect(address).start_tls(trusting_context).send(HEADER)
    first = link_server.stream(0).expect(HEADER).send(ANSWER)
    known.expect(ANSWER)
    session = known.take_tickets()
    edge.connect(address).start_tls(trusting_context).send(HEADER)
    second = link_server.stream(1).expect(HEADER)
    edge.connect(address).start_tls(trusting_context).send(HEADER)
    waiting(edge, 1)
    edge.connect(address).start_tls(trusting_context, session=session).send(HEADER + MESSAGE)
    waiting(edge, 2)
    second.send(ANSWER)
    link_server.stream(2).expect(HEADER + MESSAGE)
    assert first.ended is None


def test_a_client_that_leaves_while_it_waits_is_forgotten(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server, upstream={"opening_streams": 1})
    address = edge.listen()
    edge.connect(address).send(HEADER)
    first = link_server.stream(0).expect(HEADER)
    leaving = edge.connect(address).send(HEADER)
    edge.connect(address).send(HEADER + MESSAGE)
    waiting(edge, 2)
    leaving.abort()
    waiting(edge, 1)
    first.send(ANSWER)
    link_server.stream(1).expect(HEADER + MESSAGE)
    assert edge.reasons() == [Reason.CLIENT_RESET]


def test_clients_that_do_not_wait_cannot_push_more_streams_at_a_server_that_lags(
    make_edge: MakeEdge, link_server: LinkServer
) -> None:
    """A stream that ended unanswered counts until the server has said that it is rid of it."""
    edge = make_edge(link_server, upstream={"opening_streams": 2, "links": 1})
    address = edge.listen()
    hasty = [edge.connect(address).send(HEADER) for _ in range(2)]
    edge.until(lambda: len(link_server.streams) == 2, "two streams")
    link_server.deaf = True
    edge.connect(address).send(HEADER)
    for client in hasty:
        client.abort()
    edge.until(lambda: len(edge.closed) == 2, "two that left")
    for _ in range(20):
        edge.step()
    assert admission(edge, AdmissionSlot.AD_OPENING) == 0
    assert admission(edge, AdmissionSlot.AD_WAITING) == 1
    link_server.deaf = False
    link_server.stream(2).expect(HEADER)


def test_a_stream_that_the_server_refuses_makes_room(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server, upstream={"opening_streams": 1})
    address = edge.listen()
    refused = edge.connect(address).send(HEADER)
    stream = link_server.stream(0).expect(HEADER)
    edge.connect(address).send(HEADER + MESSAGE)
    waiting(edge, 1)
    stream.close(LinkReason.RESOURCE_CONSTRAINT)
    refused.expect_error("resource-constraint", header=True)
    link_server.stream(1).expect(HEADER + MESSAGE)


def test_without_a_link_streams_wait_and_are_told_in_time(make_edge: MakeEdge, link_server: LinkServer) -> None:
    link_server.closed_for_new = True
    edge = make_edge(link_server, limits=Limits(connect_seconds=0.5))
    address = edge.listen()
    edge.connect(address).send(HEADER).expect_error("remote-connection-failed", header=True).close()
    edge.wait_closed(Reason.REMOTE_CONNECTION_FAILED)
    patient = edge.connect(address).send(HEADER)
    waiting(edge, 1)
    link_server.closed_for_new = False
    link_server.stream().expect(HEADER).send(ANSWER)
    patient.expect(ANSWER)


def test_the_servers_limit_of_streams_is_kept(make_edge: MakeEdge, link_server: LinkServer) -> None:
    link_server.settings = {"streams_limit": 2}
    edge = make_edge(link_server, upstream={"links": 1})
    address = edge.listen()
    clients = [edge.connect(address).send(HEADER) for _ in range(3)]
    streams = [link_server.stream(number).expect(HEADER).send(ANSWER) for number in range(2)]
    waiting(edge, 1)
    clients[0].expect(ANSWER).abort()
    edge.until(lambda: streams[0].ended is not None or streams[1].ended is not None, "the end of a stream")
    link_server.stream(2).expect(HEADER)


@pytest.mark.parametrize("how", ["abort", "finish"])
def test_a_broken_link_does_not_count_its_clients_twice(make_edge: MakeEdge, link_server: LinkServer, how: str) -> None:
    edge = make_edge(link_server, upstream={"opening_streams": 2, "links": 1})
    address = edge.listen()
    clients = [edge.connect(address).send(HEADER) for _ in range(2)]
    edge.until(lambda: len(link_server.streams) == 2, "two streams")
    link_server.break_all()
    for client in clients:
        getattr(client, how)()
    edge.until(lambda: len(edge.closed) == 2, "two that left")
    edge.connect(address).send(HEADER + MESSAGE)
    link_server.stream(2).expect(HEADER + MESSAGE)
    assert admission(edge, AdmissionSlot.AD_OPENING) == 1

"""The direct uplink on sockets: fail-over without loss, limits, source addresses, and clients that do not wait."""

import os
import socket
from pathlib import Path

import pytest

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Reason, Slot, UpstreamSlot
from megaphone.uplink.direct import stream_bytes
from megaphone.uplink.uplink import TIME_BUCKETS_SECONDS
from tests.unit.edge.conftest import MakeEdge, MakeServer
from tests.unit.edge.dialogue import ANSWER, AUTH, FEATURES, HEADER, MESSAGE, connect_through, logged_in, open_stream
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer

PROXIED = {"proxy_protocol": True}


@pytest.fixture
def nowhere() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"127.0.0.1:{listening.getsockname()[1]}"


class FullServer(ScriptedServer):
    """A server whose queue is full: the kernel drops what wants to connect until `take_all`."""

    def __init__(self) -> None:
        super().__init__(backlog=0)
        self.waiting = [socket.socket() for _ in range(2)]
        for sock in self.waiting:
            sock.setblocking(False)
            sock.connect_ex(self.socket.getsockname())

    def close(self) -> None:
        for sock in self.waiting:
            sock.close()
        super().close()


def failures(edge: EdgeUnderTest, upstream: int = 0) -> int:
    return edge.upstream_count(UpstreamSlot.UP_CONNECT_FAILURES, upstream)


# --- fail-over ---


@pytest.mark.parametrize("first", ["nowhere", "no path", "full"])
def test_fail_over_loses_nothing_and_puts_the_proxy_header_first(
    make_edge: MakeEdge, server: ScriptedServer, nowhere: str, tmp_path: Path, first: str
) -> None:
    full = FullServer()
    addresses = {"nowhere": nowhere, "no path": f"unix:{tmp_path}/none.sock", "full": full.address}
    edge = make_edge(addresses[first], server, limits=Limits(connect_seconds=0.3), upstream=PROXIED)
    client = edge.connect(edge.listen()).send(HEADER + AUTH)
    client.send(MESSAGE).send(MESSAGE)
    upstream = server.accept()
    parsed = upstream.expect_proxy_header()
    assert parsed.source == client.socket.getsockname()
    upstream.expect(HEADER + AUTH + MESSAGE * 2)
    assert len(upstream.reads) == 1 or first != "full", "all that had waited leaves in one write"
    upstream.send(ANSWER + FEATURES)
    client.expect(ANSWER + FEATURES)
    (connection,) = edge.dispatcher.connections()
    assert connection.describe()["upstream"] == "u1"
    assert failures(edge) == 1
    assert edge.upstream_count(UpstreamSlot.UP_CONNECTS, 1) == 1
    assert [edge.upstream_count(UpstreamSlot.UP_OPEN, index) for index in (0, 1)] == [0, 1]
    full.close()


def test_fail_over_with_a_full_mailbox_goes_on_reading(make_edge: MakeEdge, server: ScriptedServer) -> None:
    full = FullServer()
    edge = make_edge(full.address, server, limits=Limits(connect_seconds=0.3, mailbox_bytes=1000))
    client = edge.connect(edge.listen()).send(HEADER)
    client.send(MESSAGE * 50)
    edge.until(lambda: edge.count(Slot.BYTES_IN) == len(HEADER + MESSAGE * 50), "a full mailbox")
    client.send(MESSAGE * 50)
    upstream = server.accept()
    upstream.expect(HEADER + MESSAGE * 100)
    full.close()


def test_an_upstream_that_answers_in_time_is_not_left(make_edge: MakeEdge, server: ScriptedServer) -> None:
    """The time is for connecting; what the server then does with it is its own affair."""
    edge = make_edge(server, limits=Limits(connect_seconds=0.1))
    client = edge.connect(edge.listen()).send(HEADER)
    upstream = server.accept()
    upstream.expect(HEADER)
    end = edge.poller_ticks() + 5
    edge.until(lambda: edge.poller_ticks() > end, "more than the time for connecting")
    upstream.send(ANSWER)
    client.expect(ANSWER)


@pytest.mark.parametrize("count", [1, 3])
def test_when_all_fail_the_client_is_told(make_edge: MakeEdge, nowhere: str, count: int) -> None:
    edge = make_edge(*[nowhere] * count)
    edge.connect(edge.listen()).send(HEADER).expect_error("remote-connection-failed", header=True).close()
    edge.wait_closed(Reason.REMOTE_CONNECTION_FAILED)
    assert [failures(edge, index) for index in range(count)] == [1] * count


def test_a_silent_upstream_is_not_waited_for_forever(make_edge: MakeEdge) -> None:
    full = FullServer()
    edge = make_edge(full.address, limits=Limits(connect_seconds=0.2))
    edge.connect(edge.listen()).send(HEADER).expect_error("remote-connection-failed", header=True).close()
    edge.wait_closed(Reason.REMOTE_CONNECTION_FAILED)
    full.close()


def test_unhealthy_upstreams_are_passed_over(make_edge: MakeEdge, server: ScriptedServer, nowhere: str) -> None:
    edge = make_edge(nowhere, server)
    edge.pool.mark(edge.pool.upstreams[0], healthy=False)
    connect_through(edge, server)
    assert failures(edge) == 0
    edge.pool.mark(edge.pool.upstreams[1], healthy=False)
    edge.connect(edge.listen()).send(HEADER).expect_error("remote-connection-failed", header=True)


# --- Unix sockets ---


def test_a_unix_socket_is_an_upstream(make_edge: MakeEdge, make_server: MakeServer, tmp_path: Path) -> None:
    server = make_server(tmp_path / "xmpp.sock")
    edge = make_edge(server, upstream=PROXIED)
    client = edge.connect(edge.listen()).send(HEADER)
    upstream = server.accept()
    assert upstream.expect_proxy_header().source == client.socket.getsockname()
    upstream.expect(HEADER).send(ANSWER)
    client.expect(ANSWER).close()
    upstream.expect_end()


def test_a_unix_socket_whose_queue_is_full_is_tried_again(
    make_edge: MakeEdge, make_server: MakeServer, tmp_path: Path
) -> None:
    """connect(2) on a Unix socket says EAGAIN instead of waiting; a burst of clients must not fail for that."""
    server = make_server(tmp_path / "xmpp.sock", backlog=1)
    edge = make_edge(server, limits=Limits(connect_seconds=5.0))
    address = edge.listen()
    clients = [edge.connect(address).send(HEADER) for _ in range(6)]
    edge.until(lambda: edge.gauges() == {"OPEN_CONNECTING": 6}, "all of them connecting")
    for _ in clients:
        upstream = server.accept()
        upstream.expect(HEADER).send(ANSWER)
    for client in clients:
        client.expect(ANSWER)
    assert failures(edge) == 0


# --- choice and limits ---


def test_the_upstream_with_fewest_connections_is_next(make_edge: MakeEdge, make_server: MakeServer) -> None:
    servers = [make_server() for _ in range(3)]
    edge = make_edge(*servers)
    address = edge.listen()
    ends = []
    for server in servers * 2:
        client = edge.connect(address)
        ends.append((client, open_stream(edge, server, client)))
    client, upstream = ends[4]
    client.close()
    upstream.expect_end().close()
    edge.until(lambda: edge.upstream_count(UpstreamSlot.UP_OPEN, 1) == 1, "one less")
    open_stream(edge, servers[1], edge.connect(address))


def test_beyond_all_limits_a_client_is_told_so(make_edge: MakeEdge, make_server: MakeServer) -> None:
    servers = [make_server() for _ in range(2)]
    edge = make_edge(*servers, upstream={"max_connections": 1})
    address = edge.listen()
    clients = [edge.connect(address) for _ in servers]
    upstreams = [open_stream(edge, server, client) for server, client in zip(servers, clients, strict=True)]
    edge.connect(address).send(HEADER).expect_error("resource-constraint", header=True).close()
    edge.wait_closed(Reason.RESOURCE_CONSTRAINT)
    assert [edge.upstream_count(UpstreamSlot.UP_REFUSED_FULL, index) for index in (0, 1)] == [2, 1]
    clients[1].close()
    upstreams[1].expect_end().close()
    edge.until(lambda: edge.upstream_count(UpstreamSlot.UP_OPEN, 1) == 0, "room")
    open_stream(edge, servers[1], edge.connect(address))


def test_a_full_upstream_and_a_dead_one_are_a_resource_constraint(
    make_edge: MakeEdge, server: ScriptedServer, nowhere: str
) -> None:
    edge = make_edge(server, nowhere, upstream={"max_connections": 1})
    address = edge.listen()
    open_stream(edge, server, edge.connect(address))
    edge.connect(address).send(HEADER).expect_error("resource-constraint", header=True).close()
    edge.wait_closed(Reason.RESOURCE_CONSTRAINT)


def test_source_addresses_are_used_in_turn(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, upstream={"source_addresses": ("127.0.0.32/30", "127.0.0.40")})
    address = edge.listen()
    sources = [open_stream(edge, server, edge.connect(address)).socket.getpeername()[0] for _ in range(6)]
    assert sorted(sources[:3]) == ["127.0.0.33", "127.0.0.34", "127.0.0.40"]
    assert sources[3:] == sources[:3]


def test_source_addresses_that_this_machine_has_not_are_passed_over(
    make_edge: MakeEdge, server: ScriptedServer
) -> None:
    edge = make_edge(server, upstream={"source_addresses": ("203.0.113.1", "203.0.113.2", "127.0.0.40")})
    address = edge.listen()
    for _ in range(4):
        assert open_stream(edge, server, edge.connect(address)).socket.getpeername()[0] == "127.0.0.40"
    assert failures(edge) == 0


def test_without_a_usable_source_address_the_upstream_fails(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, upstream={"source_addresses": ("203.0.113.1",)})
    edge.connect(edge.listen()).send(HEADER).expect_error("remote-connection-failed", header=True)
    assert failures(edge) == 1
    server.expect_no_connection()


# --- clients that do not wait ---


def test_a_client_that_ends_while_connecting_is_still_heard(make_edge: MakeEdge, server: ScriptedServer) -> None:
    full = FullServer()
    edge = make_edge(full.address, server, limits=Limits(connect_seconds=0.3), upstream=PROXIED)
    client = edge.connect(edge.listen()).send(HEADER + AUTH).finish()
    upstream = server.accept()
    upstream.expect_proxy_header()
    upstream.expect(HEADER + AUTH).expect_end().send(ANSWER).close()
    client.expect(ANSWER).expect_end()
    edge.wait_closed(Reason.CLIENT_CLOSED)
    full.close()


def test_a_client_that_resets_while_connecting_is_forgotten(make_edge: MakeEdge) -> None:
    full = FullServer()
    edge = make_edge(full.address)
    client = edge.connect(edge.listen()).send(HEADER)
    edge.until(lambda: edge.upstream_count(UpstreamSlot.UP_OPEN) == 1, "an attempt")
    client.abort()
    edge.wait_closed(Reason.CLIENT_RESET)
    assert edge.upstream_count(UpstreamSlot.UP_OPEN) == 0
    full.close()


def test_an_end_while_connecting_has_a_header_of_our_own(make_edge: MakeEdge) -> None:
    full = FullServer()
    edge = make_edge(full.address)
    client = edge.connect(edge.listen()).send(HEADER)
    edge.until(lambda: edge.gauges() == {"OPEN_CONNECTING": 1}, "an attempt")
    (connection,) = edge.dispatcher.connections()
    connection.finish("system-shutdown", Reason.SYSTEM_SHUTDOWN)
    client.expect_error("system-shutdown", header=True).close()
    edge.wait_closed(Reason.SYSTEM_SHUTDOWN)
    assert edge.upstream_count(UpstreamSlot.UP_OPEN) == 0
    full.close()


# --- counting ---


def test_connects_are_counted_with_their_time(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    address = edge.listen()
    for _ in range(5):
        open_stream(edge, server, edge.connect(address))
    first = edge.board.upstream_slot(0, UpstreamSlot.UP_CONNECT_BUCKETS)
    buckets = [edge.board.get(first + index) for index in range(len(TIME_BUCKETS_SECONDS) + 1)]
    assert edge.upstream_count(UpstreamSlot.UP_CONNECTS) == sum(buckets) == 5
    assert 0 < edge.upstream_count(UpstreamSlot.UP_CONNECT_NS) < 5_000_000_000
    assert TIME_BUCKETS_SECONDS == (0.001, 0.005, 0.025, 0.1, 0.5, 2.5)


def test_an_idle_stream_costs_what_the_brief_allows() -> None:
    assert stream_bytes() < 1000


def test_a_server_that_sends_megabytes_and_dies_is_heard_to_the_end(
    make_edge: MakeEdge, server: ScriptedServer
) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    data = b"<message>" + os.urandom(2_500_000).hex().encode() + b"</message>"
    upstream.queue(data)
    edge.until(lambda: not upstream.unsent, "all of it sent")
    upstream.close()
    client.expect(data).expect_error("remote-connection-failed")

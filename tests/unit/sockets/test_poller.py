"""The poller under a loop: turns come when there is a reason for one, and only then."""

import fcntl
import os
import socket

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Reason
from megaphone.sockets.poller import Poller
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import HEADER, MESSAGE, connect_through
from tests.unit.edge.edge_under_test import ScriptedServer


def test_a_turn_never_waits() -> None:
    poller = Poller()
    for turn in range(3):
        assert poller.turns == turn
        poller.turn()
    assert poller.events == 0


def test_its_descriptor_is_not_for_children() -> None:
    assert fcntl.fcntl(Poller().fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def test_its_descriptor_goes_with_it() -> None:
    poller = Poller()
    descriptor = poller.fd
    del poller
    assert not os.path.lexists(f"/proc/self/fd/{descriptor}")


def test_nothing_to_do_is_no_turn(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    connect_through(edge, server)
    edge.until(lambda: not edge.woken, "rest")
    edge.turn()
    turns = edge.poller.turns
    for _ in range(50):
        edge.turn()
    assert edge.poller.turns == turns


def test_what_is_said_outside_a_turn_wakes_the_loop_once(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    clients = [connect_through(edge, server)[0] for _ in range(3)]
    edge.until(lambda: not edge.woken, "rest")
    turns = edge.poller.turns
    for connection in edge.dispatcher.connections():
        connection.finish("policy-violation", Reason.KICKED)
    assert edge.woken
    edge.turn()
    assert edge.poller.turns == turns + 1, "one turn for all of them"
    for client in clients:
        client.expect_error("policy-violation")


def test_many_small_writes_of_a_turn_leave_in_one_segment(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = connect_through(edge, server)
    client.reads.clear()
    upstream.reads.clear()
    client.socket.send(MESSAGE * 100)
    upstream.socket.send(MESSAGE * 100)
    edge.turn(1.0)
    client.expect(MESSAGE * 100)
    upstream.expect(MESSAGE * 100)
    assert (len(client.reads), len(upstream.reads)) == (1, 1)


def test_one_busy_connection_does_not_keep_the_others_waiting(make_edge: MakeEdge, server: ScriptedServer) -> None:
    fast = Limits(bytes_per_second=10**9, bytes_burst=10**9, stanza_bytes=10**9, preauth_bytes=10**9)
    edge = make_edge(server, limits=fast)
    busy, _ = connect_through(edge, server)
    other, other_upstream = connect_through(edge, server)
    busy.queue(b"<message>" + b"x" * 20_000_000)
    edge.step()
    turns = edge.poller.turns
    other.socket.send(MESSAGE)
    other_upstream.expect(MESSAGE)
    assert edge.poller.turns - turns < 10
    assert busy.unsent


def test_an_event_of_a_closed_socket_is_not_for_its_successor(make_edge: MakeEdge, server: ScriptedServer) -> None:
    """Descriptors are used again at once: whoever has the old number must not get the old one's events."""
    edge = make_edge(server, limits=Limits(accepts_per_second_per_address=10_000), capacity=200)
    address = edge.listen()
    for _ in range(30):
        old = [edge.connect(address) for _ in range(5)]
        edge.until(lambda: edge.dispatcher.open_connections == 5, "the old ones")
        new = []
        for client in old:
            client.queue(HEADER).abort()  # a read and a reset in one turn
            new.append(socket.create_connection(address))
        edge.until(lambda: len(edge.closed) == 5, "their ends")
        assert set(edge.reasons()) == {Reason.CLIENT_RESET}
        for sock in new:
            sock.close()
        edge.until(lambda: edge.dispatcher.open_connections == 0, "the ends of the new ones")
        edge.closed.clear()

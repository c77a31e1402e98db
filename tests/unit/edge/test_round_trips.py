"""The kernel's round trips of clients: of one connection, and of some spread evenly over all of them."""

import pytest

from megaphone.edge.round_trips import round_trip_seconds, sample_round_trips
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer

CLIENTS = 30


@pytest.fixture
def clients(make_edge: MakeEdge, server: ScriptedServer) -> EdgeUnderTest:
    """An edge with so many clients that say nothing."""
    edge = make_edge(server)
    address = edge.listen()
    for number in range(CLIENTS):
        edge.connect(address)
        edge.until(lambda wanted=number + 1: edge.dispatcher.open_connections == wanted, "a client")
    return edge


def measured(edge: EdgeUnderTest) -> list[int]:
    """The round trip of each connection in microseconds; while nobody says anything they stay what they are."""
    found = [round_trip_seconds(connection) for connection in edge.dispatcher.connections()]
    assert all(each is not None for each in found)
    return [round(each * 1e6) for each in found if each is not None]


def test_round_trips_over_loopback_are_sane(clients: EdgeUnderTest) -> None:
    assert all(0 < each < 1_000_000 for each in measured(clients))


@pytest.mark.parametrize(("limit", "step"), [(7, 5), (15, 2), (29, 2), (30, 1), (256, 1), (1, 30)])
def test_every_so_many_th_connection_is_looked_at_and_all_of_them_in_turn(
    clients: EdgeUnderTest, limit: int, step: int
) -> None:
    all_of_them = measured(clients)
    for turn in range(2 * step):
        found = sample_round_trips(clients.dispatcher, limit, turn)
        assert found == all_of_them[turn % step :: step]
        assert len(found) <= limit


def test_gaps_in_the_table_do_not_count(clients: EdgeUnderTest) -> None:
    for peer in clients.peers[1::3]:
        peer.abort()
    clients.until(lambda: clients.dispatcher.open_connections == 20, "the end of a third of them")
    assert sample_round_trips(clients.dispatcher, 10, 1) == measured(clients)[1::2]


def test_whoever_has_no_socket_has_no_round_trip(clients: EdgeUnderTest) -> None:
    connection = clients.dispatcher.connections()[0]
    assert round_trip_seconds(connection) is not None
    clients.peers[0].abort()
    clients.until(lambda: clients.closed, "its end")
    assert round_trip_seconds(connection) is None
    assert round_trip_seconds(object()) is None
    assert round_trip_seconds(None) is None


def test_nobody_is_there_or_is_to_be_looked_at(
    clients: EdgeUnderTest, make_edge: MakeEdge, server: ScriptedServer
) -> None:
    assert sample_round_trips(clients.dispatcher, 0, 3) == []
    assert sample_round_trips(make_edge(server).dispatcher, 256, 3) == []

"""The registry: ids that are never given twice, slots that are, and what is found by them."""

import pytest

from megaphone.config.schema import Limits
from megaphone.dispatch.dispatcher import Connection, Dispatcher
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import open_stream
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer

SLOT_BITS, GENERATION_BITS = 22, 32


def parts(connection_id: int) -> tuple[int, int, int]:
    """Worker, generation and slot of an id."""
    return (
        connection_id >> (SLOT_BITS + GENERATION_BITS),
        connection_id >> SLOT_BITS & (1 << GENERATION_BITS) - 1,
        connection_id & (1 << SLOT_BITS) - 1,
    )


def connect(edge: EdgeUnderTest, address: tuple[str, int], count: int) -> list[Connection]:
    before = edge.dispatcher.open_connections
    for _ in range(count):
        edge.connect(address)
    edge.until(lambda: edge.dispatcher.open_connections == before + count, "the connections")
    connections: list[Connection] = edge.dispatcher.connections()
    return connections


@pytest.mark.parametrize(("worker", "capacity"), [(1024, 1), (0, 0), (0, 1 << 22)])
def test_what_does_not_fit_an_id_is_refused(worker: int, capacity: int) -> None:
    with pytest.raises(ValueError, match=r"worker must be 0\.\.1023 and capacity 1\.\.4194303"):
        Dispatcher(worker, capacity)


def test_the_largest_registry() -> None:
    dispatcher = Dispatcher(1023, (1 << 22) - 1, 7)
    assert (dispatcher.capacity, dispatcher.generation, dispatcher.open_connections) == ((1 << 22) - 1, 7, 0)


def test_an_id_says_worker_generation_and_slot(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, worker=3, workers=4, capacity=10)
    connections = connect(edge, edge.listen(), 4)
    assert [parts(connection.id) for connection in connections] == [(3, 1 + slot, slot) for slot in range(4)]
    assert edge.dispatcher.generation == 5
    assert [connection.describe()["id"] for connection in connections] == [f"{each.id:016x}" for each in connections]
    assert {connection.describe()["worker"] for connection in connections} == {3}


def test_a_slot_is_used_again_under_another_id(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, capacity=1, limits=Limits(accepts_per_second_per_address=1000))
    address = edge.listen()
    gone: list[int] = []
    for generation in range(1, 30):
        (connection,) = connect(edge, address, 1)
        assert parts(connection.id) == (0, generation, 0)
        assert edge.dispatcher.connection(connection.id) is connection
        assert [edge.dispatcher.connection(each) for each in gone] == [None] * len(gone)
        gone.append(connection.id)
        edge.peers.pop().abort()
        edge.until(lambda: not edge.dispatcher.open_connections, "the end")


@pytest.mark.parametrize("nonsense", [0, 1, (1 << 22) - 1, (1 << 64) - 1])
def test_an_id_that_is_none_finds_nothing(make_edge: MakeEdge, server: ScriptedServer, nonsense: int) -> None:
    edge = make_edge(server)
    connect(edge, edge.listen(), 2)
    assert edge.dispatcher.connection(nonsense) is None


def test_ids_of_another_worker_find_nothing(make_edge: MakeEdge, server: ScriptedServer) -> None:
    ours = make_edge(server, worker=0, workers=2)
    theirs = make_edge(server, worker=1, workers=2)
    (connection,) = connect(theirs, theirs.listen(), 1)
    connect(ours, ours.listen(), 1)
    assert ours.dispatcher.connection(connection.id) is None


def test_a_connection_that_somebody_holds_is_harmless_after_its_end(
    make_edge: MakeEdge, server: ScriptedServer
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen())
    open_stream(edge, server, client)
    (connection,) = edge.dispatcher.connections()
    client.abort()
    edge.until(lambda: not edge.dispatcher.open_connections, "the end")
    assert connection.closing
    assert connection.describe()["state"] == "closed"
    connection.finish("policy-violation", 0)
    connection.say(b"nobody hears this")
    assert connection.local_endpoint() == ("0.0.0.0", 0)
    assert connection.tls is None

"""Admission: how many connections an address, a prefix and everybody may open, on one worker and on several."""

import socket

import pytest

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Reason, Slot
from megaphone.edge.admission import Admission
from megaphone.edge.sketch import sketch_bytes
from megaphone.sockets.client_address import address_bytes, address_text, in_networks, network_matcher, prefix_of
from megaphone.sockets.tls_contexts import CertificateChoice
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import HEADER, MESSAGE, open_stream
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer
from tests.unit.edge.peer import Peer


def connect_some(edge: EdgeUnderTest, address: tuple[str, int], sources: list[str]) -> list[Peer]:
    before = edge.count(Slot.ACCEPTED)
    clients = connect_at_once(edge, address, sources)
    edge.until(lambda: edge.count(Slot.ACCEPTED) == before + len(sources), "all accepted")
    return clients


def connect_at_once(edge: EdgeUnderTest, address: tuple[str, int], sources: list[str]) -> list[Peer]:
    """Clients of these addresses, none of which is accepted yet: one turn is to accept all, whatever the clock says."""
    return [edge.connect(address, source=source) for source in sources]


@pytest.mark.parametrize(
    ("limits", "sources", "reason"),
    [
        (Limits(connections_per_address=3), ["127.0.0.5"] * 3, Reason.ADDRESS_LIMIT),
        (Limits(connections_per_prefix=3), ["127.0.0.5", "127.0.0.6", "127.0.0.7"], Reason.PREFIX_LIMIT),
        (Limits(accepts_per_second_per_address=3), ["127.0.0.5"] * 3, Reason.ADDRESS_RATE),
        (Limits(accepts_per_second=3), ["127.0.1.5", "127.0.2.5", "127.0.3.5"], Reason.TOTAL_RATE),
    ],
)
def test_one_more_than_allowed_is_told_so(
    make_edge: MakeEdge, server: ScriptedServer, limits: Limits, sources: list[str], reason: Reason
) -> None:
    edge = make_edge(server, limits=limits)
    address = edge.listen()
    *clients, refused = connect_at_once(edge, address, [*sources, "127.0.0.5"])
    data = refused.send(HEADER).expect_through(b"</stream:stream>")
    assert data.startswith(b"<?xml version='1.0'?><stream:stream ")
    assert b"<stream:error><policy-violation " in data
    refused.expect_end().close()
    edge.wait_closed(reason)
    for client in clients:
        open_stream(edge, server, client).send(MESSAGE)
        client.expect(MESSAGE)


@pytest.mark.parametrize("limits", [Limits(connections_per_address=2), Limits(connections_per_prefix=2)])
def test_room_that_is_given_back_can_be_had_again(make_edge: MakeEdge, server: ScriptedServer, limits: Limits) -> None:
    edge = make_edge(server, limits=limits)
    address = edge.listen()
    for _ in range(3):
        first, second = connect_some(edge, address, ["127.0.0.5", "127.0.0.5"])
        refused = edge.connect(address, source="127.0.0.5")
        refused.expect_through(b"</stream:stream>")
        closed = len(edge.closed)
        for client in (refused, first, second):
            client.abort()
        edge.until(lambda closed=closed: len(edge.closed) == closed + 3, "their ends")
    assert edge.reasons().count(Reason.CLIENT_RESET) == 6


def test_other_addresses_and_prefixes_have_room_of_their_own(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(connections_per_address=1, connections_per_prefix=2))
    address = edge.listen()
    clients = connect_some(edge, address, ["127.0.0.5", "127.0.0.6", "127.0.1.5", "127.0.2.5"])
    for client in clients:
        open_stream(edge, server, client)
    edge.connect(address, source="127.0.0.7").expect_through(b"policy-violation")


def test_direct_tls_is_refused_without_a_word(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice
) -> None:
    edge = make_edge(server, limits=Limits(accepts_per_second_per_address=1))
    address = edge.listen("direct", certificates=certificates)
    connect_at_once(edge, address, ["127.0.0.5", "127.0.0.5"])[1].expect_end()


def test_trusted_networks_are_not_counted(make_edge: MakeEdge, server: ScriptedServer) -> None:
    limits = Limits(
        connections_per_address=1,
        connections_per_prefix=1,
        accepts_per_second_per_address=1,
        accepts_per_second=2,
        trusted_networks=("127.0.0.0/28",),
    )
    edge = make_edge(server, limits=limits)
    address = edge.listen()
    for client in connect_some(edge, address, ["127.0.0.5"] * 5):
        open_stream(edge, server, client)
    connect_at_once(edge, address, ["127.0.1.5", "127.0.1.5"])[1].expect_through(b"policy-violation")


def test_a_full_registry_takes_nobody(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, capacity=2)
    address = edge.listen()
    first, _ = connect_some(edge, address, ["127.0.0.5", "127.0.0.5"])
    third = edge.connect(address)
    edge.until(lambda: third.ended, "a refusal")
    assert edge.count(Slot.LIMIT_WORKER_CONNECTIONS) == 1
    assert edge.dispatcher.open_connections == 2
    first.abort()
    edge.wait_closed(Reason.CLIENT_RESET)
    connect_some(edge, address, ["127.0.0.5"])


def test_ipv6_counts_by_its_first_64_bits(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(connections_per_prefix=2))
    address = edge.listen(host="::1")
    clients = connect_some(edge, address, ["::1", "::1"])
    open_stream(edge, server, clients[0])
    assert next(iter(edge.dispatcher.connections())).describe()["address"] == "::1"
    edge.connect(address).expect_through(b"policy-violation")


def test_a_burst_beyond_one_turn_is_all_accepted(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, capacity=300, limits=Limits(accepts_per_second_per_address=1000))
    address = edge.listen()
    sockets = [socket.create_connection(address) for _ in range(250)]
    edge.until(lambda: edge.dispatcher.open_connections == 250, "all of them")
    for sock in sockets:
        sock.close()
    edge.until(lambda: edge.dispatcher.open_connections == 0, "their ends")


# --- workers of one node ---


def test_workers_count_together(make_edge: MakeEdge, server: ScriptedServer) -> None:
    memory = bytearray(sketch_bytes(2))
    limits = Limits(connections_per_address=3)
    edges = [make_edge(server, limits=limits, worker=worker, workers=2, sketch_memory=memory) for worker in (0, 1)]
    addresses = [edge.listen() for edge in edges]
    connect_some(edges[0], addresses[0], ["127.0.0.5", "127.0.0.5"])
    connect_some(edges[1], addresses[1], ["127.0.0.5"])
    refused = [edge.connect(address, source="127.0.0.5") for edge, address in zip(edges, addresses, strict=True)]
    for client in refused:
        client.expect_through(b"policy-violation")
    for edge in edges:
        for peer in edge.peers:
            peer.abort()
        edge.until(lambda edge=edge: not edge.dispatcher.open_connections, "their ends")


def test_a_successor_forgets_what_its_worker_had_open(make_edge: MakeEdge, server: ScriptedServer) -> None:
    memory = bytearray(sketch_bytes(2))
    limits = Limits(connections_per_address=2)
    edge = make_edge(server, limits=limits, worker=0, workers=2, sketch_memory=memory)
    other = make_edge(server, limits=limits, worker=1, workers=2, sketch_memory=memory)
    connect_some(edge, edge.listen(), ["127.0.0.5"])
    crashed = make_edge(server, limits=limits, worker=1, workers=2, sketch_memory=memory)
    assert other is not crashed
    address = crashed.listen()
    connect_some(crashed, address, ["127.0.0.5"])
    crashed.connect(address, source="127.0.0.5").expect_through(b"policy-violation")
    for each in (edge, crashed):
        for peer in each.peers:
            peer.abort()
        each.until(lambda each=each: not each.dispatcher.open_connections, "their ends")


# --- the parts ---


def test_networks_of_both_families() -> None:
    ranges = network_matcher(("192.0.2.0/24", "2001:db8::/32", "198.51.100.7"))
    for text, inside in [
        ("192.0.2.0", True),
        ("192.0.2.255", True),
        ("192.0.3.0", False),
        ("198.51.100.7", True),
        ("198.51.100.8", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("::ffff:192.0.2.9", True),
        ("::192.0.2.9", False),
    ]:
        assert in_networks(address_bytes(text), ranges) is inside, text
    assert not in_networks(address_bytes("192.0.2.1"), network_matcher(()))


def test_a_prefix_is_what_one_customer_has() -> None:
    assert prefix_of(address_bytes("192.0.2.9")) == prefix_of(address_bytes("192.0.2.200"))
    assert prefix_of(address_bytes("192.0.2.9")) != prefix_of(address_bytes("192.0.3.9"))
    assert prefix_of(address_bytes("2001:db8::1")) == prefix_of(address_bytes("2001:db8::ffff:0:0:1"))
    assert prefix_of(address_bytes("2001:db8::1")) != prefix_of(address_bytes("2001:db8:0:1::1"))


def test_addresses_are_written_as_people_do() -> None:
    for text in ("192.0.2.9", "2001:db8::1", "::1"):
        assert address_text(address_bytes(text)) == text


def test_new_limits_hold_for_new_connections(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    address = edge.listen()
    connect_some(edge, address, ["127.0.0.5"])
    admission: Admission = edge.clients.admission
    admission.apply(Limits(connections_per_address=1))
    edge.connect(address, source="127.0.0.5").expect_through(b"policy-violation")
    admission.apply(Limits(trusted_networks=("127.0.0.5",), connections_per_address=1))
    open_stream(edge, server, edge.connect(address, source="127.0.0.5"))

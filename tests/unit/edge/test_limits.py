"""The limits of one connection: time, bytes, shape of stanzas, rates; each with its answer and its count."""

import pytest

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Reason, Slot
from megaphone.edge.limits import ClientLimits
from megaphone.sockets.tls_contexts import CertificateChoice
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import AUTH, HEADER, MESSAGE, connect_through, log_in, logged_in
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer

TICK_SECONDS = 1 / 16


def wait_ticks(edge: EdgeUnderTest, ticks: int) -> None:
    """Lets that much time pass while everything runs."""
    end = edge.poller_ticks() + ticks
    edge.until(lambda: edge.poller_ticks() > end, "that time")


# --- time ---


@pytest.mark.parametrize("listening", ["none", "starttls"])
@pytest.mark.parametrize("said", [b"", HEADER[:20]])
def test_a_client_that_says_nothing_is_not_waited_for(
    make_edge: MakeEdge, server: ScriptedServer, listening: str, said: bytes
) -> None:
    edge = make_edge(server, limits=Limits(preauth_seconds=0.15))
    client = edge.connect(edge.listen(listening)).send(said)
    client.expect_error("connection-timeout", header=True).close()
    edge.wait_closed(Reason.PREAUTH_TIMEOUT)


def test_activity_before_authentication_wins_no_time(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = connect_through(edge, server)
    edge.clients.limits = ClientLimits(Limits(preauth_seconds=0.3))
    edge.until(lambda: client.queue(b" ").ended, "the end")
    client.expect_error("connection-timeout").close()
    edge.wait_closed(Reason.PREAUTH_TIMEOUT)
    upstream.expect_through(b" ")


def test_an_authenticated_client_has_all_the_time(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    edge.clients.limits = ClientLimits(Limits(preauth_seconds=0.1))
    wait_ticks(edge, 4)
    client.send(MESSAGE)
    upstream.expect(MESSAGE)


def test_idle_connections_end(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    edge.clients.limits = ClientLimits(Limits(idle_seconds=0.1))
    client.expect_error("connection-timeout").close()
    upstream.expect_end()
    edge.wait_closed(Reason.IDLE_TIMEOUT)


@pytest.mark.parametrize("speaker", ["client", "server"])
def test_a_connection_where_anybody_speaks_is_not_idle(
    make_edge: MakeEdge, server: ScriptedServer, speaker: str
) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    edge.clients.limits = ClientLimits(Limits(idle_seconds=2))
    for _ in range(5):
        wait_ticks(edge, 7)
        if speaker == "client":
            client.send(b" ")
            upstream.expect(b" ")
        else:
            upstream.send(b" ")
            client.expect(b" ")
    assert edge.gauges() == {"OPEN_AUTHENTICATED": 1}


# --- bytes before authentication ---


def test_the_byte_budget_before_there_is_a_server(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(preauth_bytes=1000))
    address = edge.listen()
    client = edge.connect(address).send(HEADER[:-1] + b" " * (1000 - len(HEADER)) + b">")
    server.accept().expect_through(b">")
    client = edge.connect(address).send(HEADER[:-1] + b" " * (1001 - len(HEADER)) + b">")
    client.expect_error("policy-violation", header=True).close()
    edge.wait_closed(Reason.POLICY_VIOLATION)
    assert edge.count(Slot.LIMIT_PREAUTH_BYTES) == 1
    server.expect_no_connection()


def test_the_byte_budget_with_a_server(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(preauth_bytes=1000))
    client, upstream = connect_through(edge, server)
    client.send(b" " * (1000 - len(HEADER)))
    upstream.expect(b" " * (1000 - len(HEADER)))
    client.send(b" ").expect_error("policy-violation").close()
    upstream.expect_end()
    edge.wait_closed(Reason.POLICY_VIOLATION)
    assert edge.count(Slot.LIMIT_PREAUTH_BYTES) == 1


def test_the_byte_budget_in_tls_counts_what_was_said_before_it(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice
) -> None:
    edge = make_edge(server, limits=Limits(preauth_bytes=1000))
    client = edge.connect(edge.listen("starttls", certificates=certificates))
    client.send(b" " * 900 + HEADER.removeprefix(b"<?xml version='1.0'?>"))
    client.expect_error("policy-violation", header=True)


def test_an_authenticated_client_has_no_byte_budget(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(preauth_bytes=1000))
    client, upstream = logged_in(edge, server)
    client.send(MESSAGE * 100)
    upstream.expect(MESSAGE * 100)


# --- the shape of stanzas ---


def stanza_of(size: int) -> bytes:
    return b"<message>%b</message>" % (b"x" * (size - 19))


SHAPES = {
    "size": (stanza_of(10_000), stanza_of(10_001), Slot.LIMIT_STANZA_BYTES),
    "depth": (b"<a><b><c/></b></a>", b"<a><b><c><d/></c></b></a>", Slot.LIMIT_DEPTH),
    "attributes": (b"<a b='' c='' d='' e=''/>", b"<a b='' c='' d='' e='' f=''/>", Slot.LIMIT_ATTRIBUTES),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("whole", [True, False])
def test_a_stanza_at_the_limit_passes_and_one_beyond_it_ends(
    make_edge: MakeEdge, server: ScriptedServer, shape: str, whole: bool
) -> None:
    at_limit, beyond, slot = SHAPES[shape]
    limits = Limits(stanza_bytes=10_000, element_depth=4, element_attributes=4)
    edge = make_edge(server, limits=limits)
    client, upstream = logged_in(edge, server)
    client.send(at_limit)
    upstream.expect(at_limit)
    if whole:
        client.send(MESSAGE + beyond)
        upstream.expect(MESSAGE).expect_end()
    else:
        client.send(MESSAGE + beyond[:8])
        upstream.expect(MESSAGE + beyond[:8])
        client.send(beyond[8:])
        upstream.expect_end()
    client.expect_error("policy-violation").close()
    edge.wait_closed(Reason.POLICY_VIOLATION)
    assert edge.count(slot) == 1


def test_a_lower_limit_holds_for_a_stanza_that_is_under_way(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(stanza_bytes=100_000))
    client, upstream = logged_in(edge, server)
    opened = b"<message><body>" + b"x" * 20_000
    client.send(opened)
    upstream.expect(opened)
    edge.clients.limits = ClientLimits(Limits(stanza_bytes=10_000))
    client.send(b"x").expect_error("policy-violation")
    assert edge.count(Slot.LIMIT_STANZA_BYTES) == 1


def test_a_header_has_the_limits_of_a_stanza(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(element_attributes=4))
    client = edge.connect(edge.listen())
    client.send(HEADER[:-1] + b" a='' b=''>").expect_error("policy-violation", header=True)
    assert edge.count(Slot.LIMIT_ATTRIBUTES) == 1


# --- rates ---


def test_over_its_stanza_rate_a_client_waits(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(stanzas_per_second=40, stanzas_burst=10))
    began = edge.poller_ticks()
    client, upstream = logged_in(edge, server)
    client.send(MESSAGE * 400)
    upstream.expect(MESSAGE * 400)  # one read is taken whole
    assert edge.count(Slot.THROTTLED) == edge.count(Slot.LIMIT_STANZA_RATE) == 1
    client.send(MESSAGE)
    upstream.expect_nothing()
    edge.clients.limits = ClientLimits(Limits(stanzas_per_second=400, stanzas_burst=10))
    upstream.expect(MESSAGE)
    waited = edge.poller_ticks() - began
    assert waited >= 16 * (400 - 10) / 400 - 1, "a debt of almost 400 stanzas at 400 a second"
    assert edge.count(Slot.THROTTLED) == edge.count(Slot.LIMIT_STANZA_RATE) == 1
    upstream.send(MESSAGE)
    client.expect(MESSAGE)


def test_over_its_byte_rate_a_client_waits(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(bytes_per_second=20_000, bytes_burst=2000))
    began = edge.poller_ticks()
    client, upstream = logged_in(edge, server)
    for _ in range(4):
        client.send(stanza_of(3000))
        upstream.expect(stanza_of(3000))
    ticks = edge.poller_ticks() - began
    assert ticks >= 16 * (12_000 - 2000 - 3000) / 20_000 - 1
    assert edge.count(Slot.LIMIT_BYTE_RATE) == edge.count(Slot.THROTTLED) > 0
    assert edge.count(Slot.LIMIT_STANZA_RATE) == 0


def test_a_client_that_waits_can_hang_up(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(stanzas_per_second=1, stanzas_burst=4))
    client, upstream = logged_in(edge, server)
    client.send(MESSAGE * 30)
    upstream.expect(MESSAGE * 30)
    client.abort()
    edge.wait_closed(Reason.CLIENT_RESET)
    upstream.expect_end()


def test_a_client_that_waits_can_be_ended(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(stanzas_per_second=1, stanzas_burst=4))
    client, upstream = logged_in(edge, server)
    client.send(MESSAGE * 30)
    upstream.expect(MESSAGE * 30)
    client.queue(MESSAGE * 1000)
    upstream.close()
    client.expect_error("remote-connection-failed").close()
    edge.wait_closed(Reason.REMOTE_CONNECTION_FAILED)


@pytest.mark.parametrize(
    ("limits", "slot"),
    [
        (Limits(over_rate="close", stanzas_per_second=1, stanzas_burst=10), Slot.LIMIT_STANZA_RATE),
        (Limits(over_rate="close", bytes_per_second=1, bytes_burst=2000), Slot.LIMIT_BYTE_RATE),
    ],
)
def test_over_its_rate_a_client_is_closed_where_that_is_configured(
    make_edge: MakeEdge, server: ScriptedServer, limits: Limits, slot: Slot
) -> None:
    edge = make_edge(server, limits=limits)
    client, upstream = logged_in(edge, server)
    client.send(MESSAGE * 60).expect_error("policy-violation").close()
    upstream.expect_end()
    edge.wait_closed(Reason.POLICY_VIOLATION)
    assert edge.count(slot) == 1
    assert edge.count(Slot.THROTTLED) == 0


def test_rates_hold_before_authentication_too(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(stanzas_per_second=1, stanzas_burst=2, over_rate="close"))
    client, _ = connect_through(edge, server)
    client.send(AUTH * 60).expect_error("policy-violation")


def test_new_limits_hold_for_connections_that_exist(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = connect_through(edge, server)
    log_in(client, upstream)
    edge.clients.limits = ClientLimits(Limits(idle_seconds=0.1))
    client.expect_error("connection-timeout").close()
    edge.wait_closed(Reason.IDLE_TIMEOUT)

"""Back-pressure: who does not read stops only who writes to it, at a limit, and not forever."""

import os
from pathlib import Path

import pytest

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Reason, Slot
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import MESSAGE, logged_in
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer
from tests.unit.edge.peer import Peer

READ_BYTES = 65_536  # sockets/poller.pxd: what one read may add beyond the limit
SMALL_BUFFERS = 8192
FOREVER_TICKS = 10**9
FAST = {"bytes_per_second": 10**9, "bytes_burst": 10**9, "stanzas_per_second": 10**8, "stanzas_burst": 10**8}


def mailbox_bytes(edge: EdgeUnderTest) -> int:
    edge.sweep()
    return edge.count(Slot.MAILBOX_BYTES)


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def settle(edge: EdgeUnderTest, writer: Peer) -> None:
    """Run until the writer cannot get rid of any more."""
    unsent, same = -1, 0
    while same < 30:
        edge.step()
        same = same + 1 if len(writer.unsent) == unsent else 0
        unsent = len(writer.unsent)


@pytest.mark.parametrize("limit", [1, 20_000, 262_144])
def test_a_client_that_does_not_read_stops_its_server_at_the_limit(
    make_edge: MakeEdge, server: ScriptedServer, limit: int
) -> None:
    edge = make_edge(server, limits=Limits(mailbox_bytes=limit, **FAST))
    client, upstream = logged_in(edge, server, buffers=SMALL_BUFFERS)
    client.reading = False
    data = b"<message>" + os.urandom(5_000_000).hex().encode() + b"</message>"
    upstream.queue(data)
    settle(edge, upstream)
    assert upstream.unsent
    assert limit // 2 < mailbox_bytes(edge) < limit + READ_BYTES  # at half of it the writer may go on
    assert edge.count(Slot.MAILBOX_FULL) >= 1
    client.reading = True
    client.expect(data)
    assert mailbox_bytes(edge) == 0
    upstream.send(MESSAGE)
    client.expect(MESSAGE)


def test_memory_of_a_burst_is_given_back(make_edge: MakeEdge, server: ScriptedServer) -> None:
    """What was needed in the last ten seconds is kept."""
    edge = make_edge(server, limits=Limits(mailbox_bytes=8_000_000, **FAST))
    client, upstream = logged_in(edge, server, buffers=SMALL_BUFFERS)
    chunks = edge.poller.chunks

    def burst(length: int) -> None:
        data = b"<message>" + b"x" * length + b"</message>"
        client.reading = False
        upstream.queue(data)
        settle(edge, upstream)
        assert mailbox_bytes(edge) > length // 2
        client.reading = True
        client.expect(data)

    def end_window() -> None:
        chunks.window_ticks = 0
        edge.sweep()
        chunks.window_ticks = FOREVER_TICKS

    def memory() -> int:
        for _ in range(10):  # each gives a part back
            edge.sweep()
        return edge.count(Slot.MAILBOX_MEMORY_BYTES)

    end_window()
    burst(6_000_000)
    end_window()
    assert 4_000_000 < memory() < 7_000_000
    burst(1_000_000)
    end_window()
    assert 500_000 < memory() < 1_500_000
    end_window()
    assert memory() == 0
    burst(6_000_000)
    end_window()
    before = resident_bytes()
    end_window()
    assert memory() == 0
    assert resident_bytes() < before - 3_000_000


def test_a_client_that_does_not_read_stops_nobody_else(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(mailbox_bytes=20_000, **FAST))
    slow, slow_upstream = logged_in(edge, server, buffers=SMALL_BUFFERS)
    other, other_upstream = logged_in(edge, server)
    slow.reading = False
    slow_upstream.queue(MESSAGE * 100_000)
    settle(edge, slow_upstream)
    for _ in range(10):
        other.send(MESSAGE)
        other_upstream.expect(MESSAGE).send(MESSAGE * 1000)
        other.expect(MESSAGE * 1000)
    # and itself it can still speak
    slow.send(MESSAGE)
    slow_upstream.expect(MESSAGE)


def test_a_server_that_does_not_read_stops_its_client_at_the_limit(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(mailbox_bytes=50_000, stanza_bytes=10**8, **FAST))
    client, upstream = logged_in(edge, server)
    upstream.reading = False
    data = b"<message>" + os.urandom(6_000_000).hex().encode() + b"</message>"
    client.queue(data)
    settle(edge, client)
    assert client.unsent
    assert 25_000 < mailbox_bytes(edge) < 50_000 + READ_BYTES
    upstream.send(MESSAGE)  # the other direction is open
    client.expect(MESSAGE)
    upstream.reading = True
    upstream.expect(data)
    assert mailbox_bytes(edge) == 0
    client.send(MESSAGE)
    upstream.expect(MESSAGE)


@pytest.mark.parametrize("buffers", [None, SMALL_BUFFERS])
def test_ten_megabytes_each_way(make_edge: MakeEdge, server: ScriptedServer, buffers: int | None) -> None:
    edge = make_edge(server, limits=Limits(stanza_bytes=10**8, **FAST))
    client, upstream = logged_in(edge, server, buffers=buffers)
    up, down = (b"<message>" + os.urandom(5_000_000).hex().encode() + b"</message>" for _ in range(2))
    client.queue(up)
    upstream.queue(down)
    client.expect(down)
    upstream.expect(up)
    assert mailbox_bytes(edge) == 0


def test_a_slow_consumer_is_closed_in_time(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(mailbox_bytes=20_000, slow_consumer_seconds=0.3, **FAST))
    client, upstream = logged_in(edge, server, buffers=SMALL_BUFFERS)
    client.reading = False
    upstream.queue(MESSAGE * 100_000)
    edge.wait_closed(Reason.SLOW_CONSUMER)
    edge.until(lambda: upstream.reset or upstream.ended, "the end at the server")
    assert mailbox_bytes(edge) == 0


def test_a_client_that_reads_slowly_but_steadily_is_no_slow_consumer(
    make_edge: MakeEdge, server: ScriptedServer
) -> None:
    edge = make_edge(server, limits=Limits(mailbox_bytes=20_000, slow_consumer_seconds=2.0, **FAST))
    client, upstream = logged_in(edge, server, buffers=SMALL_BUFFERS)
    client.reading = False
    data = MESSAGE * 13_000
    upstream.queue(data)
    began = edge.poller_ticks()
    while client.total < len(data):
        assert edge.closed == []
        if client.total < (edge.poller_ticks() - began) * 20_000:
            client.reading = True
        edge.step()
        client.reading = False
    assert edge.poller_ticks() - began > 2.0 * 16
    assert edge.closed == []


def test_a_server_that_reads_too_slowly_is_given_up(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(mailbox_bytes=50_000, slow_consumer_seconds=0.3, stanza_bytes=10**8, **FAST))
    client, upstream = logged_in(edge, server)
    upstream.reading = False
    client.queue(b"<message>" + b"x" * 12_000_000)
    client.expect_error("remote-connection-failed").close()
    edge.wait_closed(Reason.REMOTE_CONNECTION_FAILED)


def test_an_end_is_heard_behind_a_full_mailbox(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(mailbox_bytes=20_000, **FAST))
    client, upstream = logged_in(edge, server, buffers=SMALL_BUFFERS)
    client.reading = False
    upstream.queue(MESSAGE * 100_000)
    settle(edge, upstream)
    (connection,) = edge.dispatcher.connections()
    connection.finish("system-shutdown", Reason.SYSTEM_SHUTDOWN)
    client.reading = True
    data = client.expect_through(b"</stream:stream>")
    assert data.replace(MESSAGE, b"").startswith(b"<stream:error><system-shutdown ")
    client.expect_end().close()
    edge.wait_closed(Reason.SYSTEM_SHUTDOWN)

"""How connections end: whoever begins, everyone hears what was said before, and nobody is met with silence."""

import itertools

import pytest

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Reason, Slot, UpstreamSlot
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import (
    ANSWER,
    END,
    FAST,
    HEADER,
    MESSAGE,
    logged_in,
    open_stream,
)
from tests.unit.edge.edge_under_test import ScriptedServer

# --- the client ends ---


def test_a_client_that_hangs_up(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    client.send(MESSAGE).close()
    upstream.expect(MESSAGE).expect_end().close()
    edge.wait_closed(Reason.CLIENT_CLOSED)


def test_a_client_that_resets(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    client.send(MESSAGE)
    upstream.expect(MESSAGE)
    client.abort()
    upstream.expect_end()
    edge.wait_closed(Reason.CLIENT_RESET)


@pytest.mark.parametrize("spoken", [b"", b" ", HEADER[:30]])
@pytest.mark.parametrize(("how", "reason"), [("close", Reason.CLIENT_CLOSED), ("abort", Reason.CLIENT_RESET)])
def test_a_client_that_goes_before_there_is_a_server(
    make_edge: MakeEdge, server: ScriptedServer, spoken: bytes, how: str, reason: Reason
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen()).send(spoken)
    edge.until(lambda: edge.count(Slot.BYTES_IN) == len(spoken) and edge.count(Slot.ACCEPTED), "those bytes")
    getattr(client, how)()
    edge.wait_closed(reason)
    server.expect_no_connection()


def test_a_client_that_says_no_more_still_hears_the_server(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    client.send(END).finish()
    upstream.expect(END).expect_end()
    for _ in range(5):
        upstream.send(MESSAGE)
        client.expect(MESSAGE)
    upstream.send(END).close()
    client.expect(END).expect_end()
    edge.wait_closed(Reason.CLIENT_CLOSED)


def test_all_of_ten_megabytes_reach_a_client_that_says_no_more(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=FAST)
    client, upstream = logged_in(edge, server, buffers=20_000)
    data = b"<message>" + b"".join(b"%07d." % number for number in range(1_250_000)) + b"</message>"
    client.send(END).finish()
    upstream.expect(END).expect_end()
    upstream.queue(data + END)
    edge.until(lambda: not upstream.unsent, "the server's last bytes on their way")
    upstream.close()
    client.expect(data + END).expect_end()
    edge.wait_closed(Reason.CLIENT_CLOSED)


def test_a_server_that_goes_on_forever_is_left_by_a_client_that_has_ended(
    make_edge: MakeEdge, server: ScriptedServer
) -> None:
    edge = make_edge(server, limits=Limits(close_seconds=0.2))
    client, upstream = logged_in(edge, server)
    client.send(END).finish()
    upstream.expect(END)
    client.expect_end().close()
    edge.wait_closed(Reason.CLIENT_CLOSED)
    upstream.expect_end()


# --- the server ends ---


def test_a_server_that_says_goodbye(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    upstream.send(b"<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>" + END).close()
    client.expect(b"<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>" + END)
    client.expect_end().close()
    edge.wait_closed(Reason.SERVER_CLOSED)


def test_a_server_that_says_goodbye_first_and_waits_for_the_client(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    upstream.send(END)
    client.expect(END).send(END)
    upstream.expect(END).close()
    client.expect_end().close()
    edge.wait_closed(Reason.SERVER_CLOSED)


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_server_that_dies_between_stanzas(make_edge: MakeEdge, server: ScriptedServer, how: str) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    upstream.send(MESSAGE)
    client.expect(MESSAGE)
    getattr(upstream, how)()
    client.expect_error("remote-connection-failed").close()
    edge.wait_closed(Reason.REMOTE_CONNECTION_FAILED)


@pytest.mark.parametrize("said", [b"", b"<?xml version='1.0'?>", b" ", b"<?xml ver", ANSWER[:-20], ANSWER])
def test_a_server_that_dies_over_its_header(make_edge: MakeEdge, server: ScriptedServer, said: bytes) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen())
    client.send(HEADER)
    upstream = server.accept()
    upstream.expect(HEADER).send(said)
    client.expect(said)
    upstream.close()
    if said in (b"", ANSWER):
        client.expect_error("remote-connection-failed", header=said != ANSWER)
    elif said in (b" ", b"<?xml version='1.0'?>"):
        client.expect(b"<stream:stream ").expect_error("remote-connection-failed")
    else:
        client.expect_end()  # nothing of ours would be well-formed there
    client.close()
    edge.wait_closed(Reason.REMOTE_CONNECTION_FAILED)


@pytest.mark.parametrize("said", [b"<", b"<message", b"<message><body>Ari", b"<message a='", b"</stream:strea"])
def test_a_server_that_dies_in_a_stanza(make_edge: MakeEdge, server: ScriptedServer, said: bytes) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    upstream.send(said)
    client.expect(said)
    upstream.close()
    client.expect_end().close()
    edge.wait_closed(Reason.REMOTE_CONNECTION_FAILED)


@pytest.mark.parametrize("finished", [False, True])
def test_what_a_server_said_last_is_heard_by_a_slow_client(
    make_edge: MakeEdge, server: ScriptedServer, finished: bool
) -> None:
    edge = make_edge(server, limits=FAST)
    client, upstream = logged_in(edge, server, buffers=8192)
    client.reading = False
    if finished:
        client.finish()
        upstream.expect_end()
    upstream.queue(MESSAGE * 10_000 + END)
    edge.until(lambda: not upstream.unsent and edge.count(Slot.MAILBOX_FULL), "a full mailbox")
    upstream.close()
    client.reading = True
    client.expect(MESSAGE * 10_000 + END).expect_end().close()
    edge.wait_closed(Reason.CLIENT_CLOSED if finished else Reason.SERVER_CLOSED)


@pytest.mark.parametrize("finished", [False, True])
def test_what_the_edge_holds_for_a_slow_client_is_sent_before_the_end(
    make_edge: MakeEdge, server: ScriptedServer, finished: bool
) -> None:
    edge = make_edge(server, limits=FAST)
    client, upstream = logged_in(edge, server, buffers=8192)
    client.reading = False
    if finished:
        client.finish()
        upstream.expect_end()
    upstream.queue(MESSAGE * 10_000)
    edge.until(lambda: edge.count(Slot.MAILBOX_FULL), "a full mailbox")
    edge.only().finish("", Reason.KICKED)
    held = edge.count(Slot.BYTES_OUT)
    client.reading = True
    edge.until(lambda: client.ended, "the end")
    assert not client.reset
    assert client.total == held


# --- what is left at the server ---


def test_the_server_hears_everything_before_the_end(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=FAST)
    client, upstream = logged_in(edge, server)
    upstream.reading = False
    client.send(MESSAGE * 3000).close()
    edge.until(lambda: edge.closed or edge.count(Slot.BYTES_IN) > len(MESSAGE) * 3000, "the client's end")
    upstream.reading = True
    upstream.expect(MESSAGE * 3000).expect_end()


def test_a_server_that_does_not_end_with_us_is_cut(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(close_seconds=0.2))
    client, upstream = logged_in(edge, server)
    edge.only().finish("policy-violation", Reason.KICKED)
    client.expect_error("policy-violation").close()
    edge.wait_closed(Reason.KICKED)
    assert edge.upstream_count(UpstreamSlot.UP_OPEN) == 1
    edge.until(lambda: edge.upstream_count(UpstreamSlot.UP_OPEN) == 0, "the cut")
    upstream.expect_end()


def test_a_server_that_talks_on_after_the_end_is_cut_in_time(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(close_seconds=0.2))
    client, upstream = logged_in(edge, server)
    client.abort()
    edge.wait_closed(Reason.CLIENT_RESET)
    for _ in itertools.takewhile(lambda _: edge.upstream_count(UpstreamSlot.UP_OPEN), itertools.count()):
        upstream.queue(MESSAGE * 100)
        edge.step()
    assert edge.gauges() == {}


def test_ids_of_the_gone_find_nothing(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, capacity=2)
    seen: set[int] = set()
    address = edge.listen()
    for _ in range(6):
        client = edge.connect(address)
        open_stream(edge, server, client)
        connection = edge.only()
        assert connection.id not in seen
        assert edge.dispatcher.connection(connection.id) is connection
        assert [edge.dispatcher.connection(gone) for gone in seen] == [None] * len(seen)
        seen.add(connection.id)
        client.abort()
        edge.until(lambda: not edge.dispatcher.open_connections, "the end")

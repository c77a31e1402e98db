"""Links that move to another process: streams go on wherever they were; the server sees its links attach anew."""

import random
from pathlib import Path

import pytest

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import AdmissionSlot, Board, LinkSlot, Reason, UpstreamSlot
from megaphone.errors import MoveError
from megaphone.uplink import link_part
from megaphone.uplink.link import LinkState
from megaphone.uplink.link_part import LinkPart
from megaphone.wire.link import LinkReason
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import ANSWER, AUTH, END, FAST, FEATURES, HEADER, MESSAGE, log_in
from tests.unit.edge.edge_under_test import EdgeUnderTest
from tests.unit.uplink.conftest import MakeLinkServer
from tests.unit.uplink.hand_over import Moving, Successor, make_pair
from tests.unit.uplink.link_server import LinkServer
from tests.unit.uplink.test_link import states, talking
from tests.unit.uplink.test_link_stream import link_count, opened

MANY = Limits(
    accepts_per_second_per_address=10**6,
    connections_per_address=10**6,
    bytes_per_second=10**9,
    bytes_burst=10**9,
    stanzas_per_second=10**8,
    stanzas_burst=10**8,
)


def admission_count(edge: EdgeUnderTest, slot: AdmissionSlot) -> int:
    return edge.board.get(Board.admission_slot(0, slot))


def long_message(length: int) -> bytes:
    return b"<message>%b</message>" % (b"x" * length)


def check_reattached(server: LinkServer, edge: EdgeUnderTest, links: int = 2, times: int = 1) -> None:
    """The server has seen every link attach again so often, and nothing else."""
    edge.until(lambda: states(edge) == [LinkState.ATTACHED] * links, "all links")
    assert len(server.sessions_seen) == links
    assert [session.over for session in server.sessions_seen] == [None] * links
    assert [session.end.epoch for session in server.sessions_seen] == [1 + times] * links
    assert link_count(edge, LinkSlot.LI_REATTACHES) == links * times
    assert link_count(edge, LinkSlot.LI_ATTACHES) == links
    assert link_count(edge, LinkSlot.LI_BREAKS) == link_count(edge, LinkSlot.LI_REFUSED) == 0
    assert edge.reports == []
    assert edge.changes == []


# --- bytes ---


def test_clients_talk_on_and_what_was_under_way_arrives_once(make_edge: MakeEdge, link_server: LinkServer) -> None:
    before, successor = make_pair(make_edge, link_server)
    pairs = talking(before, link_server, 8)
    for client, stream in pairs:
        client.socket.send(MESSAGE)  # which nobody has read
        stream.send(MESSAGE * 2)
    link_server.pump()
    for client, _ in pairs[:4]:
        client.queue(MESSAGE)
    before.turn()
    successor.hand_over()
    edge = successor.edge
    for number, (client, stream) in enumerate(pairs):
        client.send(MESSAGE)
        stream.expect(MESSAGE * (3 if number < 4 else 2)).send(MESSAGE)
        client.expect(MESSAGE * 3)
    check_reattached(link_server, edge)
    assert edge.dispatcher.open_connections == len(pairs)
    assert before.dispatcher.open_connections == 0
    assert edge.upstream_count(UpstreamSlot.UP_OPEN) == len(pairs)
    assert link_count(edge, LinkSlot.LI_STREAMS) == len(pairs)
    for client, stream in pairs:
        client.send(END)
        stream.expect(END).send(END).close()
        client.expect(END).expect_end().close()
    edge.wait_closed(*[Reason.CLIENT_CLOSED] * len(pairs))


def test_links_move_forth_and_back_and_forth(make_edge: MakeEdge, link_server: LinkServer) -> None:
    moving = Moving(make_edge, link_server)
    first = moving.edge()
    successor = moving.successor(first)
    pairs = talking(first, link_server, 3)
    for times in range(1, 4):
        for client, stream in pairs:
            client.socket.send(MESSAGE)
            stream.send(MESSAGE)
        successor.hand_over()
        for client, stream in pairs:
            stream.expect(MESSAGE)
            client.expect(MESSAGE)
        check_reattached(link_server, successor.edge, times=times)
        if times < 3:
            successor = moving.successor(successor)
    again, stream = opened(successor.edge, link_server, successor.edge.listen())
    log_in(again, stream)  # type: ignore[arg-type]


def test_bytes_that_wait_for_credit_move(make_edge: MakeEdge, make_link_server: MakeLinkServer) -> None:
    server = make_link_server(window_bytes=4096)
    before, successor = make_pair(make_edge, server, limits=FAST)
    client, stream = opened(before, server)
    log_in(client, stream)  # type: ignore[arg-type]
    stream.taking = False
    data = long_message(9000) * 30
    client.queue(data)
    before.until(lambda: link_count(before, LinkSlot.LI_CREDIT_WAITS) == 1, "a wait for credit")
    successor.hand_over()
    edge = successor.edge
    edge.until(lambda: states(edge) == [LinkState.ATTACHED] * 2, "both links")
    client.expect_nothing()
    assert stream.total < 4096 + 1000
    stream.taking = True
    stream.session.end.took(stream.id, stream.total)
    stream.expect(data)
    client.send(MESSAGE)
    stream.expect(MESSAGE)
    assert link_count(edge, LinkSlot.LI_CREDIT_WAIT_NS) > 0


def test_a_client_that_did_not_read_gets_all_of_it(make_edge: MakeEdge, link_server: LinkServer) -> None:
    limits = Limits(mailbox_bytes=20_000)
    before, successor = make_pair(make_edge, link_server, limits=limits)
    lazy = before.connect(before.listen(buffers=4096), buffers=4096).send(HEADER)
    stream = link_server.stream().expect(HEADER)
    lazy.reading = False
    data = ANSWER + random.Random(7).randbytes(300_000).hex().encode()
    stream.send(data)
    before.until(lambda: len(stream.outgoing) and stream.session.end.can_send(stream.id) == 0, "no more credit")
    before.until(lambda: before.poller.chunks.queued_bytes >= 20_000, "a full mailbox")
    successor.hand_over()
    lazy.reading = True
    lazy.expect(data)
    check_reattached(link_server, successor.edge)


@pytest.mark.parametrize("seed", range(3))
def test_megabytes_pass_while_links_move_between_any_two_turns(
    make_edge: MakeEdge, make_link_server: MakeLinkServer, seed: int
) -> None:
    """Both ways, on many streams at once: each byte arrives once and in order, whenever the move comes."""
    server = make_link_server(window_bytes=16_384)
    randomness = random.Random(seed)
    moving = Moving(make_edge, server, limits=MANY, upstream={"links": 3})
    edge = moving.edge()
    pairs = talking(edge, server, 12)
    said = [(bytearray(), bytearray()) for _ in pairs]
    before: EdgeUnderTest | Successor = edge
    for _ in range(6):
        for (client, stream), (up, down) in zip(pairs, said, strict=True):
            message = long_message(randomness.randrange(40_000))
            client.queue(message)
            up += message
            message = long_message(randomness.randrange(60_000))
            stream.send(message)
            down += message
            stream.taking = randomness.random() < 0.7
        for _ in range(randomness.randrange(12)):
            edge.step()
        before = successor = moving.successor(before)
        successor.hand_over(early=lambda _: randomness.random() < 0.5)
        edge = successor.edge
        for _, stream in pairs:
            stream.taking = True
            stream.session.end.took(stream.id, 1 << 31)
    for (client, stream), (up, down) in zip(pairs, said, strict=True):
        stream.expect(bytes(up))
        client.expect(bytes(down))
    edge.until(lambda: states(edge) == [LinkState.ATTACHED] * 3, "all links")
    assert [session.over for session in server.sessions_seen] == [None] * 3


# --- on the way to a link ---


def test_streams_that_wait_for_their_turn_keep_it(make_edge: MakeEdge, link_server: LinkServer) -> None:
    before, successor = make_pair(make_edge, link_server, limits=MANY, upstream={"opening_streams": 2})
    address = before.listen()
    link_server.wait_links(2)
    clients = [before.connect(address).send(HEADER) for _ in range(5)]
    before.until(lambda: admission_count(before, AdmissionSlot.AD_WAITING) == 3, "three that wait")
    before.until(lambda: len(link_server.streams) == 2, "two streams")
    ports = [client.socket.getsockname()[1] for client in clients]
    successor.hand_over()
    edge = successor.edge
    assert admission_count(edge, AdmissionSlot.AD_WAITING) == 3
    assert admission_count(edge, AdmissionSlot.AD_OPENING) == 2
    for number in range(5):
        link_server.stream(number).expect(HEADER).send(ANSWER + FEATURES)
    for client in clients:
        client.expect(ANSWER + FEATURES)
    assert [stream.facts.client[1] for stream in link_server.streams if stream.facts.client] == ports
    assert admission_count(edge, AdmissionSlot.AD_OPENING) == 0
    check_reattached(link_server, edge)


def test_clients_that_wait_for_any_link_move_and_give_up_in_time(make_edge: MakeEdge, link_server: LinkServer) -> None:
    link_server.closed_for_new = True
    before, successor = make_pair(make_edge, link_server, limits=Limits(connect_seconds=0.5))
    client = before.connect(before.listen()).send(HEADER)
    before.until(lambda: admission_count(before, AdmissionSlot.AD_WAITING) == 1, "one that waits")
    successor.hand_over()
    client.expect_error("remote-connection-failed", header=True).close()
    successor.edge.wait_closed(Reason.REMOTE_CONNECTION_FAILED)
    assert successor.edge.upstream_count(UpstreamSlot.UP_HEALTHY) == 0


def test_a_client_that_waited_for_any_link_gets_the_first_one_that_comes(
    make_edge: MakeEdge, link_server: LinkServer
) -> None:
    link_server.closed_for_new = True
    before, successor = make_pair(make_edge, link_server)
    client = before.connect(before.listen()).send(HEADER)
    before.until(lambda: admission_count(before, AdmissionSlot.AD_WAITING) == 1, "one that waits")
    successor.hand_over()
    link_server.closed_for_new = False
    link_server.stream().expect(HEADER).send(ANSWER + FEATURES)
    client.expect(ANSWER + FEATURES)


def test_a_link_that_was_broken_is_attached_within_its_grace_time(make_edge: MakeEdge, link_server: LinkServer) -> None:
    before, successor = make_pair(make_edge, link_server)
    ((client, stream),) = talking(before, link_server, 1)
    link_server.closed_for_new = True
    link_server.break_all()
    before.until(lambda: states(before) == [LinkState.BROKEN] * 2, "no link")
    client.send(MESSAGE)
    successor.hand_over()
    link_server.closed_for_new = False
    stream.expect(MESSAGE).send(MESSAGE)
    client.expect(MESSAGE)


def test_a_draining_server_is_still_draining(make_edge: MakeEdge, link_server: LinkServer) -> None:
    before, successor = make_pair(make_edge, link_server)
    ((client, stream),) = talking(before, link_server, 1)
    stream.session.end.drain()
    before.until(lambda: LinkState.DRAINING in states(before), "a draining link")
    successor.hand_over()
    edge = successor.edge
    edge.until(lambda: sorted(states(edge)) == [LinkState.ATTACHED, LinkState.DRAINING], "both links")
    client.send(MESSAGE)
    stream.expect(MESSAGE)
    _, other = opened(edge, link_server, edge.listen())
    assert other.session is not stream.session


def test_more_links_than_are_configured_now_are_kept(make_edge: MakeEdge, link_server: LinkServer) -> None:
    moving = Moving(make_edge, link_server, upstream={"links": 3})
    before = moving.edge()
    pairs = talking(before, link_server, 6)
    successor = moving.successor(before, upstream={"links": 1})
    successor.hand_over()
    for client, stream in pairs:
        client.send(MESSAGE)
        stream.expect(MESSAGE).send(MESSAGE)
        client.expect(MESSAGE)
    check_reattached(link_server, successor.edge, links=3)
    successor.edge.references_at_first["receivers and senders"] += 2  # of the two links more


def test_links_over_a_unix_socket_move(make_edge: MakeEdge, make_link_server: MakeLinkServer, tmp_path: Path) -> None:
    server = make_link_server(tmp_path / "link.sock")
    before, successor = make_pair(make_edge, server)
    ((client, stream),) = talking(before, server, 1)
    successor.hand_over()
    client.send(MESSAGE)
    stream.expect(MESSAGE)
    check_reattached(server, successor.edge)


# --- ends ---


def test_last_words_of_a_client_that_has_gone_move(make_edge: MakeEdge, make_link_server: MakeLinkServer) -> None:
    server = make_link_server(window_bytes=4096)
    before, successor = make_pair(make_edge, server, limits=FAST)
    client, stream = opened(before, server)
    log_in(client, stream)  # type: ignore[arg-type]
    stream.taking = False
    words = long_message(5000)
    client.send(words)
    before.until(lambda: link_count(before, LinkSlot.LI_CREDIT_WAITS) == 1, "a wait for credit")
    before.only().finish("system-shutdown", Reason.SYSTEM_SHUTDOWN)
    client.expect_error("system-shutdown").close()
    before.wait_closed(Reason.SYSTEM_SHUTDOWN)
    successor.hand_over()
    stream.taking = True
    stream.session.end.took(stream.id, stream.total)
    stream.expect(words).expect_end(LinkReason.SYSTEM_SHUTDOWN)


def test_a_client_that_has_stopped_talking_is_still_answered(make_edge: MakeEdge, link_server: LinkServer) -> None:
    before, successor = make_pair(make_edge, link_server)
    client, stream = opened(before, link_server)
    client.send(AUTH).finish()
    stream.expect(AUTH)
    successor.hand_over()
    stream.send(MESSAGE)
    client.expect(MESSAGE)
    stream.expect_end(LinkReason.CONNECTION_LOST)


def test_the_stream_of_a_client_that_stays_behind_ends(make_edge: MakeEdge, link_server: LinkServer) -> None:
    before, successor = make_pair(make_edge, link_server)
    (moves, stays) = talking(before, link_server, 2)
    port = stays[0].socket.getsockname()[1]
    successor.hand_over(stays=lambda connection: connection.port == port)
    moves[0].send(MESSAGE)
    moves[1].expect(MESSAGE)
    stays[1].expect_end(LinkReason.SYSTEM_SHUTDOWN)
    assert successor.edge.upstream_count(UpstreamSlot.UP_OPEN) == 1
    before.only().finish("system-shutdown", Reason.SYSTEM_SHUTDOWN)
    before.peers.append(stays[0])
    stays[0].edge = before
    stays[0].expect_error("system-shutdown").close()
    before.wait_closed(Reason.SYSTEM_SHUTDOWN)
    check_reattached(link_server, successor.edge)


def test_a_session_that_has_just_been_lost_stays_behind(make_edge: MakeEdge, link_server: LinkServer) -> None:
    """Its clients are told by whom it was lost."""
    before, successor = make_pair(make_edge, link_server, upstream={"links": 1})
    pairs = talking(before, link_server, 3)
    link_server.sessions_seen[0].end.end(LinkReason.SYSTEM_SHUTDOWN, "restart")
    link_server.pump()
    before.poller.turn()
    assert states(before) == [LinkState.BROKEN]
    assert before.dispatcher.open_connections == 3
    successor.hand_over()
    assert successor.edge.dispatcher.open_connections < 3
    for client, _ in pairs:
        if client.edge is successor.edge and client not in before.peers:
            client.edge = before
            before.peers.append(client)
    for client, _ in pairs:
        client.expect_error("remote-connection-failed").close()
    before.wait_closed(*[Reason.REMOTE_CONNECTION_FAILED] * 3)


# --- when nothing comes of it ---


def test_a_hand_over_that_is_given_up_changes_nothing(make_edge: MakeEdge, link_server: LinkServer) -> None:
    before, successor = make_pair(make_edge, link_server)
    pairs = talking(before, link_server, 4)
    for client, stream in pairs:
        client.socket.send(MESSAGE)
        stream.send(MESSAGE)
    successor.hand_over(commit=False)
    for client, stream in pairs:
        stream.expect(MESSAGE)
        client.expect(MESSAGE)
    assert [session.end.epoch for session in link_server.sessions_seen] == [1, 1]
    assert link_count(before, LinkSlot.LI_BREAKS) == 0
    assert states(successor.edge) == [LinkState.BROKEN] * 2
    for each in successor.edge.carriers:
        each.asleep = False  # type: ignore[union-attr]


def test_an_upstream_that_is_not_known_is_refused(make_edge: MakeEdge, link_server: LinkServer) -> None:
    before = make_edge(link_server)
    part = LinkPart(before.uplink)
    with pytest.raises(MoveError, match="no upstream elsewhere with links"):
        part.restore_owner(None, b"elsewhere", [])  # type: ignore[arg-type]


def test_a_record_that_is_none_is_refused(make_edge: MakeEdge, link_server: LinkServer) -> None:
    before, successor = make_pair(make_edge, link_server)
    talking(before, link_server, 2)
    ((chunk, _),) = LinkPart(before.uplink).export()
    for wrong in (b"", b"\2" + chunk[1:], chunk[:-1], chunk[:1], chunk.replace(b"\x01\x01", b"\x02\x01", 1)):
        part = LinkPart(successor.edge.uplink)
        with pytest.raises(MoveError):
            part.restore(wrong, [])
    for each in successor.edge.carriers:
        each.asleep = False  # type: ignore[union-attr]


def test_a_large_record_comes_in_chunks(
    make_edge: MakeEdge, link_server: LinkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_part, "CHUNK_LIMIT_BYTES", 100)
    before, successor = make_pair(make_edge, link_server)
    pairs = talking(before, link_server, 6)
    assert len(list(LinkPart(before.uplink).export())) > 5
    successor.hand_over()
    for client, stream in pairs:
        client.send(MESSAGE)
        stream.expect(MESSAGE)

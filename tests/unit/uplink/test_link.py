"""Links as such: attempts, greetings, breaks with and without return, liars, silence, DRAIN, TLS, the end."""

import socket
from pathlib import Path

import pytest

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Board, LinkSlot, Reason, UpstreamSlot
from megaphone.uplink.link import LinkState
from megaphone.wire.link import FrameType, LinkReason, encode_frame
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import ANSWER, HEADER, MESSAGE, log_in
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer
from tests.unit.edge.peer import Peer
from tests.unit.uplink.conftest import MakeLinkServer
from tests.unit.uplink.link_server import LinkServer, ServerSession, ServerStream
from tests.unit.uplink.test_link_stream import link_count, opened

ONE = {"links": 1}
MANY = Limits(accepts_per_second_per_address=10**6, connections_per_address=10**6)


def states(edge: EdgeUnderTest) -> list[LinkState]:
    """Of the first upstream's links."""
    return [LinkState(link.state) for link in edge.carriers[0].links]  # type: ignore[attr-defined]


def talking(edge: EdgeUnderTest, server: LinkServer, count: int) -> list[tuple[Peer, ServerStream]]:
    """Clients that have logged in."""
    address = edge.listen()
    pairs = []
    for _ in range(count):
        client, stream = opened(edge, server, address)
        log_in(client, stream)  # type: ignore[arg-type]
        pairs.append((client, stream))
    return pairs


def raw(session: ServerSession, data: bytes) -> None:
    """These bytes come from the server, whatever its session thinks of them."""
    assert session.socket is not None
    session.socket.socket.send(data)


# --- coming up ---


def test_links_come_up_and_the_upstream_with_them(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server, upstream={"links": 3})
    assert states(edge) == [LinkState.BROKEN] * 3
    sessions = link_server.wait_links(3)
    edge.until(lambda: states(edge) == [LinkState.ATTACHED] * 3, "three links")
    assert sorted(session.end.name for session in sessions) == ["node/0/0", "node/0/1", "node/0/2"]
    assert edge.upstream_count(UpstreamSlot.UP_HEALTHY) == 1
    assert edge.changes == [""]
    assert sorted(edge.reports) == [(0, ""), (1, ""), (2, "")]
    assert link_count(edge, LinkSlot.LI_ATTACHES) == 3


def test_streams_go_to_the_link_with_the_fewest(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server)
    sessions = link_server.wait_links(2)
    edge.until(lambda: states(edge) == [LinkState.ATTACHED] * 2, "two links")
    address = edge.listen()
    pairs = [opened(edge, link_server, address) for _ in range(6)]
    assert [session.end.stream_count() for session in sessions] == [3, 3]
    for client, stream in pairs:
        if stream.session is sessions[0]:
            client.abort()
    edge.until(lambda: sessions[0].end.stream_count() == 0, "an empty link")
    for _ in range(2):
        assert opened(edge, link_server, address)[1].session is sessions[0]


def test_over_a_unix_socket(make_edge: MakeEdge, make_link_server: MakeLinkServer, tmp_path: Path) -> None:
    server = make_link_server(tmp_path / "link.sock")
    edge = make_edge(server)
    client, stream = opened(edge, server)
    client.send(MESSAGE)
    stream.expect(MESSAGE)


class Jitter:
    """In the place of the random factor of a pause: notes each pause and makes it none."""

    def __init__(self) -> None:
        self.pauses_ms: list[int] = []
        self.bounds: set[tuple[float, float]] = set()

    def uniform(self, least: float, most: float) -> "Jitter":
        self.bounds.add((least, most))
        return self

    def __rmul__(self, pause_ms: int) -> float:
        self.pauses_ms.append(pause_ms)
        return 0.0


def test_a_server_that_is_not_there_is_tried_again_ever_later(
    make_edge: MakeEdge, link_server: LinkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    jitter = Jitter()
    monkeypatch.setattr("random.uniform", jitter.uniform)
    link_server.closed_for_new = True
    edge = make_edge(link_server, upstream=ONE)
    edge.until(lambda: link_count(edge, LinkSlot.LI_BREAKS) >= 9, "nine attempts")
    assert jitter.pauses_ms[:9] == [50, 100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]
    assert jitter.bounds == {(0.75, 1.25)}
    assert edge.upstream_count(UpstreamSlot.UP_HEALTHY) == 0
    assert edge.changes == ["no link is attached"]
    assert edge.reports == [(0, "the server closed the socket")], "said once, however often it happens"
    link_server.closed_for_new = False
    opened(edge, link_server)
    assert edge.changes == ["no link is attached", ""]
    assert edge.reports[-1] == (0, "")


@pytest.mark.parametrize("name", ["secret", "version"])
def test_a_refused_greeting_is_reported_and_tried_again(
    make_edge: MakeEdge, make_link_server: MakeLinkServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_link_server()
    if name == "secret":
        server.secret = b"another secret of 32 bytes ......"
        expected = "not-authorized: HELLO has a wrong proof"
    else:
        monkeypatch.setattr(
            "tests.unit.uplink.link_server.ServerSocket.flush",
            lambda self: self.lost or self.leaving or _say_once(self, server),
        )
        expected = "unsupported-version: the server understands versions 7 to 9, the edge version 1"
    edge = make_edge(server, upstream=ONE, limits=Limits(connect_seconds=0.5))
    edge.until(lambda: link_count(edge, LinkSlot.LI_REFUSED) == 2, "two refusals")
    assert edge.reports == [(0, expected)]
    edge.connect(edge.listen()).send(HEADER).expect_error("remote-connection-failed", header=True).close()
    edge.wait_closed(Reason.REMOTE_CONNECTION_FAILED)


def _say_once(socket: object, server: LinkServer) -> None:
    """A CHALLENGE of versions 7 to 9."""
    said = server.__dict__.setdefault("said", set())
    if socket not in said:
        said.add(socket)
        payload = b"MPLK\x07\x09" + bytes(32)
        socket.socket.send(encode_frame(FrameType.CHALLENGE, 0, payload))  # type: ignore[attr-defined]


def test_a_server_that_does_not_know_the_secret_is_not_believed(
    make_edge: MakeEdge, make_link_server: MakeLinkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lets anybody in, but its WELCOME has a wrong proof."""
    server = make_link_server()
    server.secret = b"another secret of 32 bytes ......"
    monkeypatch.setattr("megaphone.wire.link_greeting.edge_is_proven", lambda *_: True, raising=False)
    edge = make_edge(server, upstream=ONE)
    edge.until(lambda: link_count(edge, LinkSlot.LI_REFUSED) == 1, "a refusal")
    assert edge.reports[0][1].startswith("not-authorized")
    assert states(edge) == [LinkState.BROKEN]


def test_what_an_operator_sees_of_links(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server, upstream=ONE)
    [before] = edge.uplink.describe_links()
    assert (before["name"], before["state"], before["trouble"]) == ("node/0/0", "broken", None)
    assert (before["streams"], before["round_trip_seconds"], before["kept_bytes"]) == (0, None, 0)
    address = edge.listen()
    opened(edge, link_server, address)
    edge.until(lambda: edge.uplink.describe_links()[0]["round_trip_seconds"], "an answer to a PING")
    [link] = edge.uplink.describe_links()
    assert (link["worker"], link["upstream"], link["peer"]) == (0, "u0", None)
    assert (link["state"], link["streams"], link["waiting"], link["trouble"]) == ("attached", 1, 0, None)
    assert min(link["frames_in"], link["frames_out"], link["bytes_in"], link["bytes_out"]) > 0
    link_server.closed_for_new = True
    link_server.break_all()
    edge.until(lambda: edge.uplink.describe_links()[0]["state"] != "attached", "a broken link")
    edge.connect(address).send(HEADER)
    edge.until(lambda: edge.uplink.describe_links()[0]["waiting"] == 1, "a client that waits")
    breaks, ages = link_count(edge, LinkSlot.LI_BREAKS), list[float]()

    def failed_twice() -> bool:
        ages.append(edge.uplink.describe_links()[0]["since_seconds"])
        return link_count(edge, LinkSlot.LI_BREAKS) >= breaks + 2

    edge.until(failed_twice, "two attempts that fail")
    assert ages == sorted(ages), "an attempt is no change"
    [broken] = edge.uplink.describe_links()
    assert (broken["streams"], broken["trouble"]) == (1, "the server closed the socket")
    link_server.closed_for_new = False
    edge.until(lambda: edge.uplink.describe_links()[0]["reattached"] == 1, "a link again")
    [again] = edge.uplink.describe_links()
    assert (again["state"], again["trouble"]) == ("attached", None)


# --- breaks ---


@pytest.mark.parametrize("cut_at", [1, 7, 8, 100, 3000])
def test_streams_go_on_after_a_break_in_the_middle_of_a_frame(
    make_edge: MakeEdge, link_server: LinkServer, cut_at: int
) -> None:
    edge = make_edge(link_server)
    pairs = talking(edge, link_server, 4)
    link_server.mute_after = cut_at  # so many bytes of the server's still arrive
    heard = [b"", b"", b"", b""]
    for number in range(20):
        for place, (client, stream) in enumerate(pairs):
            said = b"<message id='%d'>%b</message>" % (number, b"x" * 300)
            stream.send(said)
            client.queue(said)
            heard[place] += said
    edge.until(lambda: link_server.mute_after == 0, "a frame cut off")
    link_server.break_all()
    link_server.mute_after = 1 << 62
    for place, (client, stream) in enumerate(pairs):
        client.expect(heard[place])
        stream.expect(heard[place])
    assert link_count(edge, LinkSlot.LI_REATTACHES) == 2
    assert edge.closed == []


def test_while_a_link_is_broken_clients_wait_and_what_they_say_is_bounded(
    make_edge: MakeEdge, link_server: LinkServer
) -> None:
    edge = make_edge(link_server, upstream=ONE, limits=Limits(bytes_per_second=10**9, bytes_burst=10**9))
    pairs = talking(edge, link_server, 10)
    link_server.closed_for_new = True
    link_server.break_all()
    data = b"<message>%b</message>" % (b"x" * 5000) * 40
    for client, _ in pairs:
        client.queue(data)
    edge.until(lambda: link_count(edge, LinkSlot.LI_TURN_WAITS) >= 4, "clients that wait")
    assert states(edge) == [LinkState.BROKEN]
    assert link_count(edge, LinkSlot.LI_UNSENT_BYTES) <= 262_144 + 16_392
    link_server.closed_for_new = False
    for _, stream in pairs:
        stream.expect(data)
    assert edge.closed == []


def test_when_the_grace_time_is_over_each_client_is_told(make_edge: MakeEdge, make_link_server: MakeLinkServer) -> None:
    server = make_link_server(grace_seconds=1)
    edge = make_edge(server, limits=MANY, capacity=256)
    address = edge.listen()
    pairs = [opened(edge, server, address) for _ in range(150)]
    server.closed_for_new = True
    server.break_all()
    for client, _ in pairs:
        client.expect_error("remote-connection-failed").close()
    edge.wait_closed(*[Reason.REMOTE_CONNECTION_FAILED] * 150)
    assert edge.upstream_count(UpstreamSlot.UP_OPEN) == 0


def test_the_grace_time_may_end_while_a_socket_connects(make_edge: MakeEdge, make_link_server: MakeLinkServer) -> None:
    server = make_link_server(grace_seconds=1)
    edge = make_edge(server, upstream=ONE)
    client, _ = opened(edge, server)
    place = server.socket.getsockname()
    server.break_all()
    server.socket.close()
    with socket.create_server(place, backlog=0) as full:  # the kernel drops what would connect
        crowd = [socket.socket() for _ in range(2)]
        for each in crowd:
            each.setblocking(False)
            each.connect_ex(place)
        client.expect_error("remote-connection-failed")
        assert states(edge)[0] in (LinkState.CONNECTING, LinkState.BROKEN)
        for each in crowd:
            each.close()
        assert full
    server.socket = socket.create_server(place)
    server.socket.setblocking(False)
    opened(edge, server)


def test_a_server_that_has_forgotten_the_session_ends_its_streams(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server)
    pairs = talking(edge, link_server, 4)
    link_server.forget()
    for client, _ in pairs:
        client.expect_error("remote-connection-failed").close()
    edge.wait_closed(*[Reason.REMOTE_CONNECTION_FAILED] * 4)
    opened(edge, link_server)


def test_what_comes_from_a_client_whose_session_is_lost_goes_nowhere(
    make_edge: MakeEdge, link_server: LinkServer
) -> None:
    edge = make_edge(link_server, limits=MANY, capacity=256)
    address = edge.listen()
    pairs = [opened(edge, link_server, address) for _ in range(130)]
    link_server.forget()
    for client, _ in pairs:
        client.queue(MESSAGE)  # they are told 64 in a turn; the others still talk
    for client, _ in pairs:
        client.expect_error("remote-connection-failed").close()
    edge.until(lambda: len(edge.closed) == 130, "all of them told")


# --- liars ---


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        (b"\x99\0\0\0\0\0\0\0", "protocol-error"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "protocol-error"),
        (encode_frame(FrameType.SEND_DATA, 77, b"x"), "protocol-error"),
        (encode_frame(FrameType.GET_DATA, 1, bytes(8)), "protocol-error"),
        (encode_frame(FrameType.WELCOME, 0, bytes(60)), "protocol-error"),
        (encode_frame(FrameType.ACK, 0, b"\xff" * 8), "protocol-error"),
        (encode_frame(FrameType.SEND_DATA, 1, b"x" * 16_384) * 5, "credit-overstepped"),
    ],
)
def test_a_server_that_breaks_the_protocol_loses_the_link(
    make_edge: MakeEdge, link_server: LinkServer, said: bytes, trouble: str
) -> None:
    edge = make_edge(link_server, upstream=ONE, limits=Limits(mailbox_bytes=10_000))
    address = edge.listen(buffers=4096)
    client = edge.connect(address, buffers=4096).send(HEADER)
    stream = link_server.stream().expect(HEADER).send(ANSWER)
    client.expect(ANSWER)
    client.reading = False
    raw(stream.session, said)
    edge.until(lambda: stream.session.over is not None, "the end of the session")
    assert stream.session.over is not None
    assert stream.session.over[0].name.lower().replace("_", "-") == trouble
    assert edge.reports[-1][1].startswith(trouble + ": ") or edge.reports[-2][1].startswith(trouble + ": ")
    client.reading = True
    edge.until(lambda: client.ended, "the client's end")
    opened(edge, link_server)


def test_a_silent_server_is_left(make_edge: MakeEdge, link_server: LinkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    edge = make_edge(link_server, upstream=ONE)
    opened(edge, link_server)
    link_server.deaf = True
    link_server.mute_after = 0
    edge_clock = edge.carriers[0].links[0]  # type: ignore[attr-defined]
    assert edge_clock.state == LinkState.ATTACHED
    monkeypatch.setattr("tests.unit.edge.edge_under_test.PATIENCE_SECONDS", 30.0)
    edge.until(lambda: states(edge) != [LinkState.ATTACHED], "the end of patience")
    assert (0, "the server was silent for too long") in edge.reports
    assert edge.closed == []


# --- DRAIN and the end ---


def test_a_draining_link_gets_no_new_streams_and_ends_with_its_last(
    make_edge: MakeEdge, link_server: LinkServer
) -> None:
    edge = make_edge(link_server)
    sessions = link_server.wait_links(2)
    address = edge.listen()
    pairs = [opened(edge, link_server, address) for _ in range(4)]
    sessions[0].end.drain()
    edge.until(lambda: LinkState.DRAINING in states(edge), "a draining link")
    for _ in range(3):
        assert opened(edge, link_server, address)[1].session is sessions[1]
    for client, stream in pairs:
        client.send(MESSAGE)
        stream.expect(MESSAGE)
    assert sessions[0].over is None
    for client, stream in pairs:
        if stream.session is sessions[0]:
            client.abort()
    edge.until(lambda: sessions[0].over is not None, "the end of the drained link")
    assert sessions[0].over is not None
    assert sessions[0].over[0] == LinkReason.SYSTEM_SHUTDOWN
    link_server.wait_links(2)


def test_the_edge_says_that_it_drains_and_ends_its_links(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server)
    sessions = link_server.wait_links(2)
    client, stream = opened(edge, link_server)
    edge.uplink.drain()
    edge.until(lambda: all(session.drained for session in sessions), "two DRAINs")
    client.send(MESSAGE)
    stream.expect(MESSAGE)
    edge.only().finish("system-shutdown", Reason.SYSTEM_SHUTDOWN)
    client.expect_error("system-shutdown").close()
    edge.until(lambda: edge.closed, "no client left")
    edge.uplink.close()
    edge.until(lambda: all(session.over for session in sessions), "the end of the links")
    assert [session.over[0] for session in sessions if session.over] == [LinkReason.SYSTEM_SHUTDOWN] * 2
    assert states(edge) == [LinkState.CLOSED] * 2


def test_a_server_that_ends_the_link_ends_its_streams(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server, upstream=ONE)
    client, stream = opened(edge, link_server)
    stream.session.end.end(LinkReason.SYSTEM_SHUTDOWN, "going")
    client.expect_error("remote-connection-failed").close()
    edge.wait_closed(Reason.REMOTE_CONNECTION_FAILED)
    assert (0, "system-shutdown: going") in edge.reports


# --- mixed modes ---


@pytest.mark.parametrize("first", ["link", "direct"])
def test_a_stream_fails_over_between_a_link_and_a_socket(
    make_edge: MakeEdge, link_server: LinkServer, first: str
) -> None:
    plain = ScriptedServer()
    if first == "link":
        link_server.closed_for_new = True
        edge = make_edge(link_server, plain, limits=Limits(connect_seconds=1.5))
        edge.pool.mark(edge.pool.upstreams[1], healthy=False)
        client = edge.connect(edge.listen()).send(HEADER + MESSAGE)
        edge.until(lambda: edge.gauges() == {"OPEN_CONNECTING": 1}, "a stream that waits")
        edge.pool.mark(edge.pool.upstreams[1], healthy=True)
        client.send(MESSAGE)
        plain.accept().expect(HEADER + MESSAGE * 2).send(ANSWER)
    else:
        address = plain.address
        plain.close()
        edge = make_edge(address, link_server, limits=Limits(connect_seconds=0.3))
        client = edge.connect(edge.listen()).send(HEADER + MESSAGE)
        link_server.stream().expect(HEADER + MESSAGE).send(ANSWER)
    client.expect(ANSWER)
    assert edge.only().describe()["upstream"] == "u1"
    assert edge.upstream_count(UpstreamSlot.UP_CONNECT_FAILURES) == 1
    assert [edge.upstream_count(UpstreamSlot.UP_OPEN, index) for index in (0, 1)] == [0, 1]
    plain.close()


# --- counting ---


def test_frames_and_bytes_are_counted(make_edge: MakeEdge, link_server: LinkServer) -> None:
    edge = make_edge(link_server, upstream=ONE)
    client, stream = opened(edge, link_server)
    edge.until(lambda: link_count(edge, LinkSlot.LI_FRAMES_OUT) >= 2, "frames")  # OPEN, PUT_DATA
    before = [link_count(edge, slot) for slot in (LinkSlot.LI_FRAMES_OUT, LinkSlot.LI_BYTES_OUT)]
    client.send(MESSAGE)
    stream.expect(MESSAGE)
    edge.until(lambda: link_count(edge, LinkSlot.LI_FRAMES_OUT) > before[0], "a frame more")
    assert link_count(edge, LinkSlot.LI_BYTES_OUT) >= before[1] + 8 + len(MESSAGE)
    assert link_count(edge, LinkSlot.LI_STREAMS) == 1
    assert Board.link_slot(0, 1, 0) - Board.link_slot(0, 0, 0) == len(LinkSlot)

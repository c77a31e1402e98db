"""The link session as dialogues: greeting, streams, credit, ends, new sockets, liveness, every mistake of a peer."""

import gc
from typing import Any

import pytest

from megaphone.wire.link import FrameType, LinkFrameReader, LinkReason, Side, encode_frame
from megaphone.wire.link_end import Greeting, LinkEnd
from megaphone.wire.link_messages import Hello, Shutdown, Welcome
from megaphone.wire.link_session import SessionState
from tests.unit.wire.link_golden import golden, speeches
from tests.unit.wire.link_pair import INSTANCE, SECOND, SECRET, SESSION, Pair, Talker, facts

WINDOW = 65536


def number(value: int, size: int = 8) -> bytes:
    return value.to_bytes(size, "big")


def frames(data: bytes, side: Side) -> list[tuple[FrameType, int, bytes]]:
    return LinkFrameReader(side).feed(data)


def last_words(data: bytes, side: Side) -> Shutdown:
    """The SHUTDOWN of the link that ends what `side` says."""
    kind, of, payload = frames(data, side)[-1]
    assert (kind, of) == (FrameType.SHUTDOWN, 0)
    return Shutdown.decode(payload)


# --- golden dialogues ---


def test_the_edge_says_the_golden_hello() -> None:
    edge = LinkEnd(Side.EDGE, SECRET, b"\x5e" * 16, name="node-1/0")
    edge.connected(b"\xe1" * 16, SECOND)
    assert edge.unsent() == b""
    edge.read(golden("challenge"), SECOND)
    assert edge.state == SessionState.WELCOME_AWAITED
    assert edge.unsent() == golden("hello")
    edge.wrote(len(golden("hello")))
    edge.read(golden("welcome"), SECOND)
    assert edge.state == SessionState.ATTACHED
    assert edge.events == [("welcome", False)]
    assert (edge.streams_limit, edge.grace_seconds, edge.peer_window_bytes) == (10000, 30, 65536)


def test_the_server_says_the_golden_welcome() -> None:
    greeting = Greeting(SECRET, b"\x51" * 16, b"\x17" * 16)
    assert greeting.unsent() == golden("challenge")
    greeting.wrote(46)
    assert greeting.read(golden("hello") + b"more") == len(golden("hello"))
    server = LinkEnd(Side.SERVER, SECRET, greeting.hello.session)
    assert server.accept(greeting, SECOND)
    assert server.unsent() == golden("welcome")
    assert server.name == "node-1/0"


@pytest.mark.parametrize("name", ["wrong-secret", "stale-epoch"])
def test_the_server_refuses_as_in_the_golden_dialogue(name: str) -> None:
    server = LinkEnd(Side.SERVER, SECRET, b"\x5e" * 16)
    greeting = None
    for speech in speeches(f"dialogues/{name}.hex"):
        if speech.side == Side.SERVER:
            kind, _, payload = frames(speech.data, Side.SERVER)[0]
            if kind == FrameType.CHALLENGE:
                greeting = Greeting(SECRET, payload[6:22], payload[22:38])
                source: Any = greeting
            assert source.unsent() == speech.data
            source.wrote(len(speech.data))
        else:
            assert greeting is not None
            assert greeting.read(speech.data) == len(speech.data)
            if greeting.hello is not None and server.accept(greeting, SECOND):
                source = server
    assert greeting is not None
    assert greeting.refusal is not None
    assert greeting.unsent() == b""


def test_the_edge_refuses_a_later_version_as_in_the_golden_dialogue() -> None:
    theirs, ours = speeches("dialogues/unsupported-version.hex")
    edge = LinkEnd(Side.EDGE, SECRET, SESSION)
    edge.connected(b"n" * 16, SECOND)
    edge.read(theirs.data, SECOND)
    assert edge.unsent() == ours.data
    edge.wrote(len(ours.data))
    assert [event[:2] for event in edge.events] == [
        ("refused", LinkReason.UNSUPPORTED_VERSION),
        ("disconnect",),
    ]
    assert edge.state == SessionState.UNATTACHED


def act(end: LinkEnd, data: bytes, side: Side, now: int) -> None:
    """Does what an owner does before its end says `data`; answers come by themselves."""
    for kind, of, payload in frames(data, side):
        if kind == FrameType.OPEN:
            assert end.open(payload) == of
        elif kind in (FrameType.PUT_DATA, FrameType.SEND_DATA) and end.state == SessionState.ATTACHED:
            assert end.put_data(of, payload) == len(payload)
        elif kind == FrameType.PING:
            end.tick(now)
        elif kind == FrameType.SHUTDOWN:
            shutdown = Shutdown.decode(payload)
            if of and end.stream(of) is not None:
                end.close(of, shutdown.reason, shutdown.text)
            elif not of and not end.over:
                end.end(shutdown.reason, shutdown.text)


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("name", ["one-stream", "crossed-closes", "re-attach", "begun-anew", "credit-overstepped"])
def test_an_end_says_its_part_of_the_golden_dialogues(name: str, side: Side) -> None:
    now = 5 * SECOND
    window = 4096 if name == "credit-overstepped" else WINDOW
    script = speeches(f"dialogues/{name}.hex")
    if name == "crossed-closes" and side == Side.EDGE:
        script[4:6] = script[5], script[4]  # what crosses comes in either order
    end = LinkEnd(side, SECRET, b"\x5e" * 16, name="node-1/0", window_bytes=window)
    socket = -1
    for speech in script:
        if speech.socket != socket:
            socket = speech.socket
            end.disconnected(now)
            if name == "begun-anew" and socket and side == Side.SERVER:
                end = LinkEnd(side, SECRET, b"\x5e" * 16, window_bytes=window)
            if side == Side.EDGE:
                end.connected((b"\xe1", b"\xe2")[socket] * 16, now)
            greeting: Greeting | None = Greeting(SECRET, (b"\x51", b"\x52")[socket] * 16, b"\x17" * 16)
        if speech.side != side:
            if speech.lost:
                continue
            data = speech.data
            if side == Side.SERVER and greeting is not None:
                data = data[greeting.read(data) :]
                assert end.accept(greeting, now)
                greeting = None
            end.read(data, now)
            continue
        source: Any = end if side == Side.EDGE or greeting is None else greeting
        if name == "credit-overstepped" and side == Side.EDGE and len(speech.data) > 4096:
            return  # this end does not do that
        if source is end and not (name == "re-attach" and socket):  # what is said again needs no owner
            act(end, speech.data, side, now)
        assert source.unsent() == speech.data
        source.wrote(len(speech.data))


# --- greeting ---


def test_a_link_begins() -> None:
    pair = Pair().attach()
    assert pair.edge.log == pair.server.log == [("welcome", False)]
    assert pair.edge.end.epoch == pair.server.end.epoch == 1
    assert pair.edge.end.peer_instance == INSTANCE
    assert pair.edge.end.features == pair.server.end.features == 3


def test_an_edge_with_another_secret_is_refused() -> None:
    pair = Pair(edge={"secret": b"x" * 32})
    pair.connect()
    pair.pump()
    assert pair.greeting is not None
    assert pair.greeting.refusal == (LinkReason.NOT_AUTHORIZED, "HELLO has a wrong proof")
    assert pair.edge.log == [("disconnect",), ("refused", LinkReason.NOT_AUTHORIZED, "HELLO has a wrong proof")]
    assert pair.server.log == []


def test_a_server_with_another_secret_is_refused() -> None:
    edge = LinkEnd(Side.EDGE, SECRET, SESSION)
    edge.connected(b"n" * 16, SECOND)
    challenge = golden("challenge")
    edge.read(challenge, SECOND)
    hello = edge.unsent()
    edge.wrote(len(hello))
    welcome = Welcome(1, 0, WINDOW, 10, 30).encode(b"x" * 32, challenge[8:], hello[8:])
    edge.read(encode_frame(FrameType.WELCOME, 0, welcome), SECOND)
    assert last_words(edge.unsent(), Side.EDGE).reason == LinkReason.NOT_AUTHORIZED
    assert edge.state == SessionState.CLOSING
    edge.wrote(len(edge.unsent()))
    assert edge.state == SessionState.UNATTACHED


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"epoch": 2}, "WELCOME has epoch 2 instead of 1"),
        ({"received": 8}, "has received 8 bytes"),
        ({"received": 8, "resumed": True}, "WELCOME goes on behind 8 bytes"),
        ({"window": 100}, "window of 100 bytes"),
        ({"version": 2}, "version 2"),
    ],
)
def test_a_wrong_welcome_is_refused_and_named(changes: dict[str, Any], text: str) -> None:
    edge = LinkEnd(Side.EDGE, SECRET, SESSION)
    edge.connected(b"n" * 16, SECOND)
    edge.read(golden("challenge"), SECOND)
    hello = edge.unsent()
    edge.wrote(len(hello))
    fields = {"epoch": 1, "received": 0, "window": WINDOW, "streams": 10, "grace_seconds": 30} | changes
    welcome = Welcome(**fields).encode(SECRET, golden("challenge")[8:], hello[8:])
    edge.read(encode_frame(FrameType.WELCOME, 0, welcome), SECOND)
    assert text in last_words(edge.unsent(), Side.EDGE).text
    assert edge.events[-1][0] == "refused"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (encode_frame(FrameType.PING, 0, bytes(16)), "PING came before HELLO"),
        (encode_frame(FrameType.OPEN, 1, facts(1)), "OPEN came before HELLO"),
        (golden("welcome"), "WELCOME came from the edge"),
        (b"GET / HTTP/1.1\r\n", "0x47"),
    ],
)
def test_a_socket_that_begins_otherwise_is_refused(data: bytes, text: str) -> None:
    greeting = Greeting(SECRET, b"n" * 16, INSTANCE)
    greeting.read(data)
    assert greeting.hello is None
    assert greeting.refusal is not None
    assert greeting.refusal[0] == LinkReason.PROTOCOL_ERROR
    assert text in greeting.refusal[1]
    assert text in last_words(greeting.unsent(), Side.SERVER).text


@pytest.mark.parametrize("name", ["ping", "welcome", "send-data", "drain"])
def test_a_server_that_begins_otherwise_is_refused(name: str) -> None:
    edge = LinkEnd(Side.EDGE, SECRET, SESSION)
    edge.connected(b"n" * 16, SECOND)
    edge.read(golden(name), SECOND)
    shutdown = last_words(edge.unsent(), Side.EDGE)
    assert shutdown.reason == LinkReason.PROTOCOL_ERROR
    assert "came instead of CHALLENGE" in shutdown.text


def test_a_greeting_waits_ten_seconds() -> None:
    greeting = Greeting(SECRET, b"n" * 16, INSTANCE, 5 * SECOND)
    assert not greeting.expired(15 * SECOND - 1)
    assert greeting.expired(15 * SECOND)
    edge = LinkEnd(Side.EDGE, SECRET, SESSION)
    edge.connected(b"n" * 16, 5 * SECOND)
    edge.tick(15 * SECOND - 1)
    assert edge.events == []
    edge.tick(15 * SECOND)
    assert edge.events == [("disconnect",)]
    assert edge.state == SessionState.UNATTACHED


def test_hello_is_read_in_any_split() -> None:
    hello = golden("hello")
    for at in range(len(hello) + 1):
        greeting = Greeting(SECRET, b"\x51" * 16, b"\x17" * 16)
        assert greeting.read(hello[:at]) == at
        assert greeting.read(hello[at:] + b"rest") == len(hello) - at
        assert greeting.hello == Hello.decode(hello[8:])


# --- streams ---


def test_a_stream_opens_talks_and_ends() -> None:
    pair = Pair().attach()
    first = pair.edge.start(1)
    pair.edge.say(first, 1000)
    pair.pump()
    pair.server.say(first, 50000)
    pair.pump()
    assert pair.server.open[first].got == 1000
    assert pair.edge.open[first].got == 50000
    pair.server.close(first, LinkReason.POLICY_VIOLATION, "too loud")
    pair.pump()
    ((talk, reason, text),) = pair.edge.ended
    assert (talk.key, reason, text) == (1, LinkReason.POLICY_VIOLATION, "too loud")
    assert pair.edge.end.stream_count() == pair.server.end.stream_count() == 0


def test_ids_are_used_again_after_both_ends_only() -> None:
    pair = Pair(server={"streams_limit": 3}).attach()
    ids = [pair.edge.start(key) for key in range(3)]
    assert sorted(ids) == [1, 2, 3]
    assert pair.edge.start(3) == 0
    pair.edge.close(ids[0])
    assert pair.edge.start(3) == 0  # the server's SHUTDOWN is awaited
    pair.pump()
    assert pair.edge.start(3) == ids[0]
    pair.pump()
    assert {talk.key for talk in pair.server.open.values()} == {1, 2, 3}


def test_crossed_ends_free_the_id_and_lose_what_was_on_its_way() -> None:
    pair = Pair().attach()
    stream = pair.edge.start(1)
    pair.pump()
    pair.server.say(stream, 100)
    pair.edge.close(stream)
    pair.server.close(stream)
    pair.pump()
    assert pair.edge.ended == pair.server.ended == []
    assert pair.edge.end.stream_count() == pair.server.end.stream_count() == 0
    assert pair.edge.start(2) == stream


def test_owners_are_let_go_when_their_stream_ends() -> None:
    class Owner:
        alive = 0

        def __init__(self) -> None:
            Owner.alive += 1

        def __del__(self) -> None:
            Owner.alive -= 1

    pair = Pair().attach()
    ids = [pair.edge.end.open(facts(key), Owner()) for key in range(4)]
    pair.pump()
    assert Owner.alive == 4
    pair.edge.end.close(ids[0])
    assert Owner.alive == 3
    pair.edge.open[ids[1]] = pair.server.open[ids[1]]  # for the event
    pair.server.close(ids[1])
    pair.pump()
    assert Owner.alive == 2
    pair.edge.end.own(ids[2], Owner())
    assert Owner.alive == 2
    pair.edge.on = pair.server.on = lambda event: None  # they would keep the pair
    del pair
    gc.collect()
    assert Owner.alive == 0


# --- credit ---


def test_credit_moves_when_half_a_window_is_taken() -> None:
    pair = Pair(edge={"window_bytes": 8192}).attach()
    stream = pair.edge.start(1)
    pair.pump()
    pair.server.say(stream, 10000)
    pair.pump()
    assert pair.edge.open[stream].got == 8192
    pair.edge.take(stream, 4095)
    pair.pump()
    assert pair.edge.open[stream].got == 8192
    pair.edge.take(stream, 1)
    assert frames(pair.edge.end.unsent(), Side.EDGE) == [(FrameType.GET_DATA, stream, number(12288))]
    pair.pump()
    assert pair.edge.open[stream].got == 10000
    assert pair.server.end.starved_times == 1


def test_data_after_our_end_is_discarded_up_to_the_limit() -> None:
    pair = Pair(edge={"window_bytes": 4096}).attach()
    stream = pair.edge.start(1)
    pair.pump()
    pair.edge.close(stream)
    pair.edge.end.wrote(len(pair.edge.end.unsent()))
    pair.edge.end.read(encode_frame(FrameType.SEND_DATA, stream, bytes(4096)), SECOND)
    assert pair.edge.end.state == SessionState.ATTACHED
    pair.edge.end.read(encode_frame(FrameType.SEND_DATA, stream, b"x"), SECOND)
    assert pair.edge.log[-1] == (
        "end",
        LinkReason.CREDIT_OVERSTEPPED,
        "SEND_DATA for stream 1: 4097 bytes are above the limit of 4096",
    )


# --- mistakes ---


def attached(side: Side) -> Talker:
    """One end of a link with stream 1 open, 30 bytes of data said both ways, and everything sent."""
    pair = Pair(edge={"window_bytes": 4096}, server={"window_bytes": 4096, "streams_limit": 2}).attach()
    pair.edge.start(1)
    pair.edge.say(1, 30)
    pair.pump()
    pair.server.say(1, 30)
    pair.pump()
    talker = pair.edge if side == Side.EDGE else pair.server
    talker.on = lambda event: None
    return talker


BOTH = [Side.EDGE, Side.SERVER]
GET, DATA, BYE = FrameType.GET_DATA, "data", FrameType.SHUTDOWN
MISTAKES = [
    (BOTH, GET, 7, number(5000), "GET_DATA for stream 7, which is not open"),
    (BOTH, GET, 1, number(4095), "GET_DATA for stream 1, moves its limit of 4096 back to 4095"),
    (
        BOTH,
        GET,
        1,
        number(4127),
        "GET_DATA for stream 1, has a limit of 4127, more than a window above the 30 bytes sent",
    ),
    (BOTH, GET, 1, number(2**64 - 1), "more than a window above"),
    (BOTH, DATA, 7, b"x", "_DATA for stream 7, which is not open"),
    (BOTH, BYE, 7, bytes(9), "SHUTDOWN for stream 7, which is not open"),
    (BOTH, BYE, 1, number(31) + b"\0", "SHUTDOWN for stream 1, says that 31 bytes were sent; 30 have arrived"),
    (BOTH, BYE, 1, number(30) + b"\x10", "SHUTDOWN for stream 1, has reason 16, which is for the link only"),
    (BOTH, BYE, 1, number(30) + b"\0\xff", "SHUTDOWN for stream 1, has a text that is not UTF-8"),
    (BOTH, FrameType.ACK, 0, number(10**6), "ACK acknowledges 1000000 bytes"),
    (BOTH, FrameType.PING, 0, bytes(8) + number(10**6), "PING acknowledges 1000000 bytes"),
    (BOTH, FrameType.PONG, 0, bytes(8) + number(10**6), "PONG acknowledges 1000000 bytes"),
    ([Side.SERVER], FrameType.OPEN, 1, facts(9), "OPEN for stream 1, which is open"),
    ([Side.SERVER], FrameType.OPEN, 2, b"\x09" + facts(9)[1:], "OPEN has transport 9"),
    ([Side.SERVER], FrameType.HELLO, 0, bytes(90), "HELLO came after WELCOME"),
    ([Side.EDGE], FrameType.CHALLENGE, 0, bytes(38), "CHALLENGE came after WELCOME"),
    ([Side.EDGE], FrameType.WELCOME, 0, bytes(60), "WELCOME came after WELCOME"),
]


@pytest.mark.parametrize(
    ("side", "kind", "of", "payload", "text"),
    [(side, *rest) for sides, *rest in MISTAKES for side in sides],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_mistake_ends_the_session_and_is_named(side: Side, kind: Any, of: int, payload: bytes, text: str) -> None:
    talker = attached(side)
    if kind == DATA:
        kind = FrameType.SEND_DATA if side == Side.EDGE else FrameType.PUT_DATA
    talker.end.read(encode_frame(kind, of, payload), SECOND)
    shutdown = last_words(talker.end.unsent(), side)
    assert shutdown.reason == LinkReason.PROTOCOL_ERROR
    assert text in shutdown.text
    assert talker.log[-2:] == [
        ("shutdown", 1, LinkReason.CONNECTION_LOST, shutdown.text),
        ("end", LinkReason.PROTOCOL_ERROR, shutdown.text),
    ]
    assert talker.end.state == SessionState.CLOSING
    talker.end.read(encode_frame(FrameType.DRAIN, 0, b""), SECOND)  # is not heard any more
    talker.end.wrote(len(talker.end.unsent()))
    assert talker.log[-1] == ("disconnect",)
    assert talker.end.state == SessionState.ENDED


def test_more_streams_than_allowed_end_the_session() -> None:
    server = attached(Side.SERVER)
    server.end.read(encode_frame(FrameType.OPEN, 4_000_000_000, facts(2)), SECOND)
    assert server.end.state == SessionState.ATTACHED
    server.end.read(encode_frame(FrameType.OPEN, 3, facts(3)), SECOND)
    assert server.log[-1] == (
        "end",
        LinkReason.PROTOCOL_ERROR,
        "OPEN for stream 3, but 2 streams are open, which is the most",
    )


@pytest.mark.parametrize("side", BOTH)
def test_a_frame_that_the_table_does_not_allow_ends_the_session(side: Side) -> None:
    talker = attached(side)
    talker.end.read(b"\x55" + bytes(7), SECOND)
    assert talker.log[-1] == ("end", LinkReason.PROTOCOL_ERROR, "frame type 0x55 is not known")


def test_overstepped_credit_is_named_with_stream_bytes_and_limit() -> None:
    server = attached(Side.SERVER)
    server.end.read(encode_frame(FrameType.PUT_DATA, 1, bytes(4067)), SECOND)
    shutdown = last_words(server.end.unsent(), Side.SERVER)
    assert shutdown.reason == LinkReason.CREDIT_OVERSTEPPED
    assert shutdown.text == "PUT_DATA for stream 1: 4097 bytes are above the limit of 4096"


def test_a_peer_that_acknowledges_nothing_and_makes_us_answer_is_left() -> None:
    server = attached(Side.SERVER)
    pings = encode_frame(FrameType.PING, 0, bytes(16)) * 1000
    for _ in range(180):
        if server.end.state != SessionState.ATTACHED:
            break
        server.end.wrote(len(server.end.unsent()))
        server.end.read(pings, SECOND)
    assert server.log[-1][:2] == ("end", LinkReason.RESOURCE_CONSTRAINT)
    assert server.end.kept_bytes() <= 4 << 20
    assert last_words(server.end.unsent(), Side.SERVER).reason == LinkReason.RESOURCE_CONSTRAINT


# --- the end of a link ---


@pytest.mark.parametrize("side", BOTH)
def test_an_orderly_end_ends_all_streams_on_both_sides(side: Side) -> None:
    pair = Pair().attach()
    for key in range(3):
        pair.edge.start(key)
    pair.pump()
    (pair.edge if side == Side.EDGE else pair.server).end.end(LinkReason.SYSTEM_SHUTDOWN, "restart")
    pair.pump()
    for talker in (pair.edge, pair.server):
        assert len(talker.ended) == 3
        assert talker.end.state == SessionState.ENDED
        assert ("end", LinkReason.SYSTEM_SHUTDOWN, "restart") in talker.log
        assert talker.log.count(("disconnect",)) == 1
        assert talker.end.stream_count() == 0


def test_last_words_that_nobody_takes_are_given_up_after_five_seconds() -> None:
    pair = Pair().attach()
    pair.edge.end.end()
    pair.edge.end.tick(pair.now + 5 * SECOND)
    assert pair.edge.end.state == SessionState.ENDED
    assert pair.edge.log[-1] == ("disconnect",)


@pytest.mark.parametrize("name", ["opened", "data", "shutdown", "drain", "room", "welcome"])
def test_a_session_ended_from_within_any_event_ends_once(name: str) -> None:
    pair = Pair(edge={"backlog_limit_bytes": 1}, server={"backlog_limit_bytes": 1})
    for talker in (pair.edge, pair.server):

        def end_it(event: tuple[Any, ...], talker: Talker = talker, before: Any = talker.on) -> None:
            before(event)
            if event[0] == name:
                talker.end.end(LinkReason.INTERNAL_ERROR, "oops")

        talker.on = end_it
    pair.connect()
    pair.pump()
    for key in range(3):
        if number_ := pair.edge.start(key):
            pair.edge.say(number_, 20000)
    pair.edge.end.drain()
    pair.pump()
    for open_ in list(pair.edge.open):
        pair.edge.close(open_)
    pair.pump()
    for talker in (pair.edge, pair.server):
        assert [event[0] for event in talker.log].count("end") == 1
        assert talker.end.stream_count() == 0


# --- draining ---


def test_a_draining_server_gets_no_more_streams_and_an_edge_says_it_goes() -> None:
    pair = Pair().attach()
    pair.edge.start(1)
    pair.server.end.drain()
    pair.server.end.drain()
    pair.pump()
    assert pair.edge.log.count(("drain",)) == 1
    assert not pair.edge.end.can_open()
    assert pair.edge.start(2) == 0
    pair.edge.say(1, 10)
    pair.edge.end.drain()
    pair.pump()
    assert pair.server.log[-1] == ("drain",)
    assert pair.server.open[1].got == 10


# --- liveness ---


def test_the_edge_pings_and_knows_the_round_trip() -> None:
    pair = Pair().attach()
    pair.now += SECOND
    pair.edge.end.tick(pair.now)
    pair.write(Side.EDGE)
    pair.now += 7_000_000
    pair.pump()
    assert pair.edge.end.round_trip_ns == 7_000_000
    said = pair.edge.end.frames_out
    pair.edge.end.tick(pair.now + 3 * SECOND)
    assert pair.edge.end.frames_out == said
    pair.edge.end.tick(pair.now + 4 * SECOND)
    assert pair.edge.end.frames_out == said + 1


@pytest.mark.parametrize("side", BOTH)
def test_fifteen_silent_seconds_end_the_socket_and_thirty_more_the_session(side: Side) -> None:
    pair = Pair().attach()
    pair.edge.start(1)
    pair.pump()
    talker = pair.edge if side == Side.EDGE else pair.server
    talker.end.tick(pair.now + 15 * SECOND - 1)
    assert talker.end.state == SessionState.ATTACHED
    pair.now += 15 * SECOND
    talker.end.tick(pair.now)
    assert talker.end.state == SessionState.UNATTACHED
    assert talker.log[-1] == ("disconnect",)
    talker.end.tick(pair.now + 30 * SECOND - 1)
    assert talker.ended == []
    talker.end.tick(pair.now + 30 * SECOND)
    ((_, reason, _),) = talker.ended
    assert reason == LinkReason.CONNECTION_LOST
    assert talker.log[-1] == ("end", LinkReason.LINK_TIMEOUT, "no new socket for 30 s")
    assert talker.end.state == SessionState.ENDED


def test_the_grace_time_goes_on_while_a_new_socket_is_greeted() -> None:
    pair = Pair().attach()
    pair.cut()
    pair.now += 25 * SECOND
    pair.connect()
    pair.edge.end.tick(pair.now + 5 * SECOND)
    assert pair.edge.log[-2:] == [("disconnect",), ("end", LinkReason.LINK_TIMEOUT, "no new socket for 30 s")]


def test_an_ack_is_due_after_65536_bytes() -> None:
    pair = Pair().attach()
    stream = pair.edge.start(1)
    pair.edge.say(stream, 65536)
    before = pair.edge.end.kept_bytes()
    assert before > 65536
    pair.pump()
    assert pair.edge.end.kept_bytes() == 0
    pair.server.say(stream, 60000)
    pair.pump()
    assert pair.server.end.kept_bytes() > 60000  # no ACK yet


# --- a new socket ---


def test_the_session_goes_on_and_nothing_is_lost_wherever_the_socket_breaks() -> None:
    def talk() -> tuple[Pair, int]:
        pair = Pair(edge={"window_bytes": 4096}, server={"window_bytes": 4096}).attach()
        stream = pair.edge.start(1)
        pair.edge.say(stream, 100)
        pair.pump()
        pair.server.say(stream, 70)
        pair.edge.say(stream, 60)
        pair.edge.start(2)
        return pair, stream

    for at in range(0, 200):
        for written in (False, True):
            pair, stream = talk()
            for side in BOTH:
                pair.write(side, 1 << 30 if written else at)
                pair.deliver(side, at)
            pair.cut()
            pair.attach()
            assert pair.edge.log[-1] == ("welcome", True)
            assert ("welcome", True) in pair.server.log
            assert pair.edge.open[stream].got == 70
            assert pair.server.open[stream].got == 160
            assert {talk.key for talk in pair.server.open.values()} == {1, 2}
            assert pair.edge.end.reattached_times == pair.server.end.reattached_times == 1


def test_a_socket_that_breaks_anywhere_in_the_greeting_loses_nothing() -> None:
    for at in range(170):
        for writes in (Side.EDGE, Side.SERVER):
            pair = Pair().attach()
            stream = pair.edge.start(1)
            pair.edge.say(stream, 10)
            pair.write(Side.EDGE)
            pair.cut()
            pair.connect()
            done = 0
            while done < at:
                moved = 0
                for side in BOTH:
                    pair.write(side)
                    moved += pair.deliver(side, 1 if side == writes else 1 << 30)
                if not moved:
                    break
                done += 1
            pair.cut(server_notices=at % 2 == 0)
            pair.attach()
            assert pair.server.open[stream].got == 10
            assert pair.edge.ended == pair.server.ended == []


def test_a_new_socket_takes_the_place_of_one_that_the_server_still_has() -> None:
    pair = Pair().attach()
    stream = pair.edge.start(1)
    pair.pump()
    pair.cut(server_notices=False)
    pair.edge.say(stream, 10)
    pair.server.say(stream, 20)
    pair.attach()
    assert pair.server.log[-2:] == [("disconnect",), ("welcome", True)]
    assert (pair.server.open[stream].got, pair.edge.open[stream].got) == (10, 20)


def test_an_old_epoch_does_not_harm_the_session() -> None:
    pair = Pair().attach()
    greeting = Greeting(SECRET, b"o" * 16, INSTANCE)
    challenge = frames(greeting.unsent(), Side.SERVER)[0][2]
    hello = Hello(b"n" * 16, SESSION, 1, 0, WINDOW, "old").encode(SECRET, challenge)
    greeting.wrote(len(greeting.unsent()))
    greeting.read(encode_frame(FrameType.HELLO, 0, hello))
    assert not pair.server.end.accept(greeting, pair.now)
    assert last_words(greeting.unsent(), Side.SERVER).reason == LinkReason.STALE_EPOCH
    pair.edge.start(1)
    pair.pump()
    assert len(pair.server.open) == 1


def test_a_server_that_does_not_know_the_session_begins_anew() -> None:
    pair = Pair().attach()
    pair.edge.start(1)
    pair.edge.say(1, 1000)
    pair.pump()
    pair.cut()
    pair.server = Talker(Side.SERVER)
    pair.server.on = pair.on_server
    pair.attach()
    ((talk, reason, _),) = pair.edge.ended
    assert (talk.key, reason) == (1, LinkReason.CONNECTION_LOST)
    assert pair.edge.log[-1] == pair.server.log[-1] == ("welcome", False)
    assert pair.edge.end.received_bytes == pair.edge.end.kept_bytes() == 0
    stream = pair.edge.start(2)
    pair.edge.say(stream, 10)
    pair.pump()
    assert pair.server.open[stream].got == 10


def test_a_server_begins_anew_with_an_edge_that_needs_what_is_gone() -> None:
    pair = Pair().attach()
    pair.edge.start(1)
    pair.pump()
    pair.cut()
    greeting = Greeting(SECRET, b"o" * 16, INSTANCE)
    challenge = frames(greeting.unsent(), Side.SERVER)[0][2]
    hello = Hello(b"n" * 16, SESSION, 2, 10**9, WINDOW, "forgetful").encode(SECRET, challenge)
    greeting.read(encode_frame(FrameType.HELLO, 0, hello))
    assert pair.server.end.accept(greeting, pair.now)
    assert pair.server.log[-2][:3] == ("shutdown", 1, LinkReason.CONNECTION_LOST)
    assert pair.server.log[-1] == ("welcome", False)
    ((_, _, payload),) = frames(pair.server.end.unsent(), Side.SERVER)
    assert not Welcome.decode(payload).resumed


def test_another_window_on_a_new_socket_is_refused() -> None:
    pair = Pair().attach()
    pair.cut()
    greeting = Greeting(SECRET, b"o" * 16, INSTANCE)
    challenge = frames(greeting.unsent(), Side.SERVER)[0][2]
    hello = Hello(b"n" * 16, SESSION, 2, 0, 4096, "").encode(SECRET, challenge)
    greeting.read(encode_frame(FrameType.HELLO, 0, hello))
    assert not pair.server.end.accept(greeting, pair.now)
    assert greeting.refusal == (LinkReason.PROTOCOL_ERROR, "HELLO changes the window to 4096 bytes")


def test_without_the_feature_a_broken_socket_ends_the_session() -> None:
    greeting = Greeting(SECRET, b"o" * 16, INSTANCE)
    challenge = frames(greeting.unsent(), Side.SERVER)[0][2]
    greeting.read(
        encode_frame(
            FrameType.HELLO, 0, Hello(b"n" * 16, SESSION, 1, 0, WINDOW, "", features=2).encode(SECRET, challenge)
        )
    )
    server = LinkEnd(Side.SERVER, SECRET, SESSION)
    assert server.accept(greeting, SECOND)
    assert server.features == 2
    server.disconnected(SECOND)
    assert server.events == [("welcome", False), ("end", LinkReason.CONNECTION_LOST, "the socket broke")]


# --- what is kept ---


def test_without_acknowledgement_data_stops_at_three_mebibytes_and_goes_on_after_it() -> None:
    pair = Pair(edge={"backlog_limit_bytes": 1 << 30}, server={"window_bytes": 1 << 20}).attach()
    streams = [pair.edge.start(key) for key in range(5)]
    for stream in streams:
        pair.edge.say(stream, 1_000_000)
    kept = pair.edge.end.kept_bytes()
    assert 3 * 1024 * 1024 - 16392 < kept <= 3 * 1024 * 1024
    assert not pair.edge.end.can_open()
    for stream in streams:
        assert pair.edge.end.stream(stream) is not None
    pair.edge.close(streams[4])  # still finds room
    pair.pump()
    assert [pair.server.open[stream].got for stream in streams[:4]] == [1_000_000] * 4
    assert pair.edge.end.held_times >= 1


def test_streams_wait_while_there_is_no_socket_and_are_served_on_the_next() -> None:
    pair = Pair(edge={"backlog_limit_bytes": 20000}).attach()
    streams = [pair.edge.start(key) for key in range(4)]
    pair.pump()
    pair.cut()
    for stream in streams:
        pair.edge.say(stream, 50000)
    assert pair.edge.end.unsent_bytes() < 20000 + 16392 + 500
    pair.attach()
    assert [pair.server.open[stream].got for stream in streams] == [50000] * 4


# --- turns ---


def test_a_quiet_streams_frame_waits_for_one_frame_of_each_busy_one() -> None:
    pair = Pair(edge={"backlog_limit_bytes": 32768}, server={"window_bytes": 1 << 20}).attach()
    busy = [pair.edge.start(key) for key in range(3)]
    quiet = pair.edge.start(3)
    for stream in busy:
        pair.edge.say(stream, 900_000)
    pair.edge.say(quiet, 10)
    data = b""
    while not any(of == quiet and kind == FrameType.PUT_DATA for kind, of, _ in frames(data, Side.EDGE)):
        part = pair.edge.end.unsent()
        pair.edge.end.wrote(len(part))
        data += part
    before = 0
    for kind, of, payload in frames(data, Side.EDGE):
        if (kind, of) == (FrameType.PUT_DATA, quiet):
            break
        before += 8 + len(payload)
    # what was unsent when it came, and one frame of each other
    assert before <= 4 * 60 + 32768 + 16392 + 3 * 16392


def test_turns_go_round() -> None:
    pair = Pair(edge={"backlog_limit_bytes": 1}, server={"window_bytes": 1 << 20}).attach()
    streams = [pair.edge.start(key) for key in range(3)]
    pair.edge.end.wrote(len(pair.edge.end.unsent()))
    for stream in streams:
        pair.edge.say(stream, 16384 * 4)
    order = []
    while part := pair.edge.end.unsent():
        pair.edge.end.wrote(len(part))
        order += [of for _, of, _ in frames(part, Side.EDGE)]
    first, second, third = streams  # the first one's first frame went when nobody else had anything to say
    assert order == [first, *[first, second, third] * 3, second, third]


# --- memory ---


def test_memory_shrinks_when_little_is_needed() -> None:
    pair = Pair(server={"window_bytes": 1 << 20}).attach()
    stream = pair.edge.start(1)
    for _ in range(4):
        pair.edge.say(stream, 200_000)
        pair.pump()
    assert pair.edge.end.memory_bytes() >= 262144
    for _ in range(3):
        pair.edge.end.tick(pair.now)
    assert pair.edge.end.memory_bytes() <= 65536

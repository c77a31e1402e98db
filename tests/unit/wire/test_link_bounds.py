"""What a link's session does without room: words that are owed, rings that grow and shrink, ids of any pattern."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.wire.link import FrameType, LinkReason, Side, encode_frame
from megaphone.wire.link_end import Greeting, LinkEnd
from megaphone.wire.link_messages import Hello
from megaphone.wire.link_session import SessionState
from tests.unit.wire.link_pair import INSTANCE, SECOND, SECRET, SESSION, Pair, facts, said

MEBIBYTE = 1 << 20
RETAINED_LIMIT_BYTES = 4 * MEBIBYTE
MANY = 5000
IDS = st.integers(1, 4)
NUMBERS = st.sampled_from([0, 1, 5, 4096, 4097, 6000, 1 << 63]).map(lambda value: value.to_bytes(8, "big"))


def full_pair() -> Pair:
    """A link with many streams, whose edge keeps 3 MiB of data that are written and have not arrived."""
    pair = Pair(
        edge={"backlog_limit_bytes": 1 << 30},
        server={"backlog_limit_bytes": 1 << 30, "window_bytes": MEBIBYTE, "streams_limit": MANY},
    ).attach()
    for key in range(MANY):
        assert pair.edge.start(key)
    pair.pump()
    for number in range(1, 6):
        pair.edge.say(number, MEBIBYTE)
    pair.write(Side.EDGE)
    assert pair.edge.end.kept_bytes() > 3 * MEBIBYTE - 16392
    return pair


def test_shutdowns_without_room_are_owed_and_said_later() -> None:
    pair = full_pair()
    for number in range(6, MANY + 1):
        pair.edge.close(number, LinkReason.SLOW_CONSUMER, "x" * 255)
    assert RETAINED_LIMIT_BYTES - 8192 - 272 < pair.edge.end.kept_bytes() <= RETAINED_LIMIT_BYTES - 8192
    assert pair.edge.end.stream_count() == MANY
    pair.pump()
    assert pair.edge.end.stream_count() == pair.server.end.stream_count() == 5
    assert len(pair.server.ended) == MANY - 5
    assert {reason for _, reason, _ in pair.server.ended} == {LinkReason.SLOW_CONSUMER}
    texts = {text for _, _, text in pair.server.ended}
    assert texts == {"x" * 255, ""}  # those that were owed have lost their text
    assert [pair.server.open[number].got for number in range(1, 6)] == [MEBIBYTE] * 5


def test_ends_from_both_sides_without_room_meet() -> None:
    pair = full_pair()
    for number in range(6, MANY + 1):
        pair.edge.close(number, LinkReason.CLOSED, "x" * 255)
        pair.server.close(number)
    # what the server says arrives, what the edge says does not: its own SHUTDOWNs stay owed
    pair.write(Side.SERVER)
    pair.deliver(Side.SERVER)
    assert pair.edge.end.kept_bytes() <= RETAINED_LIMIT_BYTES
    pair.pump()
    assert pair.edge.end.stream_count() == pair.server.end.stream_count() == 5
    assert pair.edge.ended == pair.server.ended == []


def test_the_peers_ends_are_answered_when_there_is_room_again() -> None:
    pair = full_pair()
    for number in range(1006, MANY + 1):
        pair.edge.close(number, LinkReason.CLOSED, "x" * 255)
    for number in range(6, 1006):
        pair.server.close(number, LinkReason.POLICY_VIOLATION)
    pair.write(Side.SERVER)
    pair.deliver(Side.SERVER)
    assert len(pair.edge.ended) == 1000
    assert pair.edge.end.stream_count() == MANY  # their ids are not free before ours is said
    pair.pump()
    assert pair.edge.end.stream_count() == pair.server.end.stream_count() == 5


def test_credit_without_room_is_owed() -> None:
    pair = full_pair()
    number = 6
    pair.server.say(number, 200_000)
    for closed in range(7, MANY + 1):
        pair.edge.close(closed, LinkReason.CLOSED, "x" * 255)
    pair.write(Side.SERVER)
    pair.deliver(Side.SERVER)
    kept = pair.edge.end.kept_bytes()
    pair.edge.take(number, 65536)
    pair.edge.take(number, 65536)
    assert pair.edge.end.kept_bytes() == kept  # no GET_DATA found room
    pair.pump()
    assert pair.edge.open[number].got == 2 * 65536
    pair.edge.close(number)  # also with credit owed
    pair.pump()
    assert pair.server.end.stream_count() == 5


def test_a_link_without_room_still_tells_what_it_has_received() -> None:
    pair = full_pair()
    for number in range(6, MANY + 1):
        pair.edge.close(number, LinkReason.CLOSED, "x" * 255)
    ping = encode_frame(FrameType.PING, 0, bytes(16))
    pair.edge.end.read(ping, SECOND)  # what little room there was goes to ends that are owed
    before = pair.edge.end.kept_bytes()
    pair.edge.end.read(ping * 10, SECOND)
    assert pair.edge.end.kept_bytes() == before + 240
    assert pair.edge.end.state == SessionState.ATTACHED


@pytest.mark.parametrize("stride", [1, 64, 1 << 16, 0x9E3779B1, 0xFFFFFFFF])
def test_ids_of_any_pattern_are_found(stride: int) -> None:
    pair = Pair(server={"streams_limit": 2000}).attach()
    ids = [(number * stride) % (1 << 32) or 1 << 31 for number in range(1, 1001)]
    assert len(set(ids)) == 1000
    server = pair.server.end
    for number in ids:
        pair.server.end.read(encode_frame(FrameType.OPEN, number, facts(number % 1000)), SECOND)
    assert server.stream_count() == 1000
    for number in ids:
        talk = pair.server.open[number]
        server.read(encode_frame(FrameType.PUT_DATA, number, said(talk.key, Side.EDGE, 0, 5)), SECOND)
    assert all(talk.got == 5 for talk in pair.server.open.values())
    for number in ids[::2]:
        server.read(encode_frame(FrameType.SHUTDOWN, number, (5).to_bytes(8, "big") + b"\0"), SECOND)
    assert server.stream_count() == 500
    for number in ids[1::2]:
        assert server.stream(number) is not None
    for number in ids[::2]:
        assert server.stream(number) is None
    assert server.state == SessionState.ATTACHED


def test_the_ring_wraps_grows_and_shrinks_without_mixing_bytes() -> None:
    pair = Pair(edge={"backlog_limit_bytes": 1 << 30}, server={"window_bytes": MEBIBYTE}).attach()
    stream = pair.edge.start(1)
    sizes = [100, 4000, 30_000, 5, 200_000, 1, 16_384, 70_000, 9]
    for turn in range(54):
        pair.edge.say(stream, sizes[turn % len(sizes)])
        pair.write(Side.EDGE, 1 + 7919 * turn % 50_000)
        pair.deliver(Side.EDGE, 1 + 104_729 * turn % 50_000)
        talk = pair.server.open.get(stream)
        if talk is not None:
            pair.server.take(stream, talk.untaken)
        pair.write(Side.SERVER)
        pair.deliver(Side.SERVER)
        if turn % 5 == 0:
            pair.edge.end.tick(pair.now)
        if turn % 17 == 16:
            pair.cut()
            pair.attach()
    pair.pump()
    while pair.server.open[stream].untaken:
        pair.server.take(stream, 1 << 30)
        pair.pump()
    assert pair.server.open[stream].got == pair.edge.open[stream].offered


FRAMES = st.one_of(
    st.tuples(st.sampled_from([FrameType.PING, FrameType.PONG]), st.just(0), st.binary(min_size=16, max_size=16)),
    st.tuples(st.sampled_from([FrameType.PING, FrameType.PONG]), st.just(0), st.just(bytes(16))),
    st.tuples(st.just(FrameType.ACK), st.just(0), NUMBERS),
    st.tuples(st.just(FrameType.DRAIN), st.just(0), st.just(b"")),
    st.tuples(st.just(FrameType.OPEN), IDS, st.just(facts(1)) | st.binary(min_size=40, max_size=60)),
    st.tuples(st.just(FrameType.PUT_DATA), IDS, st.integers(1, 5000).map(bytes)),
    st.tuples(st.just(FrameType.GET_DATA), IDS, NUMBERS),
    st.tuples(st.just(FrameType.SHUTDOWN), IDS, st.tuples(NUMBERS, st.binary(min_size=1, max_size=4)).map(b"".join)),
    st.tuples(st.just(FrameType.SHUTDOWN), st.just(0), st.binary(min_size=9, max_size=14)),
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.lists(FRAMES, min_size=1, max_size=30), st.integers(1, 9000), st.binary(max_size=9))
def test_whatever_an_edge_says_is_taken_or_ends_the_session_with_a_reason(
    frames: list[tuple[FrameType, int, bytes]], piece: int, garbage: bytes
) -> None:
    log: list[tuple[Any, ...]] = []

    def echo(event: tuple[Any, ...]) -> None:
        log.append(event)
        if event[0] == "data":
            end.put_data(event[1], event[2])
            end.took(event[1], len(event[2]))

    end = LinkEnd(Side.SERVER, SECRET, SESSION, tell=echo, window_bytes=4096, streams_limit=3)
    greeting = Greeting(SECRET, bytes(16), INSTANCE)
    hello = Hello(bytes(16), SESSION, 1, 0, 4096, "")
    greeting.read(encode_frame(FrameType.HELLO, 0, hello.encode(SECRET, greeting.unsent()[8:])))
    assert end.accept(greeting, SECOND)
    stream = b"".join(encode_frame(*frame) for frame in frames) + garbage
    for at in range(0, len(stream), piece):
        end.wrote(len(end.unsent()))
        end.read(stream[at : at + piece], SECOND)
    ends = [event for event in log if event[0] == "end"]
    assert len(ends) == (end.state != SessionState.ATTACHED)
    assert end.stream_count() <= 3
    assert end.kept_bytes() <= RETAINED_LIMIT_BYTES
    opened = [event[1] for event in log if event[0] == "opened"]
    if ends:
        assert end.stream_count() == 0
        assert sorted(event[1] for event in log if event[0] == "shutdown") == sorted(opened)


def test_an_idle_link_keeps_little_memory() -> None:
    pair = Pair().attach()
    pair.edge.end.tick(pair.now)
    pair.pump()
    assert pair.edge.end.memory_bytes() <= 4096

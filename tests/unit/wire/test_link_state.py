"""The state of a session in bytes: whoever goes on with it does so exactly as if only the socket had been lost."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from megaphone.wire.link import LinkReason, Side
from megaphone.wire.link_end import LinkEnd
from megaphone.wire.link_session import SessionState
from tests.unit.wire.link_pair import SECOND, SECRET, Pair, Talker
from tests.unit.wire.test_link_machine import BYTES, PIECE, SIDES, STREAMS, by_key

NOBODY = b"?" * 16  # the session id of an end that is still to become another


def moved(end: LinkEnd, now: int, **rest: Any) -> LinkEnd:
    """The end in another process."""
    other = LinkEnd(end.role, SECRET, NOBODY, backlog_limit_bytes=end.backlog_limit_bytes, **rest)
    other.go_on_from(end.export(), now)
    return other


def move(pair: Pair, side: Side) -> None:
    """One end goes on in another process, and so without its socket."""
    talker = pair.edge if side == Side.EDGE else pair.server
    talker.end = moved(talker.end, pair.now, tell=talker.tell)


class Moving(RuleBasedStateMachine):
    """Two links in step: where the socket of one breaks, an end of the other one moves."""

    def both(self, step: Callable[[Pair], Any]) -> Any:
        """Does the same with both links; what came of it is the same."""
        broken, moving = step(self.broken), step(self.moving)
        assert broken == moving
        return broken

    @initialize(
        windows=st.tuples(*[st.sampled_from([4096, 5000, 65536])] * 2),
        backlog=st.sampled_from([1, 9000, 262144]),
        streams=st.integers(1, STREAMS),
        length=st.sampled_from([0, 3000, 50_000]),
    )
    def begin(self, windows: tuple[int, int], backlog: int, streams: int, length: int) -> None:
        self.key = 0
        self.broken, self.moving = (
            Pair(
                edge={"window_bytes": windows[0], "backlog_limit_bytes": backlog},
                server={"window_bytes": windows[1], "backlog_limit_bytes": backlog, "streams_limit": STREAMS},
            ).attach()
            for _ in range(2)
        )
        for _ in range(streams):
            self.start()
        self.both(lambda pair: pair.pump())
        for choice in range(streams if length else 0):  # more than there is credit for, or room
            for side in Side:
                self.say(side, choice, length)

    @staticmethod
    def talker(pair: Pair, side: Side) -> Talker:
        return pair.edge if side == Side.EDGE else pair.server

    def pick(self, side: Side, choice: int) -> int:
        """One of the open streams at this end, or 0."""
        streams = sorted(self.talker(self.broken, side).open)
        return streams[choice % len(streams)] if streams else 0

    # --- what owners and sockets do ---

    @rule()
    def start(self) -> None:
        self.key += 1
        self.both(lambda pair: pair.edge.start(self.key))

    @rule(side=SIDES, choice=st.integers(0, 9), length=BYTES)
    def say(self, side: Side, choice: int, length: int) -> None:
        if (number := self.pick(side, choice)) and self.talker(self.broken, side).open[number].offered < 200_000:
            self.both(lambda pair: self.talker(pair, side).say(number, length))

    @rule(side=SIDES, choice=st.integers(0, 9), length=BYTES)
    def take(self, side: Side, choice: int, length: int) -> None:
        if number := self.pick(side, choice):
            self.both(lambda pair: self.talker(pair, side).take(number, length))

    @rule(side=SIDES, choice=st.integers(0, 9), sure=st.booleans())
    def close(self, side: Side, choice: int, sure: bool) -> None:
        if (number := self.pick(side, choice)) and sure:
            self.both(lambda pair: self.talker(pair, side).close(number, LinkReason.CLOSED, "bye").key)

    @rule(side=SIDES)
    def drain(self, side: Side) -> None:
        if self.key > STREAMS:  # or there would be no streams
            self.both(lambda pair: self.talker(pair, side).end.drain())

    @rule(side=SIDES, length=PIECE)
    def write(self, side: Side, length: int) -> None:
        self.both(lambda pair: pair.write(side, length))

    @rule(side=SIDES, length=PIECE)
    def deliver(self, side: Side, length: int) -> None:
        self.both(lambda pair: pair.deliver(side, length))

    @rule()
    def tick(self) -> None:
        def step(pair: Pair) -> None:
            pair.now += SECOND // 100
            pair.edge.end.tick(pair.now)
            pair.server.end.tick(pair.now)

        self.both(step)

    @rule(side=SIDES, peer_notices=st.booleans())
    def move(self, side: Side, peer_notices: bool) -> None:
        server_notices = peer_notices or side == Side.SERVER
        move(self.moving, side)
        self.both(lambda pair: pair.cut(server_notices=server_notices))

    @precondition(lambda self: self.broken.edge.end.state == SessionState.UNATTACHED)
    @rule()
    def connect(self) -> None:
        self.both(lambda pair: pair.connect())

    # --- what always holds ---

    @invariant()
    def they_say_and_know_the_same(self) -> None:
        assert self.broken.to_edge == self.moving.to_edge
        assert self.broken.to_server == self.moving.to_server
        for side in Side:
            broken, going_on = self.talker(self.broken, side), self.talker(self.moving, side)
            assert broken.log == going_on.log
            assert broken.open.keys() == going_on.open.keys()
            assert facts_of(broken) == facts_of(going_on)

    def teardown(self) -> None:
        """A last socket stays whole; everything arrives."""
        for pair in (self.broken, self.moving):
            pair.cut()
            pair.attach()
            for _ in range(200):
                for talker in (pair.edge, pair.server):
                    for number, talk in list(talker.open.items()):
                        talker.take(number, talk.untaken)
                pair.pump()
            ours, theirs = by_key(pair.edge), by_key(pair.server)
            assert ours.keys() == theirs.keys()
            for key, talk in ours.items():
                assert talk.sent == talk.offered == theirs[key].got
                assert theirs[key].sent == theirs[key].offered == talk.got


def facts_of(talker: Talker) -> tuple[Any, ...]:
    end = talker.end
    streams = [(number, end.stream(number), end.can_send(number)) for number in sorted(talker.open)]
    return (
        *(end.state, end.epoch, end.features, end.streams_limit, end.grace_seconds, end.reattached_times),
        *(end.window_bytes, end.peer_window_bytes, end.drained, end.draining, end.session_id, end.name),
        *(end.received_bytes, end.kept_bytes(), end.unsent_bytes(), end.stream_count(), end.can_open(), streams),
    )


TestMoving = Moving.TestCase
TestMoving.settings = settings(max_examples=80, stateful_step_count=50, deadline=None, derandomize=True)


# --- at the edges ---


def talking() -> Pair:
    """Two streams in mid-sentence, one that has ended, ids to be used again."""
    pair = Pair(server={"window_bytes": 4096}).attach()
    for key in range(1, 6):
        pair.edge.start(key)
    pair.pump()
    pair.edge.say(1, 10_000)  # more than its credit
    pair.server.say(2, 500)
    for number in (5, 3, 4):
        pair.edge.close(number)
    pair.pump()
    pair.edge.say(2, 70)
    pair.edge.close(1)
    pair.server.say(2, 30)
    return pair


def test_a_moved_session_has_the_same_ids_free() -> None:
    one, other = talking(), talking()
    move(other, Side.EDGE)
    numbers = []
    for pair in (one, other):
        pair.cut()
        pair.attach()
        numbers.append([pair.edge.start(key) for key in range(10, 15)])
    assert numbers[0] == numbers[1] == [1, 4, 3, 5, 6]


def test_a_session_that_was_never_welcomed_does_not_move() -> None:
    pair = Pair()
    for _ in range(2):
        assert not pair.edge.end.can_move()
        with pytest.raises(ValueError, match="there is no session"):
            pair.edge.end.export()
        pair.connect()


@pytest.mark.parametrize("side", Side)
def test_a_session_that_has_ended_does_not_move(side: Side) -> None:
    pair = talking()
    talker = pair.edge if side == Side.EDGE else pair.server
    assert talker.end.can_move()
    talker.end.end()
    assert not talker.end.can_move()
    pair.pump()
    assert not talker.end.can_move()


def test_exporting_changes_nothing() -> None:
    one, other = talking(), talking()
    for end in (other.edge.end, other.server.end):
        assert end.export() == end.export()
    for pair in (one, other):
        pair.pump()
    assert facts_of(one.edge) == facts_of(other.edge)
    assert facts_of(one.server) == facts_of(other.server)
    assert one.edge.log == other.edge.log


def test_megabytes_that_nobody_has_acknowledged_move() -> None:
    pair = Pair(edge={"backlog_limit_bytes": 1 << 30}, server={"window_bytes": 1 << 20}).attach()
    streams = [pair.edge.start(key) for key in range(5)]
    for stream in streams:
        pair.edge.say(stream, 1_000_000)
    assert pair.edge.end.kept_bytes() > 3_000_000
    move(pair, Side.EDGE)
    pair.cut()
    pair.attach()
    assert [pair.server.open[stream].got for stream in streams] == [1_000_000] * 5


def test_the_grace_time_begins_with_the_move_and_ends_where_it_would_have() -> None:
    for broken_before in (False, True):
        pair = talking()
        if broken_before:
            pair.cut()
            pair.now += 20 * SECOND
        move(pair, Side.EDGE)
        left = 10 if broken_before else 30
        pair.edge.end.tick(pair.now + left * SECOND - 1)
        assert pair.edge.end.state == SessionState.UNATTACHED
        pair.edge.end.tick(pair.now + left * SECOND)
        assert pair.edge.log[-1] == ("end", LinkReason.LINK_TIMEOUT, "no new socket for 30 s")


@pytest.mark.parametrize("side", Side)
def test_another_version_is_named(side: Side) -> None:
    pair = talking()
    end = (pair.edge if side == Side.EDGE else pair.server).end
    state = end.export()
    assert state[0] == 1
    with pytest.raises(ValueError, match="has version 2 instead of 1"):
        LinkEnd(side, SECRET, NOBODY).go_on_from(b"\2" + state[1:], SECOND)


def test_the_other_role_s_state_and_a_session_that_has_begun_are_refused() -> None:
    pair = talking()
    with pytest.raises(ValueError, match="whose it is"):
        LinkEnd(Side.SERVER, SECRET, NOBODY).go_on_from(pair.edge.end.export(), SECOND)
    with pytest.raises(ValueError, match="has begun already"):
        pair.edge.end.go_on_from(pair.edge.end.export(), SECOND)


@pytest.mark.parametrize("side", Side)
def test_a_state_of_another_length_is_refused(side: Side) -> None:
    pair = talking()
    state = (pair.edge if side == Side.EDGE else pair.server).end.export()
    for wrong in [*(state[:length] for length in range(len(state))), state + b"\0"]:
        with pytest.raises(ValueError, match=r"not the state of a link's session|has version 0"):
            LinkEnd(side, SECRET, NOBODY).go_on_from(wrong, SECOND)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(side=SIDES, places=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=4))
def test_whatever_stands_in_a_state_is_refused_or_used(side: Side, places: list[tuple[int, int]]) -> None:
    pair = talking()
    state = bytearray((pair.edge if side == Side.EDGE else pair.server).end.export())
    for at, value in places:
        state[at % len(state)] = value
    end = LinkEnd(side, SECRET, NOBODY)
    try:
        end.go_on_from(bytes(state), SECOND)
    except ValueError:
        return
    assert end.export()[:3] == state[:3]

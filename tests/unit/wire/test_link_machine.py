"""Many streams talk while the socket is cut at random: nothing is lost, repeated or reordered, and all ends well."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from megaphone.wire.link import LinkReason, Side
from megaphone.wire.link_session import SessionState
from tests.unit.wire.link_pair import SECOND, Pair, Talk, Talker

BYTES = st.sampled_from([1, 100, 4095, 4096, 16384, 16385, 40000])
PIECE = st.sampled_from([1, 7, 8, 9, 31, 500, 20000, 1 << 30])
SIDES = st.sampled_from(Side)
STREAMS = 6


class Link(RuleBasedStateMachine):
    """One session over any number of sockets."""

    pair: Pair
    key = 0

    @initialize(
        windows=st.tuples(*[st.sampled_from([4096, 5000, 65536])] * 2), backlog=st.sampled_from([1, 9000, 262144])
    )
    def begin(self, windows: tuple[int, int], backlog: int) -> None:
        self.pair = Pair(
            edge={"window_bytes": windows[0], "backlog_limit_bytes": backlog},
            server={"window_bytes": windows[1], "backlog_limit_bytes": backlog, "streams_limit": STREAMS},
        ).attach()

    def talker(self, side: Side) -> Talker:
        return self.pair.edge if side == Side.EDGE else self.pair.server

    def pick(self, talker: Talker, choice: int) -> int:
        """One of the talker's open streams, or 0."""
        return sorted(talker.open)[choice % len(talker.open)] if talker.open else 0

    # --- owners ---

    @rule()
    def start(self) -> None:
        self.key += 1
        could = self.pair.edge.end.can_open()
        assert bool(self.pair.edge.start(self.key)) == could

    @rule(side=SIDES, choice=st.integers(0, 9), length=BYTES)
    def say(self, side: Side, choice: int, length: int) -> None:
        talker = self.talker(side)
        if (number := self.pick(talker, choice)) and talker.open[number].offered < 200_000:
            talker.say(number, length)

    @rule(side=SIDES, choice=st.integers(0, 9), length=BYTES)
    def take(self, side: Side, choice: int, length: int) -> None:
        talker = self.talker(side)
        if number := self.pick(talker, choice):
            talker.take(number, length)

    @rule(side=SIDES, choice=st.integers(0, 9))
    def close(self, side: Side, choice: int) -> None:
        talker = self.talker(side)
        if number := self.pick(talker, choice):
            talker.close(number, LinkReason.CLOSED, "bye")

    # --- the socket ---

    @rule(side=SIDES, length=PIECE)
    def write(self, side: Side, length: int) -> None:
        self.pair.write(side, length)

    @rule(side=SIDES, length=PIECE)
    def deliver(self, side: Side, length: int) -> None:
        self.pair.deliver(side, length)

    @precondition(lambda self: self.pair.edge.end.state != SessionState.UNATTACHED)
    @rule(server_notices=st.booleans())
    def cut(self, server_notices: bool) -> None:
        self.pair.cut(server_notices=server_notices)

    @precondition(lambda self: self.pair.edge.end.state == SessionState.UNATTACHED)
    @rule()
    def connect(self) -> None:
        self.pair.connect()

    @rule()
    def tick(self) -> None:
        self.pair.now += SECOND // 100
        self.pair.edge.end.tick(self.pair.now)
        self.pair.server.end.tick(self.pair.now)

    # --- what always holds; Talker checks every byte that comes ---

    @invariant()
    def nobody_complains_and_bounds_hold(self) -> None:
        for talker in (self.pair.edge, self.pair.server):
            assert not {"end", "refused"} & {event[0] for event in talker.log}
            assert ("welcome", False) not in talker.log[1:]
            assert talker.end.stream_count() <= STREAMS
            assert all(reason == LinkReason.CLOSED and text == "bye" for _, reason, text in talker.ended)
            window = talker.end.window_bytes
            for number, talk in talker.open.items():
                stream = talker.end.stream(number)
                assert stream is not None
                _, _, received, granted, _, untaken = stream
                assert received == talk.got <= granted <= talk.got - talk.untaken + window
                assert untaken == talk.untaken <= window

    @invariant()
    def those_whose_peer_has_ended_have_heard_all_it_said(self) -> None:
        """What a stream's end has taken in is what the other end had sent: SHUTDOWN comes behind all data."""
        for talker, other in ((self.pair.edge, self.pair.server), (self.pair.server, self.pair.edge)):
            theirs = {talk.key: talk for talk in other.open.values()}
            for talk in talker.open.values():
                if talk.key in theirs:
                    assert talk.got <= theirs[talk.key].sent

    def teardown(self) -> None:
        """The socket stays whole: everything arrives, and when all is ended every id is free."""
        pair = self.pair
        if pair.edge.end.state == SessionState.UNATTACHED:
            pair.connect()
        pair.pump()
        if pair.edge.end.state != SessionState.ATTACHED or Side.EDGE in pair.closed:
            pair.cut()
            pair.connect()
            pair.pump()
        while self.take_all() or pair.write(Side.EDGE) or pair.write(Side.SERVER):
            pair.pump()
        ours, theirs = by_key(pair.edge), by_key(pair.server)
        assert ours.keys() == theirs.keys()
        for key, talk in ours.items():
            assert talk.sent == talk.offered == theirs[key].got
            assert theirs[key].sent == theirs[key].offered == talk.got
        for number in list(pair.edge.open):
            pair.edge.close(number)
        pair.pump()
        assert pair.edge.end.stream_count() == pair.server.end.stream_count() == 0
        assert len([pair.edge.start(key) for key in range(STREAMS) if pair.edge.end.can_open()]) == STREAMS
        assert set(pair.edge.open) == set(range(1, STREAMS + 1))

    def take_all(self) -> int:
        taken = 0
        for talker in (self.pair.edge, self.pair.server):
            for number, talk in list(talker.open.items()):
                taken += talk.untaken
                talker.take(number, talk.untaken)
        return taken


def by_key(talker: Talker) -> dict[int, Talk]:
    return {talk.key: talk for talk in talker.open.values()}


TestLink = Link.TestCase
TestLink.settings = settings(max_examples=60, stateful_step_count=60, deadline=None, derandomize=True)

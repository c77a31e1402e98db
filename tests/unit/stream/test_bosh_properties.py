"""Whatever way requests and answers take, the XMPP stream is the same in both directions."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.stream.bosh_people import FEATURES, HEADER, Play

STEPS = st.lists(
    st.sampled_from(["client", "client", "server", "swap", "lose request", "lose answer", "gone", "wait", "repeat"]),
    max_size=60,
)


class Network:
    """A client that behaves, behind a network that does not: requests overtake each other, get lost, answers too."""

    def __init__(self) -> None:
        self.play = Play()
        self.next_rid = 2
        self.open: dict[int, str] = {}  # rid: what it carries
        self.numbers: dict[int, int] = {}
        self.heard: dict[int, list[str]] = {1: []}  # by rid, as answers came
        self.said: list[str] = []
        self.answered: list[str] = []
        self.seen = 1

    def client(self, step: str) -> None:
        """New requests, as many as are allowed, in order, the later one first, or the first one lost on its way."""
        new = []
        while len(self.open) < 2:
            text = f"<message id='{self.next_rid}'/>"
            self.open[self.next_rid] = text
            self.said.append(text)
            new.append(self.next_rid)
            self.next_rid += 1
        if step == "swap":
            new.reverse()
        for rid in new[1:] if step == "lose request" else new:
            self.send(rid)

    def send(self, rid: int, *, lost: bool = False) -> None:
        self.play.answered.clear()
        self.numbers[rid] = self.play.send(rid, inner=self.open[rid])
        self.hear(lost=lost)

    def server(self, *, lost: bool = False) -> None:
        text = f"<message id='s{len(self.answered)}'/>"
        self.answered.append(f"s{len(self.answered)}")
        self.play.answered.clear()
        self.play.server(text.encode())
        self.hear(lost=lost)

    def hear(self, *, lost: bool) -> None:
        """What has been answered; a lost answer is asked for again."""
        again = []
        for rid in self.play.answered:
            answer = self.play.answers[rid]
            assert answer.get("type") is None
            if rid not in self.open:
                continue  # said to who asked before; the same has been heard
            if lost:
                again.append(rid)
                continue
            del self.open[rid]
            self.heard[rid] = [element.get("id", "") for element in answer]
        for rid in again:
            self.send(rid)

    def step(self, step: str) -> None:
        self.play.now += 3.0
        if step in ("client", "swap", "lose request"):
            self.client(step)
        elif step in ("server", "lose answer"):
            self.server(lost=step == "lose answer")
        elif step == "wait":
            self.play.answered.clear()
            self.play.at(self.play.now)
            self.hear(lost=False)
        elif step == "repeat":
            for rid in sorted(self.open, reverse=True):
                if rid in self.open:
                    self.send(rid)
        elif step == "gone":
            for rid in list(self.open):
                if rid in self.numbers:
                    self.play.gone(self.numbers[rid])
                self.send(rid)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_the_stream_is_the_same_whatever_way_requests_and_answers_take(steps: list[str]) -> None:
    network = Network()
    begun = network.play.stream
    for step in steps:
        network.step(step)
    for rid in sorted(network.open):
        if rid in network.open:
            network.send(rid)  # what was lost comes in the end
    network.play.now += 3.0
    for _ in range(3):  # and whoever has nothing to say asks
        network.play.now += 3.0
        network.client("client")
    assert not network.play.session.ended
    assert network.play.stream == begun + "".join(network.said).encode()
    heard = [text for rid in sorted(network.heard) for text in network.heard[rid]]
    assert heard == network.answered


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 400), max_size=12))
def test_the_server_may_cut_its_bytes_anywhere(cuts: list[int]) -> None:
    data = HEADER + FEATURES + b" <message id='1'><body>a &amp; b</body></message><presence/>" + b"<iq id='\xc3\xa9'/>"
    play = Play(features=False)
    at = 0
    for cut in [*sorted(set(cuts)), len(data)]:
        play.server(data[at:cut])
        at = max(at, min(cut, len(data)))
    play.send(2)
    play.now += 5
    play.send(3)
    heard = [element.tag.partition("}")[2] for rid in sorted(play.answers) for element in play.answers[rid]]
    assert heard == ["features", "message", "presence", "iq"]

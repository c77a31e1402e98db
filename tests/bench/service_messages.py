"""One-to-one messages: sessions in pairs exchange them, one under way in each pair or many."""

from functools import partial

from tests.bench.measure import cost
from tests.bench.report.figure import Figure
from tests.bench.service_compared import EJABBERD, PROSODY, Efficiency, talking

TARGETS = {EJABBERD: 4.0, PROSODY: 15.0}
PIPELINED = 32  # under way in each pair: 16 of each sender
WARM_UP_SECONDS = 0.5


def measure_messages(names: list[str], sessions: list[int], rounds: int, seconds: float) -> list[Figure]:
    """Every number of sessions, ping-pong and pipelined, the services in turn."""
    ways = [
        (count, in_flight, Efficiency(f"{count:,} sessions, {what}", "messages", TARGETS, named=False))
        for count in sessions
        for in_flight, what in ((1, "one under way in each pair"), (PIPELINED, f"{PIPELINED // 2} of each under way"))
    ]
    with talking(dict.fromkeys(names, max(sessions))) as talks:
        for talk in talks.values():
            talk.clients.pairs(max(sessions), PIPELINED, WARM_UP_SECONDS)
        for _ in range(rounds):
            for count, in_flight, efficiency in ways:
                for name, talk in talks.items():
                    efficiency.add(name, cost(talk.service, partial(talk.clients.pairs, count, in_flight, seconds)))
    return [figure for _, _, efficiency in ways for figure in efficiency.figures]

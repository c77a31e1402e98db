"""`make bench WHAT=relay`: what relaying plain XMPP costs, beside HAProxy `mode tcp` and nginx `stream`.

The relay has one core, clients and the server behind it the other. Every relay has its own clients, all connected at
the same time, and they are measured in turn (A B C A B C), so that a slow moment of the machine meets all of them.
"""

import os
from contextlib import ExitStack
from functools import partial

from tests.bench import usage
from tests.bench.measure import IDLE, Bench, bench, cost, idle_kib, run
from tests.bench.relays import MAKERS, Certificate, Relay
from tests.bench.report.figure import OURS, Figure, Target
from tests.bench.report.report import Report, arguments
from tests.bench.swarm import Clients

CONNECTIONS = 1_000
ACTIVE = 200
STANZAS_PER_SECOND = 10_000
DIRECT = "no relay"
PEERS = ("haproxy", "nginx")

Peers = tuple[str, ...]
Pair = tuple[Relay, Clients]


def connected(
    setting: Bench, stack: ExitStack, names: list[str], certificate: Certificate | None = None
) -> dict[str, Pair]:
    """Every relay with 1,000 logged-in clients (TLS 1.3 if there is a certificate), warmed up."""
    pairs = {}
    for name in names:
        relay = stack.enter_context(setting.relay(name, certificate))
        clients = stack.enter_context(setting.clients(relay.port, "1.3" if certificate else ""))
        clients.open(CONNECTIONS)
        clients.pingpong(ACTIVE, 1.0)
        pairs[name] = relay, clients
    return pairs


def measure_pingpong(
    pairs: dict[str, Pair], rounds: int, seconds: float, *, ours: str = OURS, most: float = 1.2, peers: Peers = PEERS
) -> list[Figure]:
    """200 of 1,000 connections exchange 200-byte chat stanzas, one in flight each; `most` is the target's ratio."""
    per_stanza = Figure("CPU per relayed stanza", "us", Target("ratio", most), ours=ours, peers=peers)
    per_round_trip = Figure("CPU per round trip", "us", ours=ours, peers=peers, detail=True)
    speed = Figure("round trips, 200 in flight", "1/s", digits=0, ours=ours, peers=peers)
    for _ in range(rounds):
        for name, (relay, clients) in pairs.items():
            taken = cost(relay, partial(clients.pingpong, ACTIVE, seconds))
            per_round_trip.add(name, taken.microseconds_each)
            per_stanza.add(name, taken.microseconds_each / 2)
            speed.add(name, taken.answer["completed"] / taken.answer["seconds"])
    return [per_stanza, per_round_trip, speed]


def measure_latency(
    setting: Bench, pairs: dict[str, Pair], rounds: int, seconds: float, *, ours: str = OURS, peers: Peers = PEERS
) -> tuple[list[Figure], bool]:
    """10,000 stanzas a second at fixed times; what the way through the relay and back takes longer than without it.

    Also returns whether all took place before other work of the machine: a pause that some other program causes says
    nothing about a relay.
    """
    targets = {"p50": (), "p99": (Target("value", 2_000),)}
    added = {
        part: Figure(
            f"latency added at {STANZAS_PER_SECOND:,}/s, {part}", "us", *each, digits=0, ours=ours, peers=peers
        )
        for part, each in targets.items()
    }
    alone = {part: Figure(f"{part} latency without relay", "us", digits=0, peers=(), detail=True) for part in added}
    with ExitStack() as stack:
        direct = stack.enter_context(setting.clients(setting.echo_port))
        direct.open(CONNECTIONS)
        preferred = stack.enter_context(usage.preferred(os.getpid()))
        for _ in range(rounds):
            base = direct.paced(ACTIVE, STANZAS_PER_SECOND, seconds)
            answers = {name: clients.paced(ACTIVE, STANZAS_PER_SECOND, seconds) for name, (_, clients) in pairs.items()}
            for part in added:
                alone[part].add(DIRECT, base[f"{part}_us"])
                for name, answer in answers.items():
                    added[part].add(name, answer[f"{part}_us"] - base[f"{part}_us"])
    return [*added.values(), *alone.values()], preferred


def main() -> None:
    """Measure and print."""
    parser = arguments("relay", __doc__, rounds=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one relay in one round")
    parser.add_argument("--idle", type=int, default=IDLE, help="connections whose memory is counted")
    parser.add_argument("--relays", default=",".join(MAKERS), help="comma-separated; default: %(default)s")
    args = parser.parse_args()
    names = args.relays.split(",")
    with Report("relay", parser, args) as report, bench() as setting:
        memory = Figure("memory per idle connection", "KiB", Target("value", 3.0), peers=PEERS)
        for name in names:
            memory.add(name, idle_kib(setting, name, idle=args.idle))
        with ExitStack() as stack:
            pairs = connected(setting, stack, names)
            figures = measure_pingpong(pairs, args.rounds, args.seconds)
            # short rounds and more of them: one pause of a shared machine spoils the p99 of a whole round
            latency, preferred = measure_latency(setting, pairs, 3 * args.rounds, args.seconds / 2)
        settings = {
            "connections": CONNECTIONS,
            "active": ACTIVE,
            "stanza_bytes": 200,
            "stanzas_per_second_for_latency": STANZAS_PER_SECOND,
            "idle_connections": args.idle,
            "rounds": args.rounds,
            "seconds": args.seconds,
            "latency_at_realtime_priority": preferred,
        }
        title = "Plain XMPP through a relay on one core"
        report.add("relay", title, [*names, DIRECT], [*figures, memory, *latency], settings)


if __name__ == "__main__":
    run(main)

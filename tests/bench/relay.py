"""`make bench WHAT=relay`: what relaying plain XMPP costs, beside HAProxy `mode tcp` and nginx `stream`.

The relay has one core, clients and the server behind it the other. Every relay has its own clients, all connected at
the same time, and they are measured in turn (A B C A B C), so that a slow moment of the machine meets all of them.
"""

import argparse
import os
from contextlib import ExitStack
from functools import partial

from tests.bench import usage
from tests.bench.measure import IDLE, Bench, bench, cost, idle_kib, run
from tests.bench.relays import MAKERS, Certificate, Relay
from tests.bench.report import OURS, Figure, Target, print_report
from tests.bench.swarm import Clients

CONNECTIONS = 1_000
ACTIVE = 200
STANZAS_PER_SECOND = 10_000
DIRECT = "direct"

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
    pairs: dict[str, Pair], rounds: int, seconds: float, *, ours: str = OURS, most: float = 1.2
) -> list[Figure]:
    """200 of 1,000 connections exchange 200-byte chat stanzas, one in flight each; `most` is the target's ratio."""
    per_round_trip = Figure("CPU per round trip", "us", digits=2, ours=ours)
    per_stanza = Figure("CPU per relayed stanza", "us", Target("ratio", most), digits=2, ours=ours)
    speed = Figure("round trips", "1/s", digits=0, ours=ours)
    for _ in range(rounds):
        for name, (relay, clients) in pairs.items():
            taken = cost(relay, partial(clients.pingpong, ACTIVE, seconds))
            per_round_trip.add(name, taken.microseconds_each)
            per_stanza.add(name, taken.microseconds_each / 2)
            speed.add(name, taken.answer["completed"] / taken.answer["seconds"])
    return [per_stanza, per_round_trip, speed]


def measure_latency(
    setting: Bench, pairs: dict[str, Pair], rounds: int, seconds: float, *, ours: str = OURS
) -> tuple[list[Figure], bool]:
    """10,000 stanzas a second at fixed times; what the way through the relay and back takes longer than without it.

    Also returns whether all took place before other work of the machine: a pause that some other program causes says
    nothing about a relay.
    """
    added = {part: Figure(f"{part} latency added", "us", digits=0, ours=ours) for part in ("p50", "p99")}
    added["p99"].target = Target("value", 2_000)
    alone = {part: Figure(f"{part} latency without relay", "us", digits=0, ours=ours) for part in added}
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
    parser = argparse.ArgumentParser(prog="make bench WHAT=relay", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one relay in one round")
    parser.add_argument("--relays", default=",".join(MAKERS), help="comma-separated; default: %(default)s")
    args = parser.parse_args()
    names = args.relays.split(",")
    with bench() as setting:
        memory = Figure("memory per idle connection", "KiB", Target("value", 3.0))
        for name in names:
            memory.add(name, idle_kib(setting, name))
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
        "idle_connections": IDLE,
        "rounds": args.rounds,
        "seconds": args.seconds,
        "latency_at_realtime_priority": preferred,
    }
    print_report("relay", settings, [*figures, memory, *latency], [*names, DIRECT])


if __name__ == "__main__":
    run(main)

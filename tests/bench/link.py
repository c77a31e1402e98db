"""`make bench WHAT=link`: many clients over a few sockets, beside HAProxy, direct mode, and TLS in the server itself.

CPU of the edge for each stanza it carries over links; memory of a whole host with ejabberd or Prosody and thousands of
logged-in TLS clients; a login storm; frames per second of the codec.
"""

import argparse
from pathlib import Path
from typing import Any

from tests.bench import link_codec
from tests.bench.hosts import ALONE, LINK, LINKS, MAKERS
from tests.bench.link_cpu import DIRECT_MODE, HAPROXY, LINK_IDLE, measure_cpu
from tests.bench.link_memory import measure_memory
from tests.bench.link_plot import PLOT, draw
from tests.bench.link_storm import measure_storm
from tests.bench.logins import ACCOUNTS
from tests.bench.measure import IDLE, run
from tests.bench.relay import ACTIVE, CONNECTIONS, DIRECT, STANZAS_PER_SECOND
from tests.bench.report import OURS, Figure, print_report

PARTS = ("cpu", "memory", "storm", "codec")
# Prosody has one thread for everything and takes a few hundred logins a second at best.
PROSODY_STORM = 1_000


def measure_codec() -> list[Figure]:
    """`make bench WHAT=link_codec`, of which this is a part."""
    figures = link_codec.measure(rounds=5)
    for figure in figures:
        figure.name = f"codec: {figure.name}"
        figure.ours = LINK
        figure.rounds[LINK] = figure.rounds.pop(OURS)
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench WHAT=link", description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS), help="comma-separated; default: %(default)s")
    parser.add_argument("--servers", default="ejabberd,prosody", help="comma-separated; default: %(default)s")
    parser.add_argument("--clients", type=int, default=10_000, help="whose memory is measured; at most 18,000")
    parser.add_argument("--storm", type=int, default=5_000, help="clients of a storm; of Prosody's at most 1,000")
    parser.add_argument("--rounds", type=int, default=5, help="of CPU and latency")
    parser.add_argument("--storm-rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one relay in one round")
    parser.add_argument("--plot", type=Path, help=f"write the plot of memory there; the documentation's is {PLOT.name}")
    args = parser.parse_args()
    only, servers = args.only.split(","), args.servers.split(",")
    if unknown := {*only} - {*PARTS} | {*servers} - {*MAKERS}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    figures: list[Figure] = []
    settings: dict[str, Any] = {"links": LINKS, "only": only}
    if "cpu" in only:
        taken, preferred = measure_cpu(args.rounds, args.seconds)
        figures += taken
        settings |= {
            "connections": CONNECTIONS,
            "active": ACTIVE,
            "stanza_bytes": 200,
            "stanzas_per_second_for_latency": STANZAS_PER_SECOND,
            "idle_connections": {LINK: LINK_IDLE, "others": IDLE},
            "rounds": args.rounds,
            "seconds": args.seconds,
            "latency_at_realtime_priority": preferred,
        }
    if "memory" in only:
        taken, measured = measure_memory(servers, args.clients)
        figures += taken
        settings |= {"clients": args.clients, "accounts": ACCOUNTS}
        if args.plot:
            args.plot.write_text(draw(measured, args.clients))
    if "storm" in only:
        for kind in servers:
            clients = min(args.storm, PROSODY_STORM) if kind == "prosody" else args.storm
            figures += measure_storm(kind, clients, args.storm_rounds)
        settings |= {"storm": args.storm, "storm_rounds": args.storm_rounds, "mechanism": "SCRAM-SHA-1"}
    if "codec" in only:
        figures += measure_codec()
    print_report("link", settings, figures, [LINK, ALONE, DIRECT_MODE, HAPROXY, DIRECT, link_codec.STRUCT])


if __name__ == "__main__":
    run(main)

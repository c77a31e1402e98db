"""`make bench WHAT=web`: what a browser's way in costs, beside the plain TCP way of the same build and beside others.

CPU is that of the relay, which has one core; clients and the servers behind it have the other. All relays are connected
at the same time and measured in turn (A B C A B C); who does what is in tests/bench/web_relay.py.
"""

from argparse import Namespace
from importlib.metadata import version

from tests.bench.measure import IDLE, run
from tests.bench.relay import ACTIVE, CONNECTIONS
from tests.bench.report.figure import OURS, Figure, Target
from tests.bench.report.report import Report, arguments
from tests.bench.web_memory import measure_memory
from tests.bench.web_pages import HOLDERS, PAGE_BYTES, measure_pages
from tests.bench.web_relay import RELAYS, STANZAS_PER_SECOND, TCP, measure_relays
from tests.bench.web_servers import SERVERS
from tests.bench.websocket import LONG, LONG_CYRILLIC, compiled_messages_per_second, messages_per_second, reads_of
from tests.bench.websocket_peers import PEERS

PARTS = ("memory", "cpu", "unmasking", "pages")
UNMASKED = {"64 kB of ASCII text, unmasked and checked": LONG, "64 kB of Cyrillic, the same": LONG_CYRILLIC}
GB_PER_SECOND = 2.0


def main() -> None:
    """Measure and print."""
    parser = arguments("web", __doc__, rounds=5)
    parser.add_argument("--only", default=",".join(PARTS), help="comma-separated; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one relay in one round")
    parser.add_argument("--idle", type=int, default=IDLE, help="connections whose memory is counted")
    parser.add_argument("--viewers", type=int, default=1_000, help="of one page")
    parser.add_argument("--relays", default=",".join(RELAYS), help="comma-separated; default: %(default)s")
    parser.add_argument("--servers", default=",".join(SERVERS), help="comma-separated; default: %(default)s")
    args = parser.parse_args()
    only = args.only.split(",")
    if unknown := {*only} - {*PARTS}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    measures = {"memory": report_memory, "cpu": report_cpu, "unmasking": report_unmasking, "pages": report_pages}
    libraries = {name: version(name) for name in SERVERS}
    with Report("web", parser, args, **libraries) as report:
        for part in only:
            measures[part](report, args)


def report_memory(report: Report, args: Namespace) -> None:
    """What an idle connection keeps."""
    rounds = min(args.rounds, 2)
    names = [OURS, *args.servers.split(",")]
    figures = measure_memory(rounds, args.idle, names)
    settings = {"idle_connections": args.idle, "rounds": rounds}
    report.add("web-memory", "Worker memory of an idle WebSocket", [*names, TCP], figures, settings, only="memory")


def report_cpu(report: Report, args: Namespace) -> None:
    """What a relayed stanza costs."""
    names = args.relays.split(",")
    figures = measure_relays(names, args.rounds, args.seconds)
    settings = {
        "connections": CONNECTIONS,
        "active": ACTIVE,
        "stanza_bytes": 200,
        "stanzas_per_second": STANZAS_PER_SECOND,
        "rounds": args.rounds,
        "seconds": args.seconds,
    }
    report.add("web-cpu", "XMPP over WebSocket through a relay on one core", names, figures, settings, only="cpu")


def report_unmasking(report: Report, args: Namespace) -> None:
    """How fast payloads are unmasked where they lie, and checked to be UTF-8."""
    figures = []
    for name, message in UNMASKED.items():
        reads = reads_of(message, 1)
        figure = Figure(name, "GB/s", Target("value", GB_PER_SECOND, at_most=False), peers=tuple(PEERS))
        for _ in range(args.rounds):
            figure.add(OURS, compiled_messages_per_second(reads) * len(message) / 1e9)
            for peer, make in PEERS.items():
                figure.add(peer, messages_per_second(make, reads) * len(message) / 1e9)
        figures.append(figure)
    settings = {"message_bytes": {name: len(message) for name, message in UNMASKED.items()}, "rounds": args.rounds}
    title = "WebSocket payload read on one core"
    report.add("web-unmasking", title, [OURS, *PEERS], figures, settings, only="unmasking")


def report_pages(report: Report, args: Namespace) -> None:
    """What an ephemeral page costs."""
    figures = measure_pages(args.rounds, args.viewers, 2 * args.seconds)
    settings = {"viewers": args.viewers, "page_bytes": PAGE_BYTES, "rounds": args.rounds, "holders": HOLDERS}
    report.add("web-pages", "An ephemeral page of 20 kB, one worker", [OURS], figures, settings, only="pages")


if __name__ == "__main__":
    run(main)

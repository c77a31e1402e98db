"""`make bench WHAT=link`: many clients over a few sockets, beside HAProxy, direct mode, and TLS in the server itself.

CPU of the edge for each stanza it carries over links; memory of a whole host with ejabberd or Prosody and thousands of
logged-in TLS clients; a login storm. The codec has a benchmark of its own, `WHAT=link_codec`.
"""

from argparse import Namespace

from tests.bench.hosts import ALONE, LINK, LINKS, MAKERS
from tests.bench.link_cpu import DIRECT_MODE, HAPROXY, LINK_IDLE, measure_cpu
from tests.bench.link_memory import STACK, measure_memory
from tests.bench.link_storm import measure_storm
from tests.bench.logins import ACCOUNTS
from tests.bench.measure import IDLE, run
from tests.bench.relay import ACTIVE, CONNECTIONS, DIRECT, STANZAS_PER_SECOND
from tests.bench.report.figure import Figure
from tests.bench.report.report import Report, arguments

PARTS = ("cpu", "memory", "storm")
# Prosody has one thread for everything and takes a few hundred logins a second at best.
PROSODY_STORM = 1_000


def main() -> None:
    """Measure and print."""
    parser = arguments("link", __doc__, rounds=5)
    parser.add_argument("--only", default=",".join(PARTS), help="comma-separated; default: %(default)s")
    parser.add_argument("--servers", default="ejabberd,prosody", help="comma-separated; default: %(default)s")
    parser.add_argument("--clients", type=int, default=10_000, help="whose memory is measured; at most 18,000")
    parser.add_argument("--storm", type=int, default=5_000, help="clients of a storm; of Prosody's at most 1,000")
    parser.add_argument("--storm-rounds", type=int, default=3, help="or fewer if there are fewer of the others")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one relay in one round")
    parser.add_argument("--idle", type=int, default=IDLE, help="plain connections whose memory is counted")
    args = parser.parse_args()
    only, servers = args.only.split(","), args.servers.split(",")
    if unknown := {*only} - {*PARTS} | {*servers} - {*MAKERS}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    measures = {"cpu": report_cpu, "memory": report_memory, "storm": report_storm}
    with Report("link", parser, args) as report:
        for part in only:
            measures[part](report, args, servers)


def report_cpu(report: Report, args: Namespace, _: list[str]) -> None:
    """What a relayed stanza costs."""
    figures, preferred = measure_cpu(args.rounds, args.seconds, args.idle)
    settings = {
        "links": LINKS,
        "connections": CONNECTIONS,
        "active": ACTIVE,
        "stanza_bytes": 200,
        "stanzas_per_second_for_latency": STANZAS_PER_SECOND,
        "idle_connections": {LINK: LINK_IDLE * args.idle, "others": args.idle},
        "rounds": args.rounds,
        "seconds": args.seconds,
        "latency_at_realtime_priority": preferred,
    }
    title = "Plain XMPP over two links, the edge on one core"
    report.add("link-cpu", title, [LINK, DIRECT_MODE, HAPROXY, DIRECT], figures, settings, only="cpu")


def report_memory(report: Report, args: Namespace, servers: list[str]) -> None:
    """What a host with idle TLS clients needs."""
    figures = measure_memory(servers, args.clients)
    settings = {"links": LINKS, "clients": args.clients, "accounts": ACCOUNTS}
    title = f"Memory of the host, {args.clients:,} idle TLS clients"
    columns = [LINK, ALONE]
    report.add("link-memory", title, columns, figures, settings, layout="stacks", parts=STACK, only="memory")


def report_storm(report: Report, args: Namespace, servers: list[str]) -> None:
    """How long logins take that come together."""
    figures: list[Figure] = []
    rounds = min(args.rounds, args.storm_rounds)
    for kind in servers:
        clients = min(args.storm, PROSODY_STORM) if kind == "prosody" else args.storm
        figures += measure_storm(kind, clients, rounds)
    settings = {"links": LINKS, "storm": args.storm, "storm_rounds": rounds, "mechanism": "SCRAM-SHA-1"}
    report.add("link-storm", "Login storms, TLS 1.3", [LINK, ALONE], figures, settings, only="storm")


if __name__ == "__main__":
    run(main)

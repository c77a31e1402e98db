"""`make bench WHAT=cluster`: three nodes and a NATS on this machine: a big room over them, and a cut that heals.

The room has its occupants on all nodes in turn; the same room on one node without a cluster stands beside it. Every
delivery is accounted for, as in `make bench WHAT=service`. CPU time is that of the nodes and of NATS, by the kernel's
clock of each process. How the nodes spend theirs is found in rounds of their own, which are not measured: the threads
that write to SQLite by the kernel's clock of each thread, the loops by py-spy (`cluster_stacks.py`).

The cut: two nodes are on NATS's side of it, the third is alone; both sides write; then the way to NATS is there again.
Measured until the digests of the room are the same in the databases of all three.
"""

from tests.bench.cluster_heal import measure_heal
from tests.bench.cluster_nodes import ALONE, CLUSTER, NODES, ClusterService
from tests.bench.cluster_room import measure_room
from tests.bench.measure import allow_descriptors, run
from tests.bench.report.report import Report, arguments
from tests.bench.service_room import WAYS

PARTS = ("room", "heal")


def main() -> None:
    """Measure and print."""
    parser = arguments("cluster", __doc__, rounds=5)
    parser.add_argument("--only", default=",".join(PARTS), help="comma-separated; default: %(default)s")
    parser.add_argument("--workers", type=int, default=1, help="of each node; default: %(default)s")
    parser.add_argument("--occupants", type=int, default=3_000, help="of the room; at most 19,000")
    parser.add_argument("--messages", type=int, default=32, help="sent to the room in one round")
    parser.add_argument("--sampled", type=float, default=5.0, help="seconds of talk in which stacks are looked at")
    parser.add_argument("--written", type=int, default=10_000, help="messages on each side of the cut")
    parser.add_argument("--heals", type=int, default=3, help="cuts that heal")
    args = parser.parse_args()
    only = args.only.split(",")
    if unknown := {*only} - {*PARTS}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    allow_descriptors()
    ClusterService.workers = args.workers
    shared = {"nodes": len(NODES), "workers": args.workers, "tls": False}
    with Report("cluster", parser, args) as report:
        if "room" in only:
            figures = measure_room(args.occupants, args.rounds, args.messages, args.sampled)
            ways = {what: {"senders": senders, "in_flight_each": each} for what, (senders, each) in WAYS.items()}
            settings = {"rounds": args.rounds, "occupants": args.occupants, "messages": args.messages, "ways": ways}
            title = f"A room of {args.occupants:,} over {len(NODES)} nodes of one machine"
            report.add("cluster-room", title, [CLUSTER, ALONE], figures, shared | settings, only="room")
        if "heal" in only:
            heal_figures = measure_heal(args.heals, args.written)
            title = f"A cut heals: {args.written:,} messages were written on each side"
            settings = {"rounds": args.heals, "written": args.written}
            report.add("cluster-heal", title, [CLUSTER], heal_figures, shared | settings, layout="rows", only="heal")


if __name__ == "__main__":
    run(main)

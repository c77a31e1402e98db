"""`make bench WHAT=service`: Megaphone by itself beside ejabberd and Prosody, all three with the same clients.

One-to-one messages, logins, and deliveries in a big room for each CPU-second of the server; memory of an idle session.
Every delivery is accounted for: one that is lost, doubled or out of order ends the benchmark.
"""

from tests.bench.measure import allow_descriptors, run
from tests.bench.report import wording
from tests.bench.report.report import Report, arguments
from tests.bench.service_compared import PROSODY
from tests.bench.service_logins import AT_ONCE, measure_logins
from tests.bench.service_memory import measure_memory
from tests.bench.service_messages import PIPELINED, measure_messages
from tests.bench.service_room import WAYS, measure_room
from tests.bench.services import MAKERS, MECHANISM, MegaphoneService

PARTS = ("messages", "memory", "room", "logins")


def main() -> None:
    """Measure and print."""
    parser = arguments("service", __doc__, rounds=5)
    parser.add_argument("--only", default=",".join(PARTS), help="comma-separated; default: %(default)s")
    parser.add_argument("--servers", default=",".join(MAKERS), help="comma-separated; default: %(default)s")
    parser.add_argument("--workers", type=int, default=0, help="of Megaphone; default: one for each core")
    parser.add_argument("--seconds", type=float, default=2.0, help="of messages at one server in one round")
    parser.add_argument("--sessions", default="100,1000", help="that exchange messages; default: %(default)s")
    parser.add_argument("--idle", type=int, default=5_000, help="sessions whose memory is measured; at most 10,000")
    parser.add_argument("--memory-rounds", type=int, default=1)
    parser.add_argument("--occupants", type=int, default=5_000, help="of the room; at most 19,000")
    parser.add_argument("--prosody-occupants", type=int, default=500, help="of Prosody's room; default: %(default)s")
    parser.add_argument("--messages", type=int, default=32, help="sent to the room of one server in one round")
    parser.add_argument("--logins", type=int, default=2_000, help="at one server in one round")
    args = parser.parse_args()
    only, names = args.only.split(","), args.servers.split(",")
    if unknown := {*only} - {*PARTS} | {*names} - {*MAKERS}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    allow_descriptors()
    MegaphoneService.workers = args.workers
    sessions = [int(count) for count in args.sessions.split(",")]
    occupants = dict.fromkeys(names, args.occupants)
    if PROSODY in occupants:
        # For each who enters it copies every occupant: 500 take 20 seconds of CPU, 5,000 half an hour.
        occupants[PROSODY] = min(args.occupants, args.prosody_occupants)
    shared = {"mechanism": MECHANISM, "tls": False, "workers": args.workers}
    with Report("service", parser, args) as report:
        if "messages" in only:
            figures = measure_messages(names, sessions, args.rounds, args.seconds)
            settings = {"rounds": args.rounds, "sessions": sessions, "seconds": args.seconds, "pipelined": PIPELINED}
            title = "One-to-one messages per CPU-second of the server"
            report.add("service-messages", title, names, figures, shared | settings, only="messages")
        if "memory" in only:
            figures = measure_memory(names, args.idle, args.memory_rounds)
            settings = {"rounds": args.memory_rounds, "idle_sessions": args.idle}
            title = "Memory of an idle session with presence"
            report.add("service-memory", title, names, figures, shared | settings, only="memory")
        if "room" in only:
            figures = measure_room(occupants, args.rounds, args.messages)
            ways = {what: {"senders": senders, "in_flight_each": each} for what, (senders, each) in WAYS.items()}
            settings = {"rounds": args.rounds, "occupants": occupants, "messages": args.messages, "ways": ways}
            title = _room_title(occupants)
            report.add("service-room", title, names, figures, shared | settings, only="room")
        if "logins" in only:
            figures = measure_logins(names, args.logins, args.rounds)
            settings = {"rounds": args.rounds, "logins": args.logins, "at_once": AT_ONCE}
            title = f"Logins with {MECHANISM}, without TLS"
            report.add("service-logins", title, names, figures, shared | settings, only="logins")


def _room_title(occupants: dict[str, int]) -> str:
    most = max(occupants.values())
    fewer = [f"{count:,} at {wording.name(name)}" for name, count in occupants.items() if count < most]
    return f"A room of {most:,}{''.join(f' ({each})' for each in fewer)}"


if __name__ == "__main__":
    run(main)

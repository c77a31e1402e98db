"""`megaphone connections`: which clients are connected, by address, JID or state."""

import argparse
from typing import Any

from megaphone.cli import filters
from megaphone.cli.control import add_control_options, ask
from megaphone.cli.output import FAILED, OK, age, latency, print_error, print_json, size, table

STATES = ("negotiating", "connecting", "preauth", "authenticated", "relaying", "closing")


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `connections` to the command line."""
    parser = subparsers.add_parser(
        "connections",
        help="list client connections",
        description="List the connections of all workers that match every filter given. "
        "Exit code 1 when a worker did not answer, so that the list may be incomplete.",
    )
    parser.add_argument("--address", metavar="IP", type=filters.address, help="only from this client address")
    parser.add_argument("--jid", metavar="JID", type=filters.jid, help="only this bare or full JID")
    parser.add_argument(
        "--state",
        metavar="STATE",
        choices=STATES,
        help="only in this state: negotiating, connecting, preauth, authenticated or closing; of a hub connecting, "
        "relaying or closing",
    )
    parser.add_argument(
        "--limit",
        metavar="N",
        type=filters.limit,
        default=100,
        help=f"at most this many, up to {filters.LIST_LIMIT} (default: 100)",
    )
    add_control_options(parser)


def run(args: argparse.Namespace) -> int:
    """Lists; 0, or 1 when the list is incomplete."""
    filters = {"address": args.address, "jid": args.jid, "state": args.state, "limit": str(args.limit)}
    answer = ask(
        args, "GET", "/connections", query={name: value for name, value in filters.items() if value is not None}
    )
    if args.json:
        print_json(answer)
    else:
        head = (
            *("ID", "WORKER", "STATE", "ADDRESS", "JID", "DOMAIN", "VIA", "TLS", "UPSTREAM"),
            *("AGE", "ROUND TRIP", "IN", "OUT"),
        )
        print(table(head, [_row(connection) for connection in answer["connections"]]))
        if answer["truncated"]:
            print(f"(there may be more than these {len(answer['connections'])}: use a filter or a greater --limit)")
    if answer["missing_workers"]:
        missing = ", ".join(map(str, answer["missing_workers"]))
        print_error(f"no answer from worker {missing}; its connections are not in the list")
        return FAILED
    return OK


def _row(connection: dict[str, Any]) -> tuple[str, ...]:
    address = connection["address"]
    return (
        connection["id"],
        str(connection["worker"]),
        connection["state"],
        f"[{address}]:{connection['port']}" if ":" in address else f"{address}:{connection['port']}",
        connection["jid"] or "-",
        connection["domain"] or "-",
        connection["transport"] or "-",
        connection["tls"] or "-",
        connection["upstream"] or "-",
        age(connection["age_seconds"]),
        latency(connection.get("round_trip_seconds")),
        size(connection["bytes_in"]),
        size(connection["bytes_out"]),
    )

"""`megaphone links`: which links there are and how each is, of an edge to its upstreams or of edges to a hub."""

import argparse
from typing import Any

from megaphone.cli.control import add_control_options, ask
from megaphone.cli.output import FAILED, OK, age, latency, print_error, print_json, size, table

_HEAD = (
    *("LINK", "STATE", "SINCE", "STREAMS", "WAITING", "ROUND TRIP", "FRAMES IN", "FRAMES OUT", "IN", "OUT"),
    *("KEPT", "UNSENT", "RE-ATTACHED", "TROUBLE"),
)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `links` to the command line."""
    parser = subparsers.add_parser(
        "links",
        help="list links to upstreams, or of a hub's edges",
        description="List the links of all workers: those of an edge to its upstreams or, with the configuration of "
        "a hub, those that edges have to it. Exit code 1 when a worker did not answer, so that the list is incomplete.",
    )
    add_control_options(parser)


def run(args: argparse.Namespace) -> int:
    """Lists; 0, or 1 when the list is incomplete."""
    answer = ask(args, "GET", "/links")
    links, missing_workers = answer["links"], answer["missing_workers"]
    if args.json:
        print_json(answer)
    elif links:
        other_end = "PEER" if links[0]["upstream"] is None else "UPSTREAM"
        print(table(("WORKER", other_end, *_HEAD), [_row(link) for link in links]))
    elif not missing_workers:
        print("there are no links")
    if missing_workers:
        print_error(f"no answer from worker {', '.join(map(str, missing_workers))}; its links are not in the list")
        return FAILED
    return OK


def _row(link: dict[str, Any]) -> tuple[str, ...]:
    waiting = link["waiting"]
    return (
        str(link["worker"]),
        link["upstream"] or link["peer"] or "-",
        link["name"] or "-",
        link["state"],
        age(link["since_seconds"]),
        str(link["streams"]),
        "-" if waiting is None else str(waiting),
        latency(link["round_trip_seconds"]),
        str(link["frames_in"]),
        str(link["frames_out"]),
        size(link["bytes_in"]),
        size(link["bytes_out"]),
        size(link["kept_bytes"]),
        size(link["unsent_bytes"]),
        str(link["reattached"]),
        link["trouble"] or "-",
    )

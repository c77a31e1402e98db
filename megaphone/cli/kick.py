"""`megaphone kick`: ends client connections with the stream error `policy-violation`."""

import argparse

from megaphone.cli import filters
from megaphone.cli.control import add_control_options, ask
from megaphone.cli.output import FAILED, OK, print_error, print_json


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `kick` to the command line."""
    parser = subparsers.add_parser(
        "kick",
        help="end client connections",
        description="End the connections that match, with the stream error policy-violation. "
        "Exit code 1 when nothing matched or a worker did not answer.",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--connection",
        metavar="ID",
        type=filters.connection_id,
        help="the connection with this id (see megaphone connections)",
    )
    which.add_argument("--address", metavar="IP", type=filters.address, help="all connections from this client address")
    which.add_argument("--jid", metavar="JID", type=filters.jid, help="all connections of this bare or full JID")
    add_control_options(parser)


def run(args: argparse.Namespace) -> int:
    """Kicks; 0 when at least one connection ended."""
    given = {"connection": args.connection, "address": args.address, "jid": args.jid}
    answer = ask(args, "POST", "/kick", body={name: value for name, value in given.items() if value is not None})
    if args.json:
        print_json(answer)
    elif answer["kicked"]:
        print(f"kicked {answer['kicked']} connection{'s' if answer['kicked'] != 1 else ''}")
    else:
        print_error("no connection matches")
    if answer["missing_workers"]:
        print_error(f"no answer from worker {', '.join(map(str, answer['missing_workers']))}")
    return OK if answer["kicked"] and not answer["missing_workers"] else FAILED

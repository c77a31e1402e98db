"""`megaphone drain`: sends the clients of the node, or of one worker, away in good order."""

import argparse

from megaphone.cli.control import add_control_options, ask
from megaphone.cli.output import OK, print_json


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `drain` to the command line."""
    parser = subparsers.add_parser(
        "drain",
        help="stop accepting, send clients away, end",
        description="Stop accepting, send the clients away at the pace and in the words of [drain], then end. "
        "With --worker only that worker drains, and is replaced. The command does not wait for the end.",
    )
    parser.add_argument("--worker", metavar="N", type=int, help="drain and replace only this worker")
    add_control_options(parser)


def run(args: argparse.Namespace) -> int:
    """Starts the drain; 0 when it began."""
    answer = ask(args, "POST", "/drain", body={"worker": args.worker})
    if args.json:
        print_json(answer)
    else:
        what = "the node" if args.worker is None else f"worker {args.worker}"
        print(f"draining {what}, at most {answer['deadline_seconds']:g} s")
    return OK

"""`megaphone reload`: puts the changed configuration file in force without dropping a connection."""

import argparse

from megaphone.cli.control import add_control_options, ask
from megaphone.cli.output import OK, USAGE, print_error, print_json


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `reload` to the command line."""
    parser = subparsers.add_parser(
        "reload",
        help="put a changed configuration in force",
        description="Let the running node read its configuration file again. Exit code 2 when the file is refused; "
        "the node then goes on with the configuration it has.",
    )
    add_control_options(parser)


def run(args: argparse.Namespace) -> int:
    """Reloads; 0 when the new configuration is in force, 2 when it was refused."""
    answer = ask(args, "POST", "/reload", accept=(200, 409))
    if args.json:
        print_json(answer)
    elif answer["accepted"]:
        print(f"reloaded, in force in {len(answer['workers'])} workers")
    if not answer["accepted"]:
        if not args.json:
            print_error(f"refused, the old configuration stays in force: {answer['reason']}")
        return USAGE
    return OK

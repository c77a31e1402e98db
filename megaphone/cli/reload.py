"""`megaphone reload`: puts a changed configuration file in force, and a changed program, and drops no connection."""

import argparse
from typing import Any, Final

from megaphone.cli.control import add_control_options, ask
from megaphone.cli.output import OK, USAGE, print_error, print_json
from megaphone.cli.paragraphs import Paragraphs
from megaphone.cli.upgrade import upgrade

_DESCRIPTION: Final = """\
Let the running node read its configuration file again. If this command is of another program than the node runs, for
example because a new version was installed, the node is upgraded to it first (see megaphone upgrade).

Exit code 2 when the file, or the program, is refused; the node then goes on with what it has.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `reload` to the command line."""
    parser = subparsers.add_parser(
        "reload",
        help="put a changed configuration in force, and a changed program",
        description=_DESCRIPTION,
        formatter_class=Paragraphs,
    )
    add_control_options(parser)


def run(args: argparse.Namespace) -> int:
    """Reloads; 0 when the new configuration is in force, 2 when it was refused; else the exit code of `upgrade`."""
    upgraded: dict[str, Any] | None = None
    if _is_another_program(ask(args, "GET", "/status")):
        code, upgraded = upgrade(args)
        if code != OK:
            if args.json:
                print_json({"accepted": False, "reason": upgraded["reason"], "workers": {}, "upgrade": upgraded})
            return code
    answer = ask(args, "POST", "/reload", accept=(200, 409))
    if args.json:
        print_json(answer if upgraded is None else {**answer, "upgrade": upgraded})
    elif answer["accepted"]:
        print(f"reloaded, in force in {len(answer['workers'])} workers")
    if not answer["accepted"]:
        if not args.json:
            print_error(f"refused, the old configuration stays in force: {answer['reason']}")
        return USAGE
    return OK


def _is_another_program(status: dict[str, Any]) -> bool:
    if "fingerprint" not in status:  # of a version that knows no upgrades
        return False
    # Imported here: other commands need not pay for it.
    from megaphone.supervisor.program import installed

    program = installed()
    return (status["version"], status["fingerprint"]) != (program.version, program.fingerprint)

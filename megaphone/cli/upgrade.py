"""`megaphone upgrade`: the running node goes on with the program whose command this is, and drops no connection."""

import argparse
import time
from typing import Any, Final

from megaphone.cli.control import UnreachableError, add_control_options, ask
from megaphone.cli.output import FAILED, OK, USAGE, print_error, print_json
from megaphone.cli.paragraphs import Paragraphs
from megaphone.errors import AdminError

_CHECK_SECONDS: Final = 90.0  # the running supervisor gives the new program 60 to say whether it can
_SILENCE_SECONDS: Final = 60.0  # without any answer the supervisor is lost
_STEP_SECONDS: Final = 0.2
_NOTHING_YET: Final = ("waiting", "handing over")

_DESCRIPTION: Final = """\
Let the running node go on with this program: first its supervisor, then one worker after the other, which hands its
connections over to a successor. Clients stay connected. Call the command of the old program to go back.

exit codes:
  0  done
  1  stopped half-way: the supervisor is new, and some workers go on as they were
  2  refused, nothing has changed
  3  the running Megaphone could not be reached
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `upgrade` to the command line."""
    parser = subparsers.add_parser(
        "upgrade",
        help="let the running node go on with this program",
        description=_DESCRIPTION,
        formatter_class=Paragraphs,
    )
    parser.add_argument(
        "--force", action="store_true", help="also if it is the same program: all processes are replaced"
    )
    add_control_options(parser)


def run(args: argparse.Namespace) -> int:
    """Upgrades; 0 when all run this program."""
    code, view = upgrade(args, force=args.force)
    if args.json:
        print_json(view)
    return code


def upgrade(args: argparse.Namespace, *, force: bool = False) -> tuple[int, dict[str, Any]]:
    """The exit code, and what the node says about the upgrade; prints how it goes, unless JSON is wanted."""
    # Imported here: other commands need not pay for it.
    import msgspec

    from megaphone.supervisor.program import installed

    program = installed()
    body = {"program": msgspec.to_builtins(program), "force": force}
    answer = ask(args, "POST", "/upgrade", body=body, accept=(200, 202, 404, 409), timeout_seconds=_CHECK_SECONDS)
    if "error" in answer:  # 404: it knows no upgrades
        answer = {
            "accepted": False,
            "reason": "the running Megaphone is of a version that cannot be upgraded while it runs; restart it",
        }
    if not answer["accepted"]:
        _say_error(args, f"refused, nothing has changed: {answer['reason']}")
        return USAGE, answer
    if not answer["begun"]:
        _say(args, f"Megaphone {program.version} is this program already (--force replaces all processes)")
        return OK, ask(args, "GET", "/upgrade")
    view = _follow(args, answer["number"])
    if view["stage"] == "refused":
        _say_error(args, f"refused, nothing has changed: {view['reason']}")
        return USAGE, view
    if view["stage"] != "done":
        _say_error(args, f"stopped: {view['reason']}; workers without a line above go on as they were")
        return FAILED, view
    moved, ended = (sum(row[what] for row in view["workers"]) for what in ("moved", "ended"))
    _say(args, f"upgraded to Megaphone {view['to']}: {moved} connections moved, {ended} ended")
    return OK, view


def _follow(args: argparse.Namespace, number: int) -> dict[str, Any]:
    """Tells how it goes until it has ended; returns what the node says then."""
    told: set[int] = set()
    supervisor_told = False
    heard = time.monotonic()
    while True:
        try:
            view: dict[str, Any] = ask(args, "GET", "/upgrade")
        except UnreachableError:  # the supervisor has just changed its program
            if time.monotonic() - heard > _SILENCE_SECONDS:
                raise
            time.sleep(_STEP_SECONDS)
            continue
        heard = time.monotonic()
        if view["number"] != number:
            raise AdminError("the node was restarted, or somebody else has begun another upgrade")
        if view["stage"] not in ("checking", "supervisor", "refused") and not supervisor_told:
            _say(args, f"supervisor: Megaphone {view['to']}, was {view['from']}")
            supervisor_told = True
        for row in view["workers"]:
            if row["stage"] not in (*_NOTHING_YET, "failed") and row["worker"] not in told:
                told.add(row["worker"])
                _say(args, f"worker {row['worker']}: {_result(row)}")
        if view["stage"] in ("done", "failed", "refused"):
            return view
        time.sleep(_STEP_SECONDS)


def _result(row: dict[str, Any]) -> str:
    match row["stage"]:
        case "done":
            return f"{row['moved']} connections moved, {row['ended']} ended, {row['seconds']:.1f} s"
        case "replaced":
            return "had ended, and was replaced"
        case _:
            return "stays as it is; a hub's connections do not move (megaphone drain --worker 0 replaces it)"


def _say(args: argparse.Namespace, text: str) -> None:
    if not args.json:
        print(text, flush=True)


def _say_error(args: argparse.Namespace, text: str) -> None:
    if not args.json:
        print_error(text)

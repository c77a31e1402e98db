"""The `megaphone` command: one subcommand per module of this package."""

import argparse
import difflib
import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from megaphone import __version__
from megaphone.cli.control import UnreachableError
from megaphone.cli.output import (
    DEFAULT_CONFIG,
    DEFAULT_HUB_CONFIG,
    FAILED,
    INTERRUPTED,
    UNREACHABLE,
    USAGE,
    print_error,
)
from megaphone.cli.paragraphs import Paragraphs
from megaphone.errors import ConfigError, MegaphoneError

COMMANDS: Final = (
    "serve",
    "check",
    "status",
    "top",
    "connections",
    "links",
    "kick",
    "drain",
    "reload",
    "upgrade",
    "probe",
    "chat",
    "hub",
    "user",
    "history",
    "cluster",
)

# They know a server only by its address, or begin with nothing.
_WITHOUT_CONFIG: Final = frozenset({"probe", "chat", "cluster", "cluster up", "cluster nats", "cluster check"})

_EPILOG: Final = """\
exit codes:
  0  done
  1  failed
  2  wrong usage, or a configuration that cannot be used
  3  the running Megaphone, or any server to chat through, could not be reached
"""


class Parser(argparse.ArgumentParser):
    """argparse that suggests the nearest subcommand or choice for a typo."""

    def error(self, message: str) -> NoReturn:
        """Prints usage, the mistake and what may have been meant; exits with 2."""
        if (found := re.match(r"argument .*?: invalid choice: '(.*?)' \(choose from (.*)\)$", message)) is not None:
            choices = [choice.strip(" '") for choice in found[2].split(",")]
            if near := difflib.get_close_matches(found[1], choices, n=1, cutoff=0.5):
                message += f"; did you mean '{near[0]}'?"
        super().error(message)


def build_parser(commands: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The command line with these subcommands; `--config` may stand before or after the subcommand."""
    parser = Parser(
        prog="megaphone",
        description="An XMPP edge, which holds client connections open and carries them into ejabberd, Prosody or any "
        "other XMPP server; and, with no server behind it, a chat service.",
        epilog=_EPILOG,
        formatter_class=Paragraphs,
    )
    parser.add_argument("--version", action="version", version=f"megaphone {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in commands:
        importlib.import_module(f"megaphone.cli.{name}").add_parser(subparsers)
    _add_config_option(parser)
    for name, subparser in subparsers.choices.items():
        for each in with_actions(subparser):
            if " ".join(each.prog.split()[1:]) not in _WITHOUT_CONFIG:
                _add_config_option(each, DEFAULT_HUB_CONFIG if name == "hub" else DEFAULT_CONFIG)
    parser.set_defaults(config=None)
    return parser


def with_actions(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The parser of a command and those of its actions, if it has any."""
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += action.choices.values()
    return found


def _add_config_option(parser: argparse.ArgumentParser, default: str = DEFAULT_CONFIG) -> None:
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        default=argparse.SUPPRESS,  # else a subcommand's default would overwrite what stood before it
        help=f"configuration file (default: {default})",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    words = sys.argv[1:] if argv is None else argv
    # Only what was asked for is imported, so that one command does not pay (or load a loop) for another.
    commands = [name for name in COMMANDS if name in words] or COMMANDS
    try:
        try:
            args = build_parser(commands).parse_args(words)
            code: int = importlib.import_module(f"megaphone.cli.{args.command}").run(args)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`). Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except MegaphoneError as error:
        print_error(str(error))
        return {ConfigError: USAGE, UnreachableError: UNREACHABLE}.get(type(error), FAILED)
    return code

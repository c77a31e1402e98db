"""`megaphone serve`: reads the configuration, makes the database, then is the supervisor until the node has drained."""

import argparse
import os
import sys
from typing import TYPE_CHECKING, Final

from megaphone.cli.output import DEFAULT_CONFIG, OK, USAGE, print_error
from megaphone.cli.paragraphs import Paragraphs
from megaphone.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from megaphone.config.schema import Config

_DESCRIPTION: Final = f"""\
Run in the foreground, until SIGTERM or Ctrl-C drains it; a second one ends it quickly. SIGHUP reloads the
configuration.

A configuration with [[upstream]] makes an edge, which carries clients to the servers behind it; one without, a chat
service with accounts and rooms of its own.

Without -c, and without {DEFAULT_CONFIG}, a chat service for this machine runs: clients at 127.0.0.1:5222,
domain localhost, logins with accounts (megaphone user add) and without. Try it from a second terminal:

  megaphone chat lobby --as Alice
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `serve` to the command line."""
    parser = subparsers.add_parser(
        "serve",
        help="run the edge or the chat service",
        description=_DESCRIPTION,
        formatter_class=Paragraphs,
    )
    parser.add_argument("--no-banner", action="store_true", help="do not print what listens where")


def run(args: argparse.Namespace) -> int:
    """Serves; 0 after a drain. RestartLimitError when workers kept crashing, ConfigError for an unusable file."""
    if args.config is not None and not os.path.lexists(args.config):
        from megaphone.config.rules import smallest_configurations

        print_error(
            f"{os.path.abspath(args.config)}: there is no configuration file. {smallest_configurations()}\n"
            "Save one, check it with `megaphone check -c FILE`, and run `megaphone serve -c FILE`. To try a chat "
            "service for this machine, run `megaphone serve` without -c."
        )
        return USAGE
    # Imported here: trio and the compiled core take a quarter of a second that other commands need not pay.
    from megaphone import log
    from megaphone.cli.configured import configured
    from megaphone.config.load import check_environment
    from megaphone.supervisor import notify, open_files
    from megaphone.supervisor.node import Node
    from megaphone.supervisor.role import BUILT_IN, EDGE
    from megaphone.supervisor.serve import serve

    found = configured(args)
    config, path = found.config, found.file
    log.configure(config.log.format, config.log.level)
    warnings = [*check_environment(config, path), open_files.shortage(config, open_files.raise_limit())]
    for warning in filter(None, warnings):
        log.get_logger("serve").warning("configuration", warning=warning)
    if config.embedded:
        _prepare_data(config, path)
    node = Node(
        config,
        config_text=found.text,
        config_path=path,
        notifier=notify.from_environment(),
        role=BUILT_IN if found.built_in else EDGE,
    )
    if not args.no_banner:
        print(node.banner(), file=sys.stderr, flush=True)
    serve(node)
    return OK


def _prepare_data(config: "Config", path: str) -> None:
    """Make the database before workers open it, all at once."""
    from megaphone.storage import database

    try:
        database.prepare(config.service.data)
    except StorageError as error:
        raise ConfigError(path, "service.data", str(error)) from None

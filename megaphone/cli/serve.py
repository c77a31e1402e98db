"""`megaphone serve`: reads the configuration, then is the supervisor until the node has drained."""

import argparse
import os
import sys
import textwrap

from megaphone.cli.output import DEFAULT_CONFIG, OK, USAGE, print_error


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `serve` to the command line."""
    parser = subparsers.add_parser(
        "serve",
        help="run the edge",
        description="Run the edge in the foreground until SIGTERM or Ctrl-C drains it; a second one ends it quickly. "
        "SIGHUP reloads the configuration.",
    )
    parser.add_argument("--no-banner", action="store_true", help="do not print what listens where")


def run(args: argparse.Namespace) -> int:
    """Serves; 0 after a drain. RestartLimitError when workers kept crashing, ConfigError for an unusable file."""
    path = os.path.abspath(args.config or DEFAULT_CONFIG)
    if not os.path.lexists(path):
        from megaphone.config.rules import SMALLEST_CONFIG

        print_error(
            f"{path}: there is no configuration file, and Megaphone needs one to know which server it fronts.\n"
            "The smallest one, for clients and a server on this machine, without TLS:\n\n"
            f"{textwrap.indent(SMALLEST_CONFIG, '    ')}\n"
            "Save it, check it with `megaphone check -c FILE`, and run `megaphone serve -c FILE`."
        )
        return USAGE
    # Imported here: trio and the compiled core take a quarter of a second that other commands need not pay.
    import trio

    from megaphone import log
    from megaphone.config.load import check_environment, parse, read_text
    from megaphone.supervisor import notify, open_files
    from megaphone.supervisor.node import Node

    text = read_text(path)
    config = parse(text, path)
    log.configure(config.log.format, config.log.level)
    warnings = [*check_environment(config, path), open_files.shortage(config, open_files.raise_limit())]
    for warning in filter(None, warnings):
        log.get_logger("serve").warning("configuration", warning=warning)
    node = Node(config, config_text=text, config_path=path, notifier=notify.from_environment())
    if not args.no_banner:
        print(node.banner(), file=sys.stderr, flush=True)
    trio.run(node.run)
    return OK

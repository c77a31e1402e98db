"""`megaphone serve`: reads the configuration, then is the supervisor until the node has drained."""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from megaphone.cli.output import DEFAULT_CONFIG, OK, USAGE, print_error
from megaphone.errors import ConfigError

SMALLEST_CONFIG: Final = """\
[[listen]]
address = "127.0.0.1:5222"
tls = "none"

[[domain]]
name = "localhost"
upstreams = ["server"]

[[upstream]]
name = "server"
address = "127.0.0.1:5232"
proxy_protocol = false
"""


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
    path = args.config or DEFAULT_CONFIG
    try:
        text = Path(path).read_text("utf-8")
    except FileNotFoundError:
        print_error(
            f"{path}: there is no configuration file, and Megaphone needs one to know which server it fronts.\n"
            "The smallest one, for clients and a server on this machine, without TLS:\n\n"
            f"{_indented(SMALLEST_CONFIG)}\n"
            "Save it, check it with `megaphone check -c FILE`, and run `megaphone serve -c FILE`."
        )
        return USAGE
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, "", f"cannot be read: {error}") from None
    return _serve(path, text, show_banner=not args.no_banner)


def _serve(path: str, text: str, *, show_banner: bool) -> int:
    # Imported here: trio and the compiled core take a quarter of a second that `megaphone status` need not pay.
    import trio

    from megaphone import log
    from megaphone.config.load import check_environment, parse
    from megaphone.supervisor import notify, open_files
    from megaphone.supervisor.node import Node

    config = parse(text, path)
    check_environment(config)
    log.configure(config.log.format, config.log.level)
    if (shortage := open_files.shortage(config, open_files.raise_limit())) is not None:
        log.get_logger("serve").warning("few open files", reason=shortage)
    node = Node(config, config_text=text, config_path=os.path.abspath(path), notifier=notify.from_environment())
    if show_banner:
        print(node.banner(), file=sys.stderr, flush=True)
    trio.run(node.run)
    return OK


def _indented(text: str) -> str:
    return "".join(f"    {line}" if line.strip() else line for line in text.splitlines(keepends=True))

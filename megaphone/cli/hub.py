"""`megaphone hub`: takes the links of edges beside a server that has no module, and opens a socket for each client."""

import argparse
import os
import sys
import textwrap
from typing import TYPE_CHECKING

from megaphone import __version__
from megaphone.cli.output import DEFAULT_HUB_CONFIG, OK, USAGE, print_error
from megaphone.errors import ConfigError

if TYPE_CHECKING:
    from megaphone.config.hub import HubConfig
    from megaphone.supervisor.node import Node


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `hub` to the command line."""
    parser = subparsers.add_parser(
        "hub",
        help="run the hub: links from edges to a server without a module",
        description="Run the hub in the foreground beside an XMPP server until SIGTERM or Ctrl-C drains it. It takes "
        "the links of edges and opens one ordinary socket to the server for each client. SIGHUP reloads the "
        "configuration.",
    )
    parser.add_argument("--check", action="store_true", help="validate the configuration, without starting anything")
    parser.add_argument("--no-banner", action="store_true", help="do not print what listens where")


def run(args: argparse.Namespace) -> int:
    """Serves; 0 after a drain. RestartLimitError when its process kept crashing, ConfigError for an unusable file."""
    path = os.path.abspath(args.config or DEFAULT_HUB_CONFIG)
    from megaphone.config import hub
    from megaphone.config.load import read_text

    if not os.path.lexists(path) and not args.check:
        print_error(
            f"{path}: there is no configuration file, and the hub needs one to know its secret and its server.\n"
            f"The smallest one:\n\n{textwrap.indent(hub.SMALLEST_HUB, '    ')}\n"
            "Save it, check it with `megaphone hub --check -c FILE`, and run `megaphone hub -c FILE`."
        )
        return USAGE
    text = read_text(path)
    config = hub.parse(text, path)
    warnings = hub.check_environment(config, path)
    if args.check:
        for warning in warnings:
            print(f"{path}: warning: {warning}")
        servers = ", ".join(upstream.address for upstream in config.upstream)
        print(f"{path}: ok, takes links on {config.hub.address}, connects to {servers}")
        return OK
    # Imported here: trio takes a quarter of a second that other commands need not pay.
    from megaphone import log
    from megaphone.supervisor import notify, open_files
    from megaphone.supervisor.node import Node
    from megaphone.supervisor.role import HUB
    from megaphone.supervisor.serve import serve

    log.configure(config.log.format, config.log.level)
    for warning in filter(None, [*warnings, open_files.shortage(config, open_files.raise_limit(), hub=True)]):
        log.get_logger("hub").warning("configuration", warning=warning)
    try:
        node = Node(
            config,
            config_text=text,
            config_path=path,
            notifier=notify.from_environment(),
            role=HUB,
        )
    except ConfigError as error:
        key = "hub.address" if error.key.startswith("listen") else error.key  # the supervisor's word for it
        raise ConfigError(path, key, error.reason) from None
    if not args.no_banner:
        print(banner(config, node), file=sys.stderr, flush=True)
    serve(node)
    return OK


def banner(config: "HubConfig", node: "Node") -> str:
    """What listens where and what is behind it, several lines without the last newline."""
    security = "mutual TLS" if config.hub.certificate else "no TLS"
    rows = [("config", node.supervisor.config_path)]
    rows += [("links", f"{bound.address}  {security}") for bound in node.supervisor.listeners.bound]
    rows += [("server", f"{upstream.name} ({upstream.address})") for upstream in config.upstream]
    if node.admin_address:
        rows.append(("admin", f"http://{node.admin_address}/  /metrics  /health/live  /health/ready"))
    rows.append(("control", config.admin.socket))
    head = f"Megaphone hub {__version__}, pid {os.getpid()}"
    return "\n".join([head, *(f"  {label:<8} {text}" for label, text in rows)])

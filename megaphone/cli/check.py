"""`megaphone check`: would this configuration do, and this machine? Or names file, key and reason, limit and repair."""

import argparse
from typing import TYPE_CHECKING, Any

from megaphone.cli import check_host
from megaphone.cli.output import OK, USAGE, print_error, print_json
from megaphone.errors import ConfigError

if TYPE_CHECKING:
    from megaphone.config.schema import Config


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `check` to the command line."""
    parser = subparsers.add_parser(
        "check",
        help="validate a configuration",
        description="Validate a configuration file and what it refers to, without starting anything. "
        "With --host also whether this machine can carry the connections. Exit code 0 when it can be used, 2 when it "
        "cannot.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    check_host.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Checks; 0 or 2."""
    from megaphone.cli.configured import configured
    from megaphone.config.load import check_environment

    try:
        given = configured(args)
        config, path = given.config, given.file
        warnings = check_environment(config, path)
    except ConfigError as error:
        if args.json:
            print_json({"ok": False, "file": error.file, "key": error.key, "reason": error.reason})
        else:
            print_error(str(error))
        return USAGE
    found = summary(config)
    host = check_host.check(args, config) if check_host.asked_for(args) else None
    if args.json:
        of_host = {} if host is None else {"host": host.as_json()}
        print_json({"ok": True, "file": path, "warnings": warnings, **found, **of_host})
    else:
        for warning in warnings:
            print(f"{path}: warning: {warning}")
        does = "serves" if config.embedded else "fronts"
        print(f"{path}: ok, listens on {', '.join(found['listen'])}, {does} {', '.join(found['domains'])}")
        if host is not None:
            print(host.page())
    return OK if host is None or host.enough else USAGE


def summary(config: "Config") -> dict[str, Any]:
    """What the configuration means, in one line's worth of facts."""
    return {
        "listen": [f"{entry.address} ({entry.tls})" for entry in config.listen],
        "domains": [domain.name for domain in config.domain],
        "upstreams": [f"{upstream.name} ({upstream.address})" for upstream in config.upstream],
        "certificates": [entry.chain for entry in config.certificate],
    }

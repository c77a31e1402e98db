"""`megaphone check`: would this configuration do? Says what it means, or names file, key and reason."""

import argparse
from typing import TYPE_CHECKING, Any

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
        "Exit code 0 when it can be used, 2 when it cannot.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


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
    if args.json:
        print_json({"ok": True, "file": path, "warnings": warnings, **found})
    else:
        for warning in warnings:
            print(f"{path}: warning: {warning}")
        does = "serves" if config.embedded else "fronts"
        print(f"{path}: ok, listens on {', '.join(found['listen'])}, {does} {', '.join(found['domains'])}")
    return OK


def summary(config: "Config") -> dict[str, Any]:
    """What the configuration means, in one line's worth of facts."""
    return {
        "listen": [f"{entry.address} ({entry.tls})" for entry in config.listen],
        "domains": [domain.name for domain in config.domain],
        "upstreams": [f"{upstream.name} ({upstream.address})" for upstream in config.upstream],
        "certificates": [entry.chain for entry in config.certificate],
    }

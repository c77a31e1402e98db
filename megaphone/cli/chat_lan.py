"""`megaphone chat ROOM --lan`: the options of a chat without a server, and its beginning and end."""

import argparse
import asyncio
import importlib.util
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from megaphone import log
from megaphone.cli.output import FAILED, OK, USAGE, print_error, printable
from megaphone.errors import MegaphoneError

if TYPE_CHECKING:
    from megaphone.history.manifest import Manifest
    from megaphone.peers.connection import Address

_OF_LAN: Final = ("peer", "trust", "listen", "database", "no_mdns")
_OF_SERVERS: Final = (
    "server",
    "domain",
    "account",
    "password_file",
    "room_password_file",
    "ca",
    "insecure",
)
_PACKAGES: Final = ("cryptography", "zeroconf")


@dataclass(frozen=True, slots=True)
class LanSettings:
    """What a chat on the LAN has to be told before it begins."""

    room: "Manifest"
    name: str
    database: Path
    """What is said; the key and what is known of peers are beside it."""
    key: Path
    known: Path
    peers: "list[Address]"
    trusted: list[str]
    host: str
    """To listen on; "" is every address."""
    port: int | None
    """None: the one of last time, or one made from the name, or any."""
    mdns: bool
    history: int


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds --lan and what belongs to it."""
    group = parser.add_argument_group("without a server")
    group.add_argument("--lan", action="store_true", help="chat with whoever is in the room on this network")
    group.add_argument(
        "--peer",
        action="append",
        metavar="HOST:PORT",
        help="also connect to this peer, or NAME.local; repeated or with commas for several ones",
    )
    group.add_argument(
        "--trust", action="append", metavar="NAME", help="accept the key that NAME shows now in place of the known one"
    )
    group.add_argument("--listen", metavar="[HOST:]PORT", help="where peers connect to (default: as last time)")
    group.add_argument("--no-mdns", action="store_true", help="neither announce ourselves nor listen for others")
    group.add_argument("--database", metavar="FILE", help="where to keep what is said (default: NAME.db of your data)")


def mixed_options(args: argparse.Namespace) -> str | None:
    """Say which option belongs to the other kind of chat; None if they go together."""
    alien = _OF_SERVERS if args.lan else _OF_LAN
    for option in alien:
        if getattr(args, option):
            written = f"--{option.replace('_', '-')}"
            return f"{written} is for chats through a server" if args.lan else f"{written} needs --lan"
    return None


def run(args: argparse.Namespace) -> int:
    """Chats on the LAN; 0 when the user left, 1 when it cannot go on, 2 for wrong usage."""
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            print_error(f"chat --lan needs {package}, which is an optional part: pip install '.[lan]' in a checkout")
            return USAGE
    try:
        settings = _settings(args)
    except ValueError as error:
        print_error(printable(str(error)))
        return USAGE
    from megaphone.cli.chat_lan_session import chat

    # zeroconf and asyncio log what we report in a line.
    logging.disable(logging.CRITICAL)
    log.configure(level="error")
    try:
        asyncio.run(chat(settings))
    except BrokenPipeError:
        raise  # whoever read our lines has gone
    except (MegaphoneError, OSError) as error:
        print_error(printable(_reason(error)))
        return FAILED
    finally:
        logging.disable(logging.NOTSET)
    return OK


def _reason(error: Exception) -> str:
    """What went wrong, without the number that an OSError begins with."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _settings(args: argparse.Namespace) -> LanSettings:
    from megaphone.peers.names import clean_name, name_key
    from megaphone.peers.room import channel
    from megaphone.peers.targets import parse_peers
    from megaphone.sockets.endpoint import parse_address

    name = clean_name(args.nick)
    host, port = "", None
    if args.listen is not None:
        endpoint = parse_address(args.listen if ":" in args.listen else f"*:{args.listen}")
        if endpoint.path is not None:
            raise ValueError("peers connect over TCP, not over a Unix socket")
        host, port = endpoint.host, endpoint.port
    database = Path(args.database) if args.database else _data_directory() / f"{quote(name_key(name), safe=' ')}.db"
    stem = database.name.removesuffix(".db")
    return LanSettings(
        room=channel(args.room),
        name=name,
        database=database,
        key=database.with_name(f"{stem}.key"),
        known=database.with_name(f"{stem}.peers"),
        peers=parse_peers(args.peer or []),
        trusted=[clean_name(each) for each in args.trust or []],
        host=host,
        port=port,
        mdns=not args.no_mdns,
        history=args.history,
    )


def _data_directory() -> Path:
    """Where a user's data lie, as the XDG Base Directory Specification has it."""
    given = os.environ.get("XDG_DATA_HOME", "")
    return (Path(given) if given.startswith("/") else Path.home() / ".local" / "share") / "megaphone" / "lan"

"""`megaphone chat`: join a room as an ordinary client and talk there."""

import argparse
import asyncio
import importlib.util
import logging
import sys
from typing import TYPE_CHECKING, Final

from megaphone.cli import chat_lan
from megaphone.cli.chat_servers import parse_servers
from megaphone.cli.chat_settings import ChatError, Login, Settings
from megaphone.cli.login import LoginError, first_line, password, seconds, trust
from megaphone.cli.output import OK, USAGE, print_error, printable
from megaphone.cli.paragraphs import Paragraphs
from megaphone.sockets.endpoint import Endpoint, is_ip_address

if TYPE_CHECKING:
    import slixmpp

PASSWORD_VARIABLE: Final = "MEGAPHONE_CHAT_PASSWORD"  # noqa: S105 - the name of the variable, not a password
DEFAULT_PORTS: Final = {"starttls": 5222, "direct": 5223, "none": 5222}
DEFAULT_TIMEOUT_SECONDS: Final = 15.0
DEFAULT_HISTORY: Final = 20
HISTORY_LIMIT: Final = 1000

_DESCRIPTION: Final = f"""\
Join a room (XEP-0045) and talk: what you type is said, `exit` leaves. On a terminal it fills the screen, else it
reads and prints plain lines. When the connection is lost it goes on by itself, through the next server given.

With --lan there is no server: those who are in the room on this network find each other, and each keeps what is said.

Without --account it logs in anonymously. The account's password is read from --password-file, else from
{PASSWORD_VARIABLE}, else asked for.
"""

_EPILOG: Final = """\
exit codes:
  0  left
  1  not let in, or thrown out; the reason is on standard error
  2  wrong usage
  3  no server could be reached
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `chat` to the command line."""
    parser = subparsers.add_parser(
        "chat",
        help="join a room and talk there",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=Paragraphs,
    )
    parser.add_argument("room", metavar="ROOM", help="name of the room, or its JID; it is created if there is none")
    parser.add_argument("--as", dest="nick", metavar="NAME", required=True, help="what the others shall call you")
    parser.add_argument(
        "--server",
        action="append",
        metavar="HOST[:PORT]",
        help="where to connect; several ones, repeated or with commas, take each other's place "
        "(default: the account's domain, else localhost)",
    )
    parser.add_argument("--domain", help="XMPP domain (default: the account's, else the first server's name)")
    parser.add_argument("--account", metavar="JID", help="account to log in with (default: anonymous)")
    parser.add_argument("--password-file", metavar="FILE", help="file with the account's password in its first line")
    parser.add_argument("--room-password-file", metavar="FILE", help="file with the room's password in its first line")
    parser.add_argument(
        "--tls", choices=sorted(DEFAULT_PORTS), default="starttls", help="how TLS begins (default: starttls)"
    )
    trusted = parser.add_mutually_exclusive_group()
    trusted.add_argument("--ca", metavar="FILE", help="trust the certificates in this PEM file instead of the system's")
    trusted.add_argument("--insecure", action="store_true", help="accept any certificate")
    parser.add_argument(
        "--history",
        type=_history,
        default=DEFAULT_HISTORY,
        metavar="N",
        help=f"show at most N messages of what was said before (default: {DEFAULT_HISTORY})",
    )
    parser.add_argument("--plain", action="store_true", help="plain lines on a terminal too")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=DEFAULT_TIMEOUT_SECONDS,
        metavar="SECONDS",
        help=f"for the login, and for the answer of the room (default: {DEFAULT_TIMEOUT_SECONDS:g})",
    )
    chat_lan.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Chats; 0 when the user left, 1 when not let in or thrown out, 2 for wrong usage, 3 without a server."""
    if (mixed := chat_lan.mixed_options(args)) is not None:
        print_error(mixed)
        return USAGE
    if args.lan:
        return chat_lan.run(args)
    on_screen = not args.plain and sys.stdin.isatty() and sys.stdout.isatty()
    for package in ("slixmpp", "textual") if on_screen else ("slixmpp",):
        if importlib.util.find_spec(package) is None:
            hint = "; without it: --plain" if package == "textual" else ""
            print_error(f"chat needs {package}, which is an optional part: pip install '.[chat]' in a checkout{hint}")
            return USAGE
    try:
        settings = _settings(args)
    except (_UsageError, LoginError) as error:
        print_error(printable(str(error)))
        return USAGE
    # slixmpp and asyncio log what we report in a line; a user must see no traceback beside it.
    logging.disable(logging.CRITICAL)
    try:
        if on_screen:
            from megaphone.cli.chat_screen import chat
        else:
            from megaphone.cli.chat_lines import chat
        asyncio.run(chat(settings))
    except ChatError as error:
        print_error(printable(str(error)))
        return error.code
    finally:
        logging.disable(logging.NOTSET)
    return OK


class _UsageError(Exception):
    """What was asked for cannot be tried."""


def _settings(args: argparse.Namespace) -> Settings:
    import slixmpp

    account = None if args.account is None else _jid(args.account, "JID")
    if account is not None and (not account.user or account.resource):
        raise _UsageError(f"{args.account!r} names no account; write user@domain")
    given_domain = None if args.domain is None else _domain_option(args.domain)
    servers = _servers(args, given_domain or (account.domain if account is not None else "localhost"))
    domain = _domain(given_domain, account, servers[0])
    nick = args.nick.strip()
    if not nick:
        raise _UsageError("--as needs a name")
    room = _jid(args.room if "@" in args.room else f"{args.room}@conference.{domain}", "room")
    if not room.user or room.resource:
        raise _UsageError(f"{args.room!r} is no room; write NAME or NAME@SERVICE")
    try:
        slixmpp.JID(f"{room.bare}/{nick}")
    except slixmpp.InvalidJID as error:
        raise _UsageError(f"{nick!r} cannot be a name in a room: {error}") from None
    trust(args.ca, insecure=args.insecure)  # a bad file is the user's mistake, not a server's
    secret = "" if account is None else password(args.password_file, PASSWORD_VARIABLE, account.bare)
    return Settings(
        room=room.bare if "@" in args.room else room.user,
        nick=nick,
        room_password=None if args.room_password_file is None else first_line(args.room_password_file),
        login=Login(domain, None if account is None else account.bare, secret, args.tls, args.ca, args.insecure),
        servers=servers,
        history=args.history,
        timeout_seconds=args.timeout,
    )


def _servers(args: argparse.Namespace, default: str) -> list[Endpoint]:
    try:
        return parse_servers(args.server or [default], DEFAULT_PORTS[args.tls])
    except ValueError as error:
        raise _UsageError(f"--server: {error}") from None


def _domain(given: str | None, account: "slixmpp.JID | None", server: Endpoint) -> str:
    if account is not None:
        if given not in (None, account.domain):
            raise _UsageError(f"the account {account.bare} is not of the domain {given}")
        return str(account.domain)
    if given is not None:
        return given
    return "localhost" if is_ip_address(server.host) else _domain_option(server.host)


def _domain_option(text: str) -> str:
    domain = _jid(text, "domain")
    if domain.full != domain.domain:
        raise _UsageError(f"{text!r} is no domain")
    return str(domain.domain)


def _jid(text: str, what: str) -> "slixmpp.JID":
    import slixmpp

    try:
        return slixmpp.JID(text)
    except slixmpp.InvalidJID as error:
        raise _UsageError(f"{text!r} is no {what}: {error}") from None


def _history(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 5 and int(text) <= HISTORY_LIMIT:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to {HISTORY_LIMIT}")

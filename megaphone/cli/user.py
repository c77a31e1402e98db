"""`megaphone user`: makes, lists and removes accounts of the embedded service, in its database, also while it runs."""

import argparse
import getpass
import secrets
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from megaphone.cli.output import FAILED, OK, USAGE, print_error, print_json, table
from megaphone.errors import AdminError, ConfigError, MegaphoneError

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.config.schema import Config
    from megaphone.service.accounts import Credentials
    from megaphone.storage.accounts import Account, AccountBook
    from megaphone.stream.jid import JID

PASSWORD_LIMIT_BYTES: Final = 1023
RANDOM_BYTES: Final = 12  # 96 bits, 16 characters
DAYS_LIMIT: Final = 3650


class UsageError(MegaphoneError):
    """What was asked for cannot be meant (exit code 2)."""


class _Given(NamedTuple):
    args: argparse.Namespace
    config: "Config"
    file: str


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `user` to the command line."""
    parser = subparsers.add_parser(
        "user",
        help="manage the accounts of the chat service",
        description="Manage the accounts of the embedded service, in its database, whether the node runs or not. "
        "Run it as the user that Megaphone runs as, or as root.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, text: str, more: str = "") -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}. {more}".strip())

    add_, passwd = add("add", "make an account"), add("passwd", "set another password")
    for each in (add_, passwd):
        source = each.add_mutually_exclusive_group()
        source.add_argument(
            "--password-file", metavar="FILE", help="file with the password in its first line; - for standard input"
        )
        source.add_argument("--random", action="store_true", help="choose a password and print it")
    disable = add("disable", "refuse every login of an account", "Its sessions are ended; everything is kept.")
    enable = add("enable", "allow logins of a disabled account again")
    remove = add("remove", "remove an account with everything that was kept for it", "Its sessions are ended.")
    token = add("token", "print a login token for an account", "It is signed with the first [[token_key]].")
    token.add_argument(
        "--days", type=float, default=1.0, metavar="N", help=f"how long it can be used, up to {DAYS_LIMIT} (default: 1)"
    )
    for each in (add_, passwd, disable, enable, remove, token):
        each.add_argument("jid", metavar="JID", help="the account, with its domain or without")
    add("list", "list the accounts").add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Does what was asked; 0, 1 when there is no such account or one already, 2 for what cannot be meant."""
    from megaphone.cli.configured import configured

    found = configured(args)
    if not found.config.embedded:
        raise ConfigError(found.file, "", "fronts servers that keep their accounts themselves")
    try:
        return _ACTIONS[args.action](_Given(args, found.config, found.file))
    except UsageError as error:
        print_error(str(error))
        return USAGE


# --- actions ------------------------------------------------------------


def _add(given: _Given) -> int:
    account = _account(given)
    book = _book(given)
    if book.find(account.local) is not None:  # before anybody types a password
        return _fail(f"there is an account {account} already; `megaphone user passwd` sets another password")
    password, shown = _password(given.args, account)
    if not book.add(account.local, _credentials(password, given.config), time.time()):
        return _fail(f"there is an account {account} already")
    print(f"added {account}{shown}")
    return OK


def _passwd(given: _Given) -> int:
    account = _account(given)
    book = _book(given)
    if book.find(account.local) is None:
        return _missing(account)
    password, shown = _password(given.args, account)
    if not book.change(account.local, _credentials(password, given.config), time.time()):
        return _missing(account)
    print(f"changed the password of {account}{shown}")
    return OK


def _disable(given: _Given) -> int:
    account = _account(given)
    if not _book(given).disable(account.local):
        return _missing(account)
    print(f"disabled {account}{_kicked(given, account)}")
    return OK


def _enable(given: _Given) -> int:
    account = _account(given)
    if not _book(given).disable(account.local, False):
        return _missing(account)
    print(f"enabled {account}")
    return OK


def _remove(given: _Given) -> int:
    account = _account(given)
    if not _book(given).remove(account):
        return _missing(account)
    print(f"removed {account}{_kicked(given, account)}")
    return OK


def _list(given: _Given) -> int:
    domain = given.config.domain[0].name
    accounts = _book(given).all()
    if given.args.json:
        print_json([_as_json(account, domain) for account in accounts])
        return OK
    rows = [
        (
            f"{account.name}@{domain}",
            _day(account.created),
            _day(account.changed) if account.changed else "never",
            "disabled" if account.disabled else "-",
            str(account.offline_messages),
        )
        for account in accounts
    ]
    print(table(("ACCOUNT", "MADE", "PASSWORD SET", "STATE", "WAITING MESSAGES"), rows))
    return OK


def _token(given: _Given) -> int:
    from megaphone.config.token_keys import read_token_keys
    from megaphone.service.tokens import make_token

    account = _account(given)
    days = given.args.days
    if not 0 < days <= DAYS_LIMIT:
        raise UsageError(f"--days must be above 0 and at most {DAYS_LIMIT}, not {days:g}")
    keys = read_token_keys(given.config, given.file)
    if not keys:
        raise ConfigError(given.file, "token_key", "there is no [[token_key]] to sign tokens with")
    print(make_token(keys[0], account, now=time.time(), lifetime_seconds=days * 86_400))
    return OK


_ACTIONS: "Final[dict[str, Callable[[_Given], int]]]" = {
    "add": _add,
    "passwd": _passwd,
    "disable": _disable,
    "enable": _enable,
    "remove": _remove,
    "list": _list,
    "token": _token,
}


# --- what they need ------------------------------------------------------------


def _account(given: _Given) -> "JID":
    from megaphone.stream.jid import JID

    text, domain = given.args.jid, given.config.domain[0].name
    try:
        account = JID.parse(text) if "@" in text else JID.of(text, domain)
    except ValueError as error:
        raise UsageError(f"{text} is no JID: {error}") from None
    if not account.local or not account.is_bare:
        raise UsageError(f"{text} is not the JID of an account, such as juliet@{domain}")
    if account.domain != domain:
        raise UsageError(f"{account} is no account here: the domain of {given.file} is {domain}")
    return account


def _book(given: _Given) -> "AccountBook":
    """The accounts of the configuration's data directory, which is made if need be."""
    from megaphone.storage.accounts import AccountBook
    from megaphone.storage.database import prepare

    prepare(given.config.service.data)
    return AccountBook(given.config.service.data)


def _password(args: argparse.Namespace, account: "JID") -> tuple[str, str]:
    """Return a password and what is to be said about it."""
    if args.random:
        password = secrets.token_urlsafe(RANDOM_BYTES)
        return password, f", password: {password}"
    if args.password_file is not None:
        return _first_line(args.password_file), ""
    if not sys.stdin.isatty():
        raise UsageError(
            "nobody is there to type a password: use --password-file FILE (- for standard input) or --random"
        )
    password = getpass.getpass(f"Password for {account}: ")
    if getpass.getpass("Once more: ") != password:
        raise UsageError("these were two different passwords")
    return password, ""


def _first_line(path: str) -> str:
    try:
        if path == "-":
            line = sys.stdin.buffer.readline(PASSWORD_LIMIT_BYTES + 3)
        else:
            with open(path, "rb") as opened:
                line = opened.readline(PASSWORD_LIMIT_BYTES + 3)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return line.rstrip(b"\r\n").decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is not UTF-8") from None


def _credentials(password: str, config: "Config") -> "Credentials":
    from megaphone.service.accounts import SALT_BYTES, make_credentials

    if not password:
        raise UsageError("the password is empty")
    if len(password.encode("utf-8", "surrogatepass")) > PASSWORD_LIMIT_BYTES:
        raise UsageError(f"a password has at most {PASSWORD_LIMIT_BYTES} bytes")
    try:
        return make_credentials(password, secrets.token_bytes(SALT_BYTES), config.service.scram_iterations)
    except ValueError as error:
        raise UsageError(f"this cannot be a password: {error}") from None


def _kicked(given: _Given, account: "JID") -> str:
    """End the account's sessions if the node runs, and say so."""
    from megaphone.cli.control import ask

    given.args.socket = given.config.admin.socket
    try:
        ended = ask(given.args, "POST", "/kick", body={"jid": str(account)})["kicked"]
    except AdminError:
        return ""  # it does not run
    return f", ended {ended} session{'s' if ended != 1 else ''}" if ended else ""


def _missing(account: "JID") -> int:
    return _fail(f"there is no account {account}")


def _fail(text: str) -> int:
    print_error(text)
    return FAILED


def _as_json(account: "Account", domain: str) -> dict[str, object]:
    return {
        "jid": f"{account.name}@{domain}",
        "created_unix_seconds": account.created,
        "password_set_unix_seconds": account.changed or None,
        "disabled": account.disabled,
        "waiting_messages": account.offline_messages,
    }


def _day(unix_seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(unix_seconds))

"""What tests of logins share: accounts in a dictionary, an authenticator, slixmpp as a SASL client."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable

from slixmpp.util.sasl import choose

from megaphone.errors import StorageError
from megaphone.service.accounts import Credentials, make_credentials
from megaphone.service.authenticator import Authenticator, LoginSettings
from megaphone.service.login import Login
from megaphone.stream.jid import JID
from megaphone.wire.header import StreamHeader, read_stream_header

DOMAIN = "example.org"
JULIET = JID("juliet", DOMAIN)
PASSWORD = "r0m30myr0m30"
SALT = b"salt of sixteen!"
BINDINGS = {"tls-exporter": b"exporter" * 4, "tls-unique": b"finished" * 2}
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"


def header(*, to: str = DOMAIN, attributes: str = " version='1.0'", default: str = "jabber:client") -> StreamHeader:
    text = (
        f"<?xml version='1.0'?><stream:stream to='{to}'{attributes} xmlns='{default}'"
        " xmlns:stream='http://etherx.jabber.org/streams'>"
    )
    return read_stream_header(text.encode())


class Accounts:
    """An AccountStore in memory."""

    def __init__(self) -> None:
        self.kept: dict[JID, Credentials] = {}
        self.broken = False

    def add(self, account: JID, password: str, *, iterations: int = 5) -> None:
        self.kept[account] = make_credentials(password, SALT, iterations)

    def credentials(self, account: JID) -> Credentials | None:
        if self.broken:
            raise StorageError("/data/megaphone.sqlite3", "disk I/O error")
        return self.kept.get(account)


def counting_token() -> Callable[[int], bytes]:
    """Return what hands out different bytes at every call, the same in every run."""
    numbers = itertools.count(1)
    return lambda size: next(numbers).to_bytes(size, "big")


def authenticator(accounts: Accounts | None = None, *, secret: bytes = b"s" * 32, **settings: object) -> Authenticator:
    """Return an authenticator of example.org where juliet has an account; `settings` are those of LoginSettings."""
    if accounts is None:
        accounts = Accounts()
        accounts.add(JULIET, PASSWORD)
    given: dict[str, object] = {"iterations": 5, **settings}
    return Authenticator(
        DOMAIN,
        accounts,
        token=counting_token(),
        secret=secret,
        settings=LoginSettings(**given),  # type: ignore[arg-type]
    )


def auth(mechanism: str, message: bytes | None = None) -> bytes:
    content = b"" if message is None else base64.b64encode(message) or b"="
    return b"<auth xmlns='%b' mechanism='%b'>%b</auth>" % (SASL.encode(), mechanism.encode(), content)


def response(message: bytes = b"") -> bytes:
    return b"<response xmlns='%b'>%b</response>" % (SASL.encode(), base64.b64encode(message))


def plain(username: str, password: str, authzid: str = "") -> bytes:
    return auth("PLAIN", f"{authzid}\0{username}\0{password}".encode())


def started(login: Login) -> Login:
    """Bring a login to where it waits for `<auth/>`."""
    login.receive_header(header(), "s1")
    return login


def slixmpp_mechanism(
    name: str,
    *,
    username: str = JULIET.local,
    password: str = PASSWORD,
    authzid: str = "",
    binding: bytes = b"",
    binding_proposed: bool = True,
    tls_version: str = "TLSv1.3",
) -> object:
    """Return slixmpp's side of a mechanism; `binding_proposed` is whether it believes that the server has -PLUS."""

    def credentials(required: set[str], optional: set[str]) -> dict[str, object]:
        return {"username": username, "password": password, "authzid": authzid, "channel_binding": binding}

    def security(values: set[str]) -> dict[str, object]:
        known = {"tls_version": tls_version, "binding_proposed": binding_proposed}
        return {value: known.get(value, True) for value in values}

    return choose([name], credentials, security)

"""One client's run of one SASL mechanism (RFC 6120 section 6), from its first message to who it is.

Every mechanism here is client-first (RFC 4422 section 5), so an Attempt begins with the client's message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from megaphone.errors import SASLError
from megaphone.service.accounts import Credentials, PasswordCheck
from megaphone.service.tokens import looks_like_token
from megaphone.stream.jid import JID, normalise_local
from megaphone.stream.sasl_messages import read_oauthbearer, read_plain, text_of
from megaphone.stream.scram import HASHES, PLUS, ScramExchange, ScramKeys

if TYPE_CHECKING:
    from megaphone.service.authenticator import Authenticator

NONCE_BYTES = 18
TRACE_LIMIT_CHARACTERS = 255  # RFC 4505 section 2

# RFC 7628 section 3.2.2: what a client is told before it is refused.
_INVALID_TOKEN = b'{"status":"invalid_token"}'


@dataclass(frozen=True, slots=True)
class Transport:
    """What a connection brings along. Without TLS there are no `bindings`.

    `bindings` is the data of each type of channel binding: "tls-exporter" (RFC 9266), "tls-unique" and
    "tls-server-end-point" (RFC 5929). `address` is the client's, as far as failed logins are counted together: that is
    the /64 of an IPv6 address; "" is not counted.
    """

    encrypted: bool = False
    bindings: Mapping[str, bytes] = field(default_factory=dict)
    address: str = ""


@dataclass(frozen=True, slots=True)
class Challenge:
    """The mechanism goes on: `message` is for the client."""

    message: bytes


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The client is `account`; `message` is the mechanism's last word, if it has one.

    An account known `by_token` may be kept nowhere here yet.
    """

    account: JID
    anonymous: bool = False
    by_token: bool = False
    message: bytes | None = None


Outcome = Challenge | Authenticated | PasswordCheck


class Attempt:
    """One client's run of one mechanism: `receive` its messages until it is authenticated or SASLError ends it.

    A PasswordCheck that `receive` returns is for the caller to make; `verified` takes its result.
    """

    __slots__ = ("_account", "_authenticator", "_credentials", "_mechanism", "_now", "_refusal", "_scram", "_transport")

    def __init__(
        self, authenticator: Authenticator, mechanism: str, transport: Transport, *, plus_offered: bool
    ) -> None:
        self._authenticator = authenticator
        self._mechanism = mechanism
        self._transport = transport
        self._account: JID | None = None  # who the client says it is, if that can be an account here
        self._credentials: Credentials | None = None
        self._now = 0.0
        self._refusal: SASLError | None = None  # follows the client's next message (RFC 7628 section 3.2.3)
        self._scram: ScramExchange | None = None
        if mechanism.removesuffix(PLUS) in HASHES:
            self._scram = ScramExchange(
                mechanism,
                keys_of=self._scram_keys,
                nonce=authenticator.token(NONCE_BYTES).hex(),
                bindings=transport.bindings,
                plus_offered=plus_offered,
            )

    def receive(self, message: bytes, now: float) -> Outcome:
        """Take the client's next message; `now` is in Unix seconds. SASLError if the client is refused."""
        self._now = now
        if self._refusal is not None:
            raise self._refusal
        try:
            return self._receive(message)
        except SASLError as error:
            if error.condition == "not-authorized":
                self._authenticator.failed(self._transport.address, self._account, now)
            raise

    def verified(self, right: bool, now: float) -> Authenticated:
        """Take the result of the PasswordCheck; SASLError if it was the wrong password."""
        if not right:
            self._authenticator.failed(self._transport.address, self._account, now)
            raise SASLError("not-authorized")
        return self._accepted()

    def _receive(self, message: bytes) -> Outcome:
        if self._scram is not None:
            if self._credentials is None:
                return Challenge(self._scram.receive_first(message))
            # others may have guessed since the first message
            self._authenticator.check_locks(self._transport.address, self._account, self._now)
            return self._accepted(self._scram.receive_final(message))
        if self._mechanism == "PLAIN":
            return self._plain(message)
        if self._mechanism == "OAUTHBEARER":
            return self._oauthbearer(message)
        return self._anonymous(message)

    def _scram_keys(self, username: str, authzid: str) -> ScramKeys:
        return self._named(username, authzid).keys(HASHES[self._mechanism.removesuffix(PLUS)])

    def _plain(self, message: bytes) -> Outcome:
        authzid, username, password = read_plain(message)
        if self._authenticator.tokens and looks_like_token(password):
            try:
                accepted = self._token(password, authzid)
            except SASLError as error:
                if error.condition != "not-authorized":
                    raise
            else:
                if accepted.account == self._account_called(username):
                    return accepted
        return PasswordCheck(password, self._named(username, authzid).sha256)

    def _oauthbearer(self, message: bytes) -> Outcome:
        authzid, token = read_oauthbearer(message)
        try:
            return self._token(token, authzid)
        except SASLError as error:
            if error.condition == "not-authorized":
                self._authenticator.failed(self._transport.address, None, self._now)
            self._refusal = error
            return Challenge(_INVALID_TOKEN)

    def _anonymous(self, message: bytes) -> Outcome:
        if len(text_of(message)) > TRACE_LIMIT_CHARACTERS:
            raise SASLError("malformed-request", f"The trace has at most {TRACE_LIMIT_CHARACTERS} characters")
        choose = self._authenticator.settings.anonymous
        account = None if choose is None else self._account_called(choose())
        if account is None:
            raise SASLError("temporary-auth-failure", "There is no name left for you; try again later")
        return Authenticated(account, anonymous=True)

    def _account_called(self, username: str) -> JID | None:
        """Return the account with this name (RFC 6120 section 6.3.8); None if no account can be called so."""
        try:
            return JID(normalise_local(username), self._authenticator.domain) if username else None
        except ValueError:
            return None

    def _named(self, username: str, authzid: str) -> Credentials:
        """Take the name that the client gave itself, and return the keys that its password must have."""
        self._account = self._account_called(username)
        _check_authzid(authzid, self._account)
        self._authenticator.check_locks(self._transport.address, self._account, self._now)
        kept = None if self._account is None else self._authenticator.kept(self._account)
        self._credentials = kept if kept is not None else self._authenticator.pretended(self._account, username)
        return self._credentials

    def _token(self, token: str, authzid: str) -> Authenticated:
        """Believe a token: its account need not be kept here, the back end says that it exists."""
        self._authenticator.check_locks(self._transport.address, None, self._now)
        account = self._authenticator.tokens.check(token, self._now)
        _check_authzid(authzid, account)
        kept = self._authenticator.kept(account)
        if kept is not None and kept.disabled:
            raise SASLError("account-disabled")
        return Authenticated(account, by_token=True)

    def _accepted(self, message: bytes | None = None) -> Authenticated:
        if self._account is None or self._credentials is None:
            raise SASLError("not-authorized")
        self._authenticator.succeeded(self._account)
        if self._credentials.disabled:  # said to nobody who does not know the password
            raise SASLError("account-disabled")
        return Authenticated(self._account, message=message)


def _check_authzid(authzid: str, account: JID | None) -> None:
    """Refuse a client that wants to act for somebody else (RFC 6120 sections 6.3.8 and 6.5.6)."""
    if not authzid:
        return
    try:
        wanted = JID.parse(authzid)
    except ValueError:
        wanted = None
    if wanted is None or wanted != account:
        raise SASLError("invalid-authzid", "The authorization identity is not the bare JID of the user who logs in")

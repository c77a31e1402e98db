"""Decides who a client is: the SASL mechanisms of one domain, its accounts, its tokens, and the limits on guessing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from megaphone.errors import SASLError, StorageError
from megaphone.service.accounts import ITERATIONS, Credentials, unknown_credentials
from megaphone.service.attempt import Attempt, Transport
from megaphone.service.failed_logins import ACCOUNT_POLICY, ADDRESS_POLICY, FailedLogins, LockPolicy
from megaphone.service.tokens import TokenKey, TokenKeys
from megaphone.stream.sasl import mechanisms_feature
from megaphone.stream.scram import PLUS

if TYPE_CHECKING:
    from megaphone.service.accounts import AccountStore
    from megaphone.stream.jid import JID

_SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-1")  # strongest first, as clients like to choose


@dataclass(frozen=True, slots=True)
class LoginSettings:
    """What an operator may set about logins, and change while they go on.

    `anonymous()` returns the local part for a client that wants no account; the mechanism is not offered without such a
    callable. `plain_without_tls` also lets tokens through in clear. `mechanisms_off` are not offered. `iterations` are
    those of new passwords: unknown users look as if theirs was one.
    """

    tokens: tuple[TokenKey, ...] = ()
    anonymous: Callable[[], str] | None = None
    plain_without_tls: bool = False
    mechanisms_off: frozenset[str] = frozenset()
    iterations: int = ITERATIONS
    address_locks: LockPolicy = ADDRESS_POLICY
    account_locks: LockPolicy = ACCOUNT_POLICY


class Authenticator:
    """The logins of one domain.

    `token(n)` returns n bytes that nobody can guess. `secret` makes unknown users look like known ones: random, 16
    bytes or more, the same on all workers and after a restart.
    """

    def __init__(
        self,
        domain: str,
        accounts: AccountStore,
        *,
        token: Callable[[int], bytes],
        secret: bytes,
        settings: LoginSettings | None = None,
    ) -> None:
        self.use_secret(secret)
        self.domain = domain
        self.token = token
        self._accounts = accounts
        self.failed_addresses = FailedLogins(ADDRESS_POLICY)
        self.failed_accounts = FailedLogins(ACCOUNT_POLICY)
        self.tell_failed: Callable[[str, JID | None], object] = _nobody  # other workers count what failed here
        self.tell_succeeded: Callable[[JID], object] = _nobody  # ... and forget it
        self.apply(settings or LoginSettings())

    def use_secret(self, secret: bytes) -> None:
        """Let unknown users look as this secret has it, from now on. ValueError if it has less than 16 bytes."""
        if len(secret) < 16:
            raise ValueError("the secret for unknown users has at least 16 bytes")
        self._secret = secret

    def apply(self, settings: LoginSettings) -> None:
        """Take these settings from now on, for streams that begin and logins that are under way."""
        self.settings = settings
        self.tokens = TokenKeys(self.domain, settings.tokens)
        self.failed_addresses.policy = settings.address_locks
        self.failed_accounts.policy = settings.account_locks
        self._features: dict[tuple[bool, tuple[str, ...]], bytes] = {}

    def mechanisms(self, transport: Transport) -> tuple[str, ...]:
        """Return what is offered on a connection, the strongest first."""
        offered = [each + PLUS for each in _SCRAM if transport.bindings]
        offered += _SCRAM
        settings = self.settings
        if transport.encrypted or settings.plain_without_tls:
            offered += ["OAUTHBEARER"] if self.tokens else []
            offered += ["PLAIN"]
        offered += ["ANONYMOUS"] if settings.anonymous is not None else []
        return tuple(each for each in offered if each not in settings.mechanisms_off)

    def feature(self, transport: Transport) -> bytes:
        """Return the stream feature that offers them."""
        bindings = tuple(transport.bindings)
        key = transport.encrypted, bindings
        feature = self._features.get(key)
        if feature is None:
            mechanisms = self.mechanisms(transport)
            plus = any(each.endswith(PLUS) for each in mechanisms)
            feature = self._features[key] = mechanisms_feature(mechanisms, bindings if plus else ())
        return feature

    def begin(self, mechanism: str, transport: Transport) -> Attempt:
        """Start a run of a mechanism that the client chose.

        Raises SASLError: encryption-required (RFC 6120 section 6.5.4), mechanism-too-weak (6.5.9), invalid-mechanism.
        """
        offered = self.mechanisms(transport)
        if mechanism in offered:
            return Attempt(self, mechanism, transport, plus_offered=any(each.endswith(PLUS) for each in offered))
        off = self.settings.mechanisms_off
        if mechanism in ("PLAIN", "OAUTHBEARER") and mechanism not in off and not transport.encrypted:
            raise SASLError("encryption-required", f"{mechanism} is possible over TLS only")
        if mechanism in off:
            raise SASLError("mechanism-too-weak", f"{mechanism} is switched off here")
        raise SASLError("invalid-mechanism", "This mechanism is not offered here")

    def kept(self, account: JID) -> Credentials | None:
        """Return what is kept of an account; temporary-auth-failure if that cannot be known now."""
        try:
            return self._accounts.credentials(account)
        except StorageError:
            raise SASLError("temporary-auth-failure", "The accounts cannot be reached; try again later") from None

    def pretended(self, account: JID | None, username: str) -> Credentials:
        """Return what looks like the credentials of a name that has no account."""
        name = username if account is None else account.local
        return unknown_credentials(name, self._secret, self.settings.iterations)

    def check_locks(self, address: str, account: JID | None, now: float) -> None:
        """Refuse for a while whoever failed too often: temporary-auth-failure (RFC 6120 section 6.5.11)."""
        if self.failed_addresses.locked(address, now) or (
            account is not None and self.failed_accounts.locked(account, now)
        ):
            raise SASLError("temporary-auth-failure", "There were too many failed logins; try again later")

    def failed(self, address: str, account: JID | None, now: float) -> None:
        """Count a wrong password, proof or token, and let it be counted by other workers."""
        self.count_failed(address, account, now)
        self.tell_failed(address, account)

    def count_failed(self, address: str, account: JID | None, now: float) -> None:
        """Count what failed here or at another worker."""
        if address:
            self.failed_addresses.failed(address, now)
        if account is not None:
            self.failed_accounts.failed(account, now)

    def succeeded(self, account: JID) -> None:
        """Forget the failures of an account, and let other workers forget them."""
        if self.forget_failed(account):
            self.tell_succeeded(account)

    def forget_failed(self, account: JID) -> bool:
        """Forget the failures of an account; False if there were none."""
        return self.failed_accounts.succeeded(account)


def _nobody(*_: object) -> None:
    """There is no other worker."""

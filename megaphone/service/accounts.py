"""What is kept of an account's password, and how a password is checked against it.

Only salted SCRAM keys are ever stored (RFC 5802 section 3): they check a SCRAM login and a PLAIN one, and whoever
steals them has no password. One set for each hash, because a client may know SHA-1 alone.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from megaphone.stream.saslprep import saslprep
from megaphone.stream.scram import ScramKeys, derive_keys

if TYPE_CHECKING:
    from megaphone.stream.jid import JID

# The client pays this at every login, a phone too, and we at every PLAIN: 10,000 rounds take us about 3 ms. RFC 7677
# section 4 asks for 4,096 at least; more would slow down guessing from a stolen file only by that factor, which a
# longer password does better, and would make a PLAIN login a lever for exhausting the server.
ITERATIONS = 10_000
SALT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Credentials:
    """The keys of one account, for both hashes; `disabled` refuses it even with the right password."""

    sha1: ScramKeys
    sha256: ScramKeys
    disabled: bool = False

    def keys(self, hash_name: str) -> ScramKeys:
        """Return the keys for "sha1" or "sha256"."""
        return self.sha1 if hash_name == "sha1" else self.sha256


class AccountStore(Protocol):
    """Where accounts are kept. Reads answer at once; StorageError says that the disk does not."""

    def credentials(self, account: JID) -> Credentials | None:
        """Return what is kept of this account (a bare JID); None if there is none."""
        ...


def make_credentials(password: str, salt: bytes, iterations: int = ITERATIONS) -> Credentials:
    """Return what is to be stored of a new password; takes twice as long as checking one.

    `salt` is SALT_BYTES of randomness of this password alone. ValueError with the reason for what no password can be.
    """
    if len(salt) < SALT_BYTES:
        raise ValueError(f"a salt has at least {SALT_BYTES} bytes")
    prepared = saslprep(password)
    return Credentials(
        sha1=derive_keys("sha1", prepared, salt, iterations),
        sha256=derive_keys("sha256", prepared, salt, iterations),
    )


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """A password and the keys that it has to have: checked apart from its making, since that takes milliseconds."""

    password: str
    keys: ScramKeys

    def holds(self) -> bool:
        """Say whether it is the password; costs `keys.iterations` hashes, touches nothing, may run in a thread."""
        try:
            prepared = saslprep(self.password)
        except ValueError:
            prepared, right = "", False  # the time is spent all the same
        else:
            right = True
        derived = derive_keys("sha256", prepared, self.keys.salt, self.keys.iterations)
        return hmac.compare_digest(derived.stored_key, self.keys.stored_key) and right


def unknown_credentials(username: str, secret: bytes, iterations: int = ITERATIONS) -> Credentials:
    """Return credentials that no password has, for a user who does not exist: always the same for the same name.

    An unknown user gets the same questions as one with a wrong password, so that nobody learns which names exist (RFC
    5802 section 9). `secret` is random, and the same on all workers and after a restart.
    """
    name = username.encode("utf-8", "surrogatepass")
    keys = ScramKeys(
        salt=hmac.digest(secret, b"salt " + name, "sha256")[:SALT_BYTES],
        iterations=iterations,
        stored_key=hmac.digest(secret, b"key " + name, "sha256"),
        server_key=hmac.digest(secret, b"server key " + name, "sha256"),
    )
    short = replace(keys, stored_key=keys.stored_key[:20], server_key=keys.server_key[:20])
    return Credentials(sha1=short, sha256=keys)

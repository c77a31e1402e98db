"""Signed tokens: an application's back end says who its user is, and no round trip is needed to believe it.

A token is a JSON Web Token (RFC 7519) in its compact form, signed with HMAC and SHA-256 (HS256, RFC 7518 section 3.2):

    base64url({"alg":"HS256","typ":"JWT","kid":KEY})  "."
    base64url({"sub":USER,"aud":DOMAIN,"exp":SECONDS})  "."  base64url(MAC)

The algorithm is the key's and never the token's choice: a token that names another one is refused (RFC 8725 section
3.1). No EdDSA: it would need a library in every worker, and a key that can only check gains little where back end and
server have the same operator. Keys are rotated by having two at once: docs/how-to/tokens.md.
"""

from __future__ import annotations

import binascii
import hmac
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from megaphone.errors import SASLError
from megaphone.stream.jid import JID

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TOKEN_LIMIT_CHARACTERS = 8192
KEY_BYTES_AT_LEAST = 32  # RFC 7518 section 3.2
LEEWAY_SECONDS = 30.0  # between the clocks of back end and server (RFC 7519 section 4.1.4)
_END_OF_TIME = 1e12

_TOKEN = re.compile(r"(eyJ[A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})")  # eyJ is {" in base64


@dataclass(frozen=True, slots=True)
class TokenKey:
    """One key that back ends sign with. ValueError for a secret that is too short, or an empty name.

    `name` is the token's kid (RFC 7515 section 4.1.4).
    """

    name: str
    secret: bytes

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a token key needs a name")
        if len(self.secret) < KEY_BYTES_AT_LEAST:
            raise ValueError(f"a token key has at least {KEY_BYTES_AT_LEAST} bytes")

    def __repr__(self) -> str:
        return f"TokenKey({self.name!r})"

    @classmethod
    def from_file(cls, name: str, content: bytes) -> TokenKey:
        """Return the key in a key file: its bytes as they are, without white space at the end."""
        return cls(name, content.rstrip(b" \t\r\n"))


def looks_like_token(text: str) -> bool:
    """Say whether a password might be a token: three parts of base64url, the first of them a JSON object."""
    return len(text) <= TOKEN_LIMIT_CHARACTERS and _TOKEN.fullmatch(text) is not None


def make_token(key: TokenKey, account: JID, *, now: float, lifetime_seconds: float) -> str:
    """Return a token that says "this is `account`" from now on for `lifetime_seconds`."""
    if lifetime_seconds <= 0:
        raise ValueError("a token lives longer than 0 seconds")
    header = {"alg": "HS256", "typ": "JWT", "kid": key.name}
    claims = {
        "sub": str(account.bare),
        "aud": account.domain,
        "iat": math.floor(now),
        "exp": math.ceil(now + lifetime_seconds),
    }
    signed = f"{_base64url(_json(header))}.{_base64url(_json(claims))}"
    return f"{signed}.{_base64url(hmac.digest(key.secret, signed.encode(), 'sha256'))}"


class TokenKeys:
    """The keys of one domain, by name. ValueError for two of the same name."""

    __slots__ = ("_domain", "_keys")

    def __init__(self, domain: str, keys: Iterable[TokenKey] = ()) -> None:
        self._domain = domain
        self._keys: dict[str, TokenKey] = {}
        for key in keys:
            if key.name in self._keys:
                raise ValueError(f"there are two token keys called {key.name!r}")
            self._keys[key.name] = key

    def __bool__(self) -> bool:
        return bool(self._keys)

    def check(self, token: str, now: float) -> JID:
        """Return the account that a token names; `now` is in Unix seconds.

        Raises SASLError: credentials-expired if that is all that is wrong with it, otherwise not-authorized. The text
        says nothing that its maker does not know.
        """
        found = _TOKEN.fullmatch(token) if len(token) <= TOKEN_LIMIT_CHARACTERS else None
        if found is None:
            raise _refused("The token is not a JSON Web Token signed with HS256")
        key = self._key(_object(found[1]))
        expected = hmac.digest(key.secret, f"{found[1]}.{found[2]}".encode(), "sha256")
        if not hmac.compare_digest(_unbase64url(found[3]), expected):
            raise _refused("The token's signature is not right")
        return self._account(_object(found[2]), now)

    def _key(self, header: dict[str, object]) -> TokenKey:
        if header.get("alg") != "HS256":
            raise _refused("The token is not signed with HS256")
        if "crit" in header:  # RFC 7515 section 4.1.11: extensions that must be understood, and none is
            raise _refused("The token has critical extensions")
        name = header.get("kid")
        if name is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        key = self._keys.get(name) if isinstance(name, str) else None
        if key is None:
            raise _refused("The token's kid names no key of this server")
        return key

    def _account(self, claims: dict[str, object], now: float) -> JID:
        audience = claims.get("aud")
        if self._domain not in (audience if isinstance(audience, list) else [audience]):
            raise _refused("The token is not for this domain (aud)")
        account = self._subject(claims.get("sub"))
        if "nbf" in claims and now < _time(claims, "nbf") - LEEWAY_SECONDS:
            raise _refused("The token is not valid yet (nbf)")
        if now >= _time(claims, "exp") + LEEWAY_SECONDS:
            raise SASLError("credentials-expired", "The token has expired")
        return account

    def _subject(self, subject: object) -> JID:
        if isinstance(subject, str):
            try:
                account = JID.parse(subject) if "@" in subject else JID.of(subject, self._domain)
            except ValueError:
                account = JID("", "")
            if account.local and account.domain == self._domain and account.is_bare:
                return account
        raise _refused("The token's sub is no account of this domain")


def _refused(text: str) -> SASLError:
    return SASLError("not-authorized", text)


def _time(claims: dict[str, object], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _END_OF_TIME:
        raise _refused(f"The token's {name} is no time (RFC 7519 section 2, NumericDate)")
    return float(value)


def _object(part: str) -> dict[str, object]:
    """Return one part of a token as the JSON object that it must be, each member once (RFC 7519 section 4)."""
    try:
        value = json.loads(_unbase64url(part).decode(), object_pairs_hook=_members)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise _refused("The token's parts are not JSON objects")
    return value


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _base64url(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode().rstrip("=").translate({43: "-", 47: "_"})


def _unbase64url(text: str) -> bytes:
    standard = text.translate({45: "+", 95: "/"}) + "=" * (-len(text) % 4)
    try:
        return binascii.a2b_base64(standard, strict_mode=True)
    except ValueError:
        raise _refused("The token's parts are not base64url") from None

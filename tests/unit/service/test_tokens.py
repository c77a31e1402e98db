"""Signed tokens: made here or by PyJWT, and everything that is wrong with one."""

from __future__ import annotations

import base64
import hmac
import json

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.errors import SASLError
from megaphone.service.tokens import (
    LEEWAY_SECONDS,
    TOKEN_LIMIT_CHARACTERS,
    TokenKey,
    TokenKeys,
    looks_like_token,
    make_token,
)
from megaphone.stream.jid import JID

DOMAIN = "example.org"
JULIET = JID("juliet", DOMAIN)
OLD, NEW = TokenKey("2026-10", b"o" * 32), TokenKey("2026-11", b"n" * 64)
KEYS = TokenKeys(DOMAIN, [OLD, NEW])
NOW = 1_700_000_000.0
CLAIMS = {"sub": "juliet", "aud": DOMAIN, "exp": NOW + 60}


def signed(claims: object = CLAIMS, *, key: TokenKey = NEW, algorithm: str = "HS256", **header: object) -> str:
    """Return a token as PyJWT signs it, whatever is in it."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return jwt.api_jws.encode(payload, key.secret, algorithm, headers={"kid": key.name, **header})


def with_header(header: dict[str, object]) -> str:
    """Return a token that NEW has signed, with a header that PyJWT would not write."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, CLAIMS)]
    mac = hmac.digest(NEW.secret, ".".join(parts).encode(), "sha256")
    return ".".join([*parts, base64.urlsafe_b64encode(mac).decode().rstrip("=")])


def refusal(token: str, now: float = NOW, keys: TokenKeys = KEYS) -> str:
    with pytest.raises(SASLError) as caught:
        keys.check(token, now)
    return f"{caught.value.condition}: {caught.value.text}"


def test_made_and_checked() -> None:
    token = make_token(NEW, JULIET.at("balcony"), now=NOW, lifetime_seconds=60)
    assert looks_like_token(token)
    assert KEYS.check(token, NOW) == JULIET
    decoded = jwt.decode(token, NEW.secret, ["HS256"], audience=DOMAIN, options={"verify_exp": False})
    assert decoded == {"sub": "juliet@example.org", "aud": DOMAIN, "iat": NOW, "exp": NOW + 60}
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT", "kid": "2026-11"}
    with pytest.raises(ValueError, match="longer than 0 seconds"):
        make_token(NEW, JULIET, now=NOW, lifetime_seconds=0)


@pytest.mark.parametrize(
    "claims",
    [
        CLAIMS,
        CLAIMS | {"sub": "Juliet@EXAMPLE.org"},
        CLAIMS | {"aud": ["other.example", DOMAIN]},
        CLAIMS | {"nbf": NOW + LEEWAY_SECONDS, "iat": NOW + 5, "jti": "x"},
        CLAIMS | {"exp": NOW - LEEWAY_SECONDS + 1},
    ],
)
def test_accepted(claims: dict[str, object]) -> None:
    assert KEYS.check(signed(claims), NOW) == JULIET


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        (CLAIMS | {"exp": NOW - LEEWAY_SECONDS}, "credentials-expired: The token has expired"),
        ({"sub": "juliet", "aud": DOMAIN}, "not-authorized: The token's exp is no time"),
        (CLAIMS | {"exp": "soon"}, "not-authorized: The token's exp is no time"),
        (CLAIMS | {"exp": True}, "not-authorized: The token's exp is no time"),
        (CLAIMS | {"exp": float("nan")}, "not-authorized: The token's exp is no time"),
        (CLAIMS | {"exp": float("inf")}, "not-authorized: The token's exp is no time"),
        (CLAIMS | {"exp": 10**400}, "not-authorized: The token's exp is no time"),
        (CLAIMS | {"nbf": NOW + LEEWAY_SECONDS + 1}, "not-authorized: The token is not valid yet"),
        (CLAIMS | {"nbf": None}, "not-authorized: The token's nbf is no time"),
        (CLAIMS | {"aud": "example.net"}, "not-authorized: The token is not for this domain"),
        (CLAIMS | {"aud": [{}]}, "not-authorized: The token is not for this domain"),
        ({"sub": "juliet", "exp": NOW + 60}, "not-authorized: The token is not for this domain"),
        (CLAIMS | {"sub": "juliet@example.net"}, "not-authorized: The token's sub"),
        (CLAIMS | {"sub": "juliet@example.org/x"}, "not-authorized: The token's sub"),
        (CLAIMS | {"sub": ""}, "not-authorized: The token's sub"),
        (CLAIMS | {"sub": "a b"}, "not-authorized: The token's sub"),
        (CLAIMS | {"sub": 7}, "not-authorized: The token's sub"),
        (["sub"], "not-authorized: The token's parts"),
        (b'{"sub":"juliet","sub":"romeo"}', "not-authorized: The token's parts"),
        (b"[" * 3000, "not-authorized: The token's parts"),
        (b"\xff", "not-authorized: The token's parts"),
    ],
)
def test_claims_that_are_refused(claims: object, reason: str) -> None:
    assert refusal(signed(claims)).startswith(reason)


def test_algorithm_is_not_the_token_s_choice() -> None:
    assert refusal(signed(algorithm="HS512")) == "not-authorized: The token is not a JSON Web Token signed with HS256"
    for name in ("none", "HS384", "RS256", "hs256", None):
        token = with_header({"alg": name, "kid": NEW.name})
        assert refusal(token) == "not-authorized: The token is not signed with HS256"
        assert "signed with HS256" in refusal(token[:-43])


def test_key_is_chosen_by_name() -> None:
    assert KEYS.check(signed(key=OLD), NOW) == JULIET
    assert refusal(signed(key=OLD), keys=TokenKeys(DOMAIN, [NEW])).endswith("names no key of this server")
    assert refusal(signed(key=TokenKey("2026-11", b"x" * 32))).endswith("signature is not right")
    unnamed = jwt.encode(CLAIMS, NEW.secret, "HS256")
    assert refusal(unnamed).endswith("names no key of this server")
    assert TokenKeys(DOMAIN, [NEW]).check(unnamed, NOW) == JULIET
    assert KEYS.check(with_header({"alg": "HS256", "kid": NEW.name}), NOW) == JULIET
    for kid in (["a"], 7, {}, "", "2026-12"):
        assert refusal(with_header({"alg": "HS256", "kid": kid})).endswith("names no key of this server")
    assert refusal(with_header({"alg": "HS256", "kid": NEW.name, "crit": ["exp"]})).endswith("critical extensions")
    assert "names no key" in refusal(signed(), keys=TokenKeys(DOMAIN))


def test_keys() -> None:
    assert TokenKey.from_file("a", b"x" * 40 + b"\r\n").secret == b"x" * 40
    assert "xxx" not in repr(TokenKey("a", b"x" * 40))
    assert (bool(KEYS), bool(TokenKeys(DOMAIN))) == (True, False)
    with pytest.raises(ValueError, match="32 bytes"):
        TokenKey("a", b"x" * 31)
    with pytest.raises(ValueError, match="name"):
        TokenKey("", b"x" * 32)
    with pytest.raises(ValueError, match="two token keys called 'a'"):
        TokenKeys(DOMAIN, [TokenKey("a", b"x" * 32), TokenKey("a", b"y" * 32)])


@pytest.mark.parametrize(
    "text", ["", "a.b.c", "eyJ", "eyJh.eyJh.", f"eyJh.eyJh.{'A' * 42}", "eyJh.\u00e9." + "A" * 43, "hunter2"]
)
def test_what_is_no_token(text: str) -> None:
    assert not looks_like_token(text)
    assert "not a JSON Web Token" in refusal(text)


def test_long_tokens_are_not_read() -> None:
    token = signed(CLAIMS | {"x": "x" * TOKEN_LIMIT_CHARACTERS})
    assert not looks_like_token(token)
    assert "not a JSON Web Token" in refusal(token)


@given(st.integers(0, 10_000), st.characters(codec="ascii"))
def test_any_change_is_noticed(position: int, character: str) -> None:
    token = signed()
    position %= len(token) - 1  # the last digit has two bits that mean nothing
    if token[position] != character:
        with pytest.raises(SASLError, match=r"^not-authorized"):
            KEYS.check(token[:position] + character + token[position + 1 :], NOW)


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_comes_ends_in_an_answer(one: str, other: str) -> None:
    for text in (one, f"eyJ{one}.{other}.{'A' * 43}"):
        with pytest.raises(SASLError, match=r"^not-authorized"):
            KEYS.check(text, NOW)

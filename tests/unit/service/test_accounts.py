"""Credentials: made from a password, checked, and pretended."""

import pytest

from megaphone.service.accounts import ITERATIONS, PasswordCheck, make_credentials, unknown_credentials

SALT = b"0123456789abcdef"


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("Br\u00fccke 9", True),
        ("Bru\u0308cke\u00a09", True),  # the same after SASLprep
        ("Br\u00fccke9", False),
        ("br\u00fccke 9", False),
        ("", False),
        ("\u0007", False),
        ("x" * 10_000, False),
    ],
)
def test_check(given: str, right: bool) -> None:
    credentials = make_credentials("Br\u00fccke 9", SALT, 3)
    assert PasswordCheck(given, credentials.sha256).holds() is right


def test_empty_password_opens_nothing_even_where_keys_were_made_of_it() -> None:
    keys = make_credentials("x", SALT, 3).sha256
    assert not PasswordCheck("", keys).holds()
    with pytest.raises(ValueError, match="not empty"):
        make_credentials("", SALT)


def test_iterations_and_salt_are_stored() -> None:
    credentials = make_credentials("x", SALT)
    for keys in (credentials.sha1, credentials.sha256):
        assert (keys.iterations, keys.salt) == (ITERATIONS, SALT)
    assert credentials.keys("sha1") is credentials.sha1
    assert credentials.keys("sha256") is credentials.sha256
    assert (len(credentials.sha1.stored_key), len(credentials.sha256.server_key)) == (20, 32)
    with pytest.raises(ValueError, match="16 bytes"):
        make_credentials("x", b"short")


def test_pretended_credentials_have_the_same_shape() -> None:
    real, pretended = make_credentials("x", SALT), unknown_credentials("nurse", b"s" * 16)
    for hash_name in ("sha1", "sha256"):
        one, other = real.keys(hash_name), pretended.keys(hash_name)
        for field in ("salt", "stored_key", "server_key"):
            assert len(getattr(one, field)) == len(getattr(other, field))
        assert one.iterations == other.iterations
    assert not pretended.disabled

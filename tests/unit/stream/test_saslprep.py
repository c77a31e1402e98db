"""Passwords in the form in which they are hashed."""

import stringprep

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from slixmpp.util.sasl.client import saslprep as slixmpp_saslprep

from megaphone.stream.saslprep import PASSWORD_LIMIT_BYTES, saslprep


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),  # the examples of RFC 4013 section 3
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("pa ss", "pa ss"),
        ("\u0627\u0031\u0628", "\u0627\u0031\u0628"),
        ("corre\u0301ct \U0001f40e", "corr\u00e9ct \U0001f40e"),  # a horse that Unicode 3.2 does not know
    ],
)
def test_prepared(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\u00ad",
        "\u0007",  # RFC 4013 section 3
        "\u0627\u0031",  # RFC 4013 section 3: begins from the right and does not end so
        "\u0627a\u0628",
        "tab\there",
        "\ud800",
        "\ue000",
        "\ufffe",
        "\U000e0001",
        "x" * (PASSWORD_LIMIT_BYTES + 1),
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a password "):
        saslprep(text)


@given(st.text(max_size=12))
def test_same_as_slixmpp_for_what_unicode_3_2_knows(text: str) -> None:
    assume(not any(stringprep.in_table_a1(character) for character in text))
    try:
        expected = slixmpp_saslprep(text)
    except UnicodeError:
        expected = ""
    try:
        found = saslprep(text)
    except ValueError:
        found = ""
    assert found == expected

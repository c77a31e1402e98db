"""Names of people and keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.peers.names import (
    NAME_LIMIT_BYTES,
    clean_name,
    fingerprint,
    fingerprint_digits,
    hash_to_port,
    name_key,
    short_fingerprint,
)


@pytest.mark.parametrize(
    ("written", "clean"),
    [
        ("Julia", "Julia"),
        ("  Julia   of Verona ", "Julia of Verona"),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER J}ulia", "Julia"),
    ],
)
def test_a_name_has_one_form(written: str, clean: str) -> None:
    assert clean_name(written) == clean


@pytest.mark.parametrize("text", ["", "  ", "a\nb", "a\x1b[2Jb", "\u202ea", "a\0", "x" * 65, "é" * 33])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="name"):
        clean_name(text)


def test_names_that_people_take_for_the_same_are_the_same() -> None:
    assert name_key("JULIA") == name_key("julia") == name_key(" Julia ")
    assert name_key("Julia") != name_key("Julio")


@given(st.text(max_size=80))
def test_a_clean_name_stays_as_it_is(text: str) -> None:
    try:
        clean = clean_name(text)
    except ValueError:
        return
    assert clean_name(clean) == clean
    assert len(clean.encode()) <= NAME_LIMIT_BYTES
    assert clean.isprintable()


def test_fingerprints_are_128_bits_in_groups() -> None:
    # SHA-256 of 32 zero bytes, by sha256sum.
    assert fingerprint_digits(bytes(32)) == "66687aadf862bd776c8fc18b8e9f8e20"
    assert fingerprint(bytes(32)) == "6668 7aad f862 bd77 6c8f c18b 8e9f 8e20"
    assert short_fingerprint(bytes(32)) == "6668 7aad"


def test_the_port_of_a_name_is_the_one_of_the_workshop() -> None:
    assert hash_to_port("example.com") == 22019  # as the documentation of hash-to-port says


@given(st.text())
def test_the_port_of_a_name_needs_no_privilege(name: str) -> None:
    assert 1024 <= hash_to_port(name) <= 65534

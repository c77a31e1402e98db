"""Rateless tables: they find what two sets differ in, with few symbols, and bear symbols of no set at all."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.history.riblt import Decoder, Encoder

KEY = bytes(range(16))
ELEMENTS = st.binary(min_size=8, max_size=8)


def ids(count: int, seed: int = 1) -> list[bytes]:
    choice = random.Random(seed)
    return [choice.randbytes(32) for _ in range(count)]


def differences(
    one: list[bytes], other: list[bytes], step: int = 16, sample: int = 0
) -> tuple[set[bytes], set[bytes], int]:
    """What `other` finds out from symbols of `one`: what only each of them has, and how many symbols that took."""
    encoder = Encoder(one, KEY, sample)
    decoder = Decoder(other, KEY, encoder.size, sample)
    while not decoder.is_complete:
        assert decoder.symbols_read < 4 * (len(one) + len(other)) + 100
        decoder.feed(encoder.next(step))
    theirs, ours = decoder.differences()
    assert len(set(theirs)) == len(theirs)
    assert len(set(ours)) == len(ours)
    return set(theirs), set(ours), decoder.symbols_read


@given(st.sets(ELEMENTS, max_size=60), st.sets(ELEMENTS, max_size=60), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_differences_of_any_sets(one: set[bytes], other: set[bytes], step: int) -> None:
    theirs, ours, _ = differences(list(one), list(other), step)
    assert theirs == one - other
    assert ours == other - one


@given(st.sets(ELEMENTS, min_size=30, max_size=60), st.sets(ELEMENTS, max_size=4), st.sets(ELEMENTS, max_size=4))
@settings(max_examples=100, deadline=None)
def test_differences_of_sets_that_differ_little(common: set[bytes], one: set[bytes], other: set[bytes]) -> None:
    theirs, ours, _ = differences(list(common | one), list(common | other))
    assert (theirs, ours) == ((one - other) - common, (other - one) - common)


def test_the_same_set_takes_one_symbol() -> None:
    elements = ids(1000)
    theirs, ours, symbols = differences(elements, elements[::-1], 1)
    assert (theirs, ours, symbols) == (set(), set(), 1)


@pytest.mark.parametrize("seed", range(20))
def test_200_differences_take_less_than_360_symbols(seed: int) -> None:
    common, mine, yours = ids(3000, seed), ids(100, seed + 1000), ids(100, seed + 2000)
    theirs, ours, symbols = differences(common + mine, common + yours, 4)
    assert theirs == {each[:8] for each in mine}
    assert ours == {each[:8] for each in yours}
    assert symbols <= 360


def test_symbols_in_any_portions_are_the_same() -> None:
    elements = ids(500)
    whole = Encoder(elements, KEY).next(200)
    encoder = Encoder(elements, KEY)
    assert b"".join(encoder.next(count) for count in (1, 9, 90, 100)) == whole
    assert encoder.made == 200


def test_a_symbol_has_18_bytes_or_so() -> None:
    assert len(Encoder(ids(20_000), KEY).next(320)) <= 320 * 18


def test_samples_are_about_part_of_the_set() -> None:
    common, mine = ids(20_000), ids(1000, 2)
    theirs, ours, symbols = differences(common + mine, common, sample=4)
    assert theirs == {each[:8] for each in mine if not each[0] & 15}
    assert ours == set()
    assert symbols < 200


def test_the_key_matters() -> None:
    elements = ids(10)
    decoder = Decoder(elements[1:], KEY[::-1], 10)
    decoder.feed(Encoder(elements, KEY).next(30))
    assert not decoder.is_complete
    assert decoder.differences() == ([], [])


def test_checksums_are_siphash() -> None:
    """The vector of the reference implementation for 8 bytes; one element alone is what its symbols are."""
    symbol = Encoder([bytes(range(8))], KEY).next(1)
    assert symbol == bytes(range(8)) + (0x93F5F5799A932462).to_bytes(8, "little") + b"\0"


def test_no_such_sets() -> None:
    with pytest.raises(ValueError, match="id of at least 8 bytes"):
        Encoder([b"short"], KEY)
    with pytest.raises(ValueError, match="key of 16 bytes"):
        Encoder([], b"key")
    with pytest.raises(ValueError, match="sample"):
        Encoder([], KEY, 33)
    with pytest.raises(ValueError, match="at most"):
        Decoder([], KEY, 2**62)
    with pytest.raises(ValueError, match="not made"):
        Encoder([], KEY).next(0)


@pytest.mark.parametrize(
    "data",
    [b"", bytes(16), bytes(16) + b"\x80", bytes(16) + b"\x80\0", bytes(16) + b"\xff" * 9 + b"\1", bytes(17) + b"x"],
)
def test_what_is_no_symbol(data: bytes) -> None:
    decoder = Decoder(ids(3), KEY, 3)
    with pytest.raises(ValueError, match=r"symbol|count"):
        decoder.feed(data)


def test_there_is_a_limit() -> None:
    decoder = Decoder([], KEY, 0, most=10)
    decoder.feed(bytes(17) * 10)
    with pytest.raises(ValueError, match="too many symbols"):
        decoder.feed(bytes(17))


@given(st.binary(max_size=2000), st.integers(0, 2**62 - 1))
@settings(max_examples=200, deadline=None)
def test_any_bytes_come_to_an_end(data: bytes, size: int) -> None:
    decoder = Decoder(ids(50), KEY, size)
    try:
        decoder.feed(data)
    except ValueError:
        return
    theirs, ours = decoder.differences()
    assert len(theirs) + len(ours) <= decoder.symbols_read


def test_symbols_that_yield_elements_for_ever_come_to_an_end() -> None:
    """Each claims to be the same element alone, here or there: taken out of one it is found again in others."""
    choice = random.Random(1)
    one = Encoder([b"elements"], KEY).next(1)
    decoder = Decoder([], KEY, 1)
    with pytest.raises(ValueError, match="more elements than symbols"):
        decoder.feed(one + b"".join(one[:16] + choice.choice([b"\1", b"\2"]) for _ in range(39)))

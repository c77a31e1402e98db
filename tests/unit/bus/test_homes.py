"""Homes: the same for everybody, evenly shared, and stable when a worker more takes part."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from megaphone.bus.homes import home_of, name_at_home

NAMES = [f"user{number}@example.org" for number in range(4000)]


def test_known_homes() -> None:
    """They must never change: what is in the database of a running node belongs to them."""
    assert [home_of(name, 4) for name in NAMES[:12]] == [3, 0, 0, 3, 1, 1, 2, 0, 2, 3, 1, 0]


def test_even_shares() -> None:
    for workers in (1, 2, 4, 16):
        counts = Counter(home_of(name, workers) for name in NAMES)
        share = len(NAMES) / workers
        assert set(counts) == set(range(workers))
        assert all(0.7 * share <= count <= 1.3 * share for count in counts.values())


@given(st.text(max_size=40), st.integers(1, 60))
def test_one_worker_more_takes_names_and_moves_no_others(name: str, workers: int) -> None:
    before, after = home_of(name, workers), home_of(name, workers + 1)
    assert after in (before, workers)


@given(st.integers(1, 60), st.integers(0, 59), st.text("0123456789abcdef", min_size=16, max_size=16))
def test_a_name_for_a_guest_is_at_home_where_it_is_wanted(workers: int, home: int, begin: str) -> None:
    name = name_at_home(begin, "example.org", home % workers, workers)
    assert name.startswith(begin)
    assert len(name) == len(begin) + 3
    assert home_of(f"{name}@example.org", workers) == home % workers


def test_no_name_for_a_worker_that_is_not_there() -> None:
    assert name_at_home("abc", "example.org", 5, 5) == "abc"

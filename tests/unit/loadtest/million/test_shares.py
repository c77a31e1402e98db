"""How sessions and their partners are dealt out to load processes."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from loadtest.million.generator import dealt
from loadtest.million.shares import by_way, deal, least


def test_ways_of_a_mixed_node() -> None:
    assert by_way(20_000, 0.8, 0.0) == {"plain": 4_000, "tls": 16_000}
    assert by_way(20_000, 0.8, 0.01) == {"plain": 4_000, "tls": 15_840, "tls1.2": 160}
    assert by_way(10, 1.0, 1.0) == {"tls1.2": 10}
    assert by_way(3, 0.0, 1.0) == {"plain": 3}


@given(
    sessions=st.integers(1, 1_000_000),
    tls=st.floats(0, 1),
    tls12=st.floats(0, 1),
    most=st.integers(10, 100_000),
    more=st.integers(0, 20),
)
def test_every_session_has_a_process_and_none_has_too_many(
    sessions: int, tls: float, tls12: float, most: int, more: int
) -> None:
    counts = by_way(sessions, tls, tls12)
    if least(counts, most) > 2_000:
        return
    shares = deal(counts, least(counts, most) + more)
    assert max(share.sessions for share in shares) <= most
    assert min(share.sessions for share in shares) >= 1
    assert {way: sum(share.sessions for share in shares if share.way == way) for way in counts} == counts


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6))
def test_partners_are_a_bijection(sizes: list[int]) -> None:
    parts = [[f"{number}-{line}".encode() for line in range(size)] for number, size in enumerate(sizes)]
    given_out = dealt(parts)
    assert [len(part) for part in given_out] == sizes
    assert Counter(line for part in given_out for line in part) == Counter(line for part in parts for line in part)

"""Runs of a feed, beside a plain set of numbers."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from megaphone.history.entry import EntryID
from megaphone.history.ports import Span
from megaphone.history.spans import add, gaps, touching

runs = st.tuples(st.integers(1, 60), st.integers(0, 8)).map(lambda each: (each[0], each[0] + each[1]))


def id_of(seq: int) -> EntryID:
    return EntryID(seq.to_bytes(32, "big"))


@given(st.lists(runs, max_size=20), runs)
def test_runs_are_those_of_a_set(added: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    spans: list[Span] = []
    here: set[int] = set()
    for first, last in added:
        for start, end in list(gaps(spans, first, last)):
            assert not here & set(range(start, end + 1))
            add(spans, Span(start, end, id_of(start - 1), id_of(end)))
            here |= set(range(start, end + 1))
        assert set(range(first, last + 1)) <= here
    assert {seq for span in spans for seq in range(span.first, span.last + 1)} == here
    assert all(one.last + 1 < other.first for one, other in pairwise(spans))
    assert all(span.before == id_of(span.first - 1) and span.head == id_of(span.last) for span in spans)
    first, last = asked
    lacking = [seq for start, end in gaps(spans, first, last) for seq in range(start, end + 1)]
    assert lacking == [seq for seq in range(first, last + 1) if seq not in here]
    assert list(touching(spans, first, last)) == [
        span for span in spans if set(range(span.first - 1, span.last + 1)) & set(range(first - 1, last + 1))
    ]

"""Histograms against sorted lists: percentiles, merging, intervals, and the same buckets in C and in Python."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.swarm import Histogram
from loadtest.swarm.engine import bucket
from loadtest.swarm.histogram import BUCKETS, bucket_of, highest_of

MICROSECONDS = st.integers(0, 2**30 - 1) | st.integers(0, 2000)
PRECISION = 1 + 1 / 128


def histogram_of(microseconds: list[int]) -> Histogram:
    made = Histogram()
    for each in microseconds:
        made = made + Histogram({bucket_of(each): 1})
    return made


@given(st.integers(0, 2**63 - 1) | MICROSECONDS)
def test_c_and_python_have_the_same_buckets(microseconds: int) -> None:
    assert bucket(microseconds) == bucket_of(microseconds)


def test_every_bucket_begins_behind_the_one_before() -> None:
    for number in range(BUCKETS - 1):
        assert bucket_of(highest_of(number)) == number
        assert bucket_of(highest_of(number) + 1) == number + 1
    assert bucket_of(2**40) == BUCKETS - 1


@given(st.lists(MICROSECONDS, min_size=1, max_size=60), st.floats(0, 100))
def test_percentiles_are_those_of_the_sorted_list(microseconds: list[int], percent: float) -> None:
    exact = sorted(microseconds)[max(1, -int(-len(microseconds) * percent // 100)) - 1]
    found = histogram_of(microseconds).percentile(percent) * 1e6
    assert exact <= round(found) <= exact * PRECISION + 1
    assert max(microseconds) <= round(histogram_of(microseconds).maximum * 1e6) <= max(microseconds) * PRECISION + 1


@given(st.lists(st.lists(MICROSECONDS, max_size=20), max_size=5))
def test_merged_is_as_if_counted_in_one(parts: list[list[int]]) -> None:
    whole = histogram_of([each for part in parts for each in part])
    assert Histogram.merged(map(histogram_of, parts)) == whole
    assert whole.count == sum(map(len, parts))
    assert Histogram.from_json(json.loads(json.dumps(whole.as_json()))) == whole


@given(st.lists(MICROSECONDS, max_size=20), st.lists(MICROSECONDS, max_size=20))
def test_an_interval_is_what_came_since(before: list[int], since: list[int]) -> None:
    earlier = histogram_of(before)
    assert (earlier + histogram_of(since)) - earlier == histogram_of(since)


def test_nothing_counted() -> None:
    nothing = Histogram()
    assert (nothing.count, nothing.maximum, nothing.mean, nothing.percentile(99)) == (0, 0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="0 to 100"):
        nothing.percentile(101)


def test_seconds() -> None:
    made = Histogram.of([0.001, 0.002, 0.003])
    assert made.mean == pytest.approx(0.002, rel=0.01)
    assert made.percentile(50) == pytest.approx(0.002, rel=0.01)

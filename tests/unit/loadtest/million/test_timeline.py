"""Points over time stay few, and lose nothing that is counted."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from loadtest.million.timeline import MOST_POINTS, Point, Timeline, thinned
from loadtest.swarm import Histogram


def points(seconds: list[int], phases: list[str]) -> list[Point]:
    made, at = [], 0
    for number, length in enumerate(seconds):
        at += length
        made.append(
            Point(
                at=float(at),
                seconds=float(length),
                phase=phases[number * len(phases) // len(seconds)],
                open=number,
                counts={"logins": number},
                cpu={"workers": 0.5},
                memory={"workers": number},
                durations={"chat": Histogram.of([0.001 * number])},
            )
        )
    return made


@given(st.lists(st.integers(1, 3), min_size=1, max_size=400), st.integers(5, 60))
def test_thinning_keeps_the_sums(seconds: list[int], most: int) -> None:
    phases = ["ramp", "hold", "leave"]
    before = points(seconds, phases)
    after = thinned(before, most)
    assert len(after) <= most
    assert [point.at for point in after] == sorted(point.at for point in after)
    assert after[-1].at == before[-1].at
    assert after[-1].memory == before[-1].memory
    for phase in phases:
        old, new = ([point for point in each if point.phase == phase] for each in (before, after))
        assert sum(point.counts["logins"] for point in old) == sum(point.counts["logins"] for point in new)
        assert sum(point.seconds for point in old) == sum(point.seconds for point in new)
        assert sum(point.durations["chat"].count for point in old) == sum(
            point.durations["chat"].count for point in new
        )


def test_thinned_intervals_are_of_one_length() -> None:
    after = thinned(points([1] * 1_000, ["hold"]), 300)
    lengths = {point.seconds for point in after[:-1]}
    assert lengths == {4.0}


def test_a_long_run_has_a_bounded_number_of_points() -> None:
    timeline = Timeline()
    for point in points([1] * (3 * MOST_POINTS), ["soak"]):
        timeline.add(point)
    assert len(timeline.points) <= MOST_POINTS
    assert sum(point.seconds for point in timeline.points) == 3 * MOST_POINTS
    assert all(one.at < other.at for one, other in pairwise(timeline.points))


def test_a_point_for_the_report() -> None:
    (point,) = points([2], ["hold"])
    shown = point.as_json()
    assert shown["logins"] == 0.0
    assert shown["cpu"] == {"workers": 0.25}
    assert shown["at"] == 2.0

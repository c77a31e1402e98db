"""Axes: round ticks that hold all values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.million.scale import clock, decades, linear, short, time_scale


@pytest.mark.parametrize(
    ("most", "ticks"),
    [
        (1_000_000, (0, 200_000, 400_000, 600_000, 800_000, 1_000_000)),
        (9.3, (0, 2, 4, 6, 8, 10)),
        (2, (0, 0.5, 1, 1.5, 2)),
        (0.3, (0, 0.1, 0.2, 0.3)),
    ],
)
def test_round_ticks(most: float, ticks: tuple[float, ...]) -> None:
    assert linear(most).ticks == ticks


@given(st.floats(0, 1e12))
def test_all_values_have_a_place(most: float) -> None:
    scale = linear(most)
    assert scale.high >= most * (1 - 1e-8)
    assert 2 <= len(scale.ticks) <= 7
    assert scale.place(0.0) == 0.0
    assert 0.0 <= scale.place(most) <= 1.0
    assert scale.place(scale.high) == 1.0


@given(st.floats(1e-6, 1e6), st.floats(1.0, 1e4))
def test_decades_hold_all_values(least: float, factor: float) -> None:
    scale = decades(least, least * factor)
    assert scale.low <= least * 1.000001
    assert scale.high >= least * factor * 0.999999
    assert [scale.place(tick) for tick in (scale.ticks[0], scale.ticks[-1])] == [0.0, 1.0]
    assert scale.place(0.0) == 0.0  # below all: at the end


def test_logarithmic_places() -> None:
    assert decades(1, 1000).place(10) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.5, "0.5"), (250, "250"), (1_500, "1.5k"), (20_000, "20k"), (1e6, "1M"), (2e9, "2G")],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0"), (15, "15 s"), (60, "1 min"), (90, "90 s"), (600, "10 min"), (9_000, "2:30 h")]
)
def test_times(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@given(st.floats(1, 60_000))
def test_few_ticks_of_time(end: float) -> None:
    scale = time_scale(end)
    assert 1 <= len(scale.ticks) <= 7
    assert scale.ticks[-1] <= scale.high

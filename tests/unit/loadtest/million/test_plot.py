"""Plots: every value at its place, gaps where nothing was measured, areas upon each other."""

import re
from itertools import pairwise
from xml.etree import ElementTree

from loadtest.million.plot import NARROW, WIDE, Band, Curve, Frame, Plot, draw
from loadtest.million.scale import Scale, linear, time_scale

SVG = "{http://www.w3.org/2000/svg}"
# 100 by 100 between the margins
SQUARE = Frame(150, 140, left=40, right=10, top=20, bottom=20)
NUMBER = re.compile(r"-?\d+\.?\d*")


def parsed(plot: Plot, frame: Frame = SQUARE) -> ElementTree.Element:
    return ElementTree.fromstring(draw(plot, frame))


def places(path: ElementTree.Element) -> list[tuple[float, float]]:
    """The points of a path, from the lower left corner of the axes, 0 to 100."""
    numbers = [float(number) for number in NUMBER.findall(path.get("d") or "")]
    return [
        (x - SQUARE.left, SQUARE.height - SQUARE.bottom - y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)
    ]


def paths(plot: Plot, kind: str) -> list[list[tuple[float, float]]]:
    return [places(path) for path in parsed(plot).iter(f"{SVG}path") if path.get("class") == kind]


def plot(*curves: Curve, stacked: bool = False, **more: object) -> Plot:
    given = {"x": Scale(0, 10, (0, 10)), "y": Scale(0, 20, (0, 20)), "stacked": stacked, **more}
    return Plot("Title", "unit", curves, **given)  # type: ignore[arg-type]


def test_values_lie_where_they_belong() -> None:
    assert paths(plot(Curve("a", "--c1", [(0, 0), (5, 10), (10, 20)])), "curve") == [[(0, 0), (50, 50), (100, 100)]]


def test_a_gap_parts_a_curve() -> None:
    curve = Curve("a", "--c1", [(0, 0), (2, 10), (5, None), (8, 10), (10, 20)])
    assert paths(plot(curve), "curve") == [[(0, 0), (20, 50)], [(80, 50), (100, 100)]]


def test_stacked_areas_lie_upon_each_other() -> None:
    low, high = Curve("a", "--c1", [(0, 4), (10, 4)]), Curve("b", "--c2", [(0, 6), (10, 16)])
    assert paths(plot(low, high, stacked=True), "area") == [
        [(0, 20), (100, 20), (100, 0), (0, 0)],
        [(0, 50), (100, 100), (100, 20), (0, 20)],
    ]


def test_values_beyond_the_axis_stay_in_the_drawing() -> None:
    assert paths(plot(Curve("a", "--c1", [(0, -5), (10, 50)])), "curve") == [[(0, 0), (100, 100)]]


def test_the_limit_is_drawn_only_within_the_axis() -> None:
    curve = Curve("a", "--c1", [(0, 0), (10, 20)])

    def limits(value: float) -> int:
        shown = parsed(plot(curve, limit=(value, "limit")))
        return sum(line.get("class") == "limit" for line in shown.iter(f"{SVG}line"))

    assert (limits(10), limits(30)) == (1, 0)


def test_labels_and_names_are_escaped_and_do_not_overlap() -> None:
    curve = Curve("a", "--c1", [(float(at), at) for at in range(0, 1000, 10)])
    made = Plot(
        "a < b",
        "&",
        [curve],
        x=time_scale(1000, 40),
        y=linear(1000),
        bands=[Band("r<p", 0, 500), Band("hold", 500, 505)],
    )
    for frame in (WIDE, NARROW):
        texts = list(parsed(made, frame).iter(f"{SVG}text"))
        assert "r<p" in [text.text for text in texts]
        assert "hold" not in [text.text for text in texts]  # there is no room for it
        below = [float(text.get("x") or 0) for text in texts if float(text.get("y") or 0) == frame.height - 8]
        assert len(below) >= 3
        assert all(right - left > 15 for left, right in pairwise(below)), below

"""Plots: what is drawn is as long as it should be, stays on its ground, and says what the table says."""

import re
from collections.abc import Iterator
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from tests.bench.report import bars, plots
from tests.bench.report.bars import WIDTH, Bar, Chart, Group, Mark
from tests.bench.report.figure import OURS, Figure, Target
from tests.bench.report.table import Table
from tests.bench.test_figures import TAKEN, measured

SVG = "{http://www.w3.org/2000/svg}"


def drawn(svg: str) -> ElementTree.Element:
    """The picture; it is XML, whatever its texts are."""
    return ElementTree.fromstring(svg)


def classes(picture: ElementTree.Element, name: str, kind: str) -> list[ElementTree.Element]:
    """Elements of a style."""
    return [each for each in picture.iter(f"{SVG}{name}") if kind in each.get("class", "").split()]


def texts(picture: ElementTree.Element) -> list[str]:
    """What is written, each text with all its parts."""
    return ["".join(each.itertext()) for each in picture.iter(f"{SVG}text")]


def chart(*groups: Group, unit: str | None = None) -> Chart:
    return Chart("title", "subtitle", groups, unit)


def bar(value: float, label: str = "one") -> Bar:
    return Bar(label, [(value, "ours")], f"{value:g}")


def widths(picture: ElementTree.Element, style: str = "ours") -> list[float]:
    return [float(each.get("width", "")) for each in classes(picture, "rect", style)]


def test_bars_are_as_long_as_their_values() -> None:
    first, second = widths(drawn(bars.draw(chart(Group("group", [bar(10), bar(5)])))))
    assert first == pytest.approx(2 * second, abs=0.2)
    assert first > WIDTH / 2


def test_groups_have_their_own_scales_unless_there_is_an_axis() -> None:
    groups = Group("large", [bar(100)]), Group("small", [bar(1)])
    large, small = widths(drawn(bars.draw(chart(*groups))))
    assert large == small
    large, small = widths(drawn(bars.draw(chart(*groups, unit="MB"))))
    assert large == pytest.approx(100 * small, abs=6)
    assert "MB" in texts(drawn(bars.draw(chart(*groups, unit="MB"))))


def test_a_stack_is_as_long_as_its_parts_together() -> None:
    picture = drawn(bars.draw(chart(Group("g", [Bar("a", [(3, "ours"), (1, "peer")], "4"), bar(4)]))))
    stacked, whole = widths(picture)
    (peer,) = classes(picture, "rect", "peer")
    assert stacked + float(peer.get("width", "")) == pytest.approx(whole, abs=0.2)
    assert float(peer.get("x", "")) == pytest.approx(float(classes(picture, "rect", "ours")[0].get("x", "")) + stacked)


@pytest.mark.parametrize("met", [True, False])
def test_the_target_is_where_it_belongs(met: bool) -> None:
    picture = drawn(bars.draw(chart(Group("group", [bar(10)], marks=[Mark(5, met)]))))
    (mark,) = classes(picture, "line", "mark")
    (rect,) = classes(picture, "rect", "ours")
    middle = float(rect.get("x", "")) + float(rect.get("width", "")) / 2
    assert float(mark.get("x1", "")) == pytest.approx(middle, abs=0.2)
    assert ("met" if met else "missed") in mark.get("class", "").split()


def test_a_target_makes_room_or_is_an_arrow() -> None:
    """Up to a point the scale goes on to the target; a bar that has become invisible would say nothing."""
    near = drawn(bars.draw(chart(Group("group", [bar(10)], marks=[Mark(20, True)]))))
    far = drawn(bars.draw(chart(Group("group", [bar(10)], marks=[Mark(1_000, True)]))))
    assert widths(near)[0] == pytest.approx(widths(far)[0] / 2, abs=0.2)
    assert classes(near, "line", "mark")
    assert not classes(near, "path", "met")
    assert classes(far, "path", "met")
    assert not classes(far, "line", "mark")


def test_any_text_can_be_drawn() -> None:
    strange = "<&>\"' ]]> " + "x" * 300
    picture = drawn(bars.draw(chart(Group(strange, [bar(1, strange)], [("<&", "met")]))))
    assert any(text.startswith("<&>") and text.endswith("…") for text in texts(picture))


def test_nothing_measured_is_drawn_as_nothing() -> None:
    assert widths(drawn(bars.draw(chart(Group("group", [bar(0)], marks=[Mark(0, True)]))))) == [0.0]


def _table(**other: object) -> Table:
    cpu = measured(Target("ratio", 1.2), haproxy=(2.0, 2.0, 10.0), nginx=(9.0, 9.0, 9.0))
    memory = Figure("memory", "KiB", Target("value", 3.0), peers=("haproxy",))
    for party, value in ((OURS, 3.5), ("haproxy", 1.0)):
        memory.add(party, value)
    detail = Figure("detail", "1/s", detail=True)
    detail.add(OURS, 1.0)
    table = Table("relay", "Relays & more", [OURS, "haproxy", "nginx"], [cpu, memory, detail])
    return replace(table, circumstances=TAKEN, **other)


def _stacks() -> Table:
    figures = []
    for place in ("ejabberd", "prosody"):
        for part, value in (("whole", 30.0), ("server", 20.0), ("edge", 10.0)):
            targets = [Target("ratio", 0.7)] if part == "whole" else []
            figure = Figure(f"{place}: {part}", "MB", *targets, ours="link", peers=("alone",))
            figure.add("link", value)
            if part != "edge":
                figure.add("alone", 50.0)
            figures.append(figure)
    return Table("memory", "Memory", ["link", "alone"], figures, "stacks", ("whole", "server", "edge"), TAKEN)


def test_groups_show_every_party_ratio_and_verdict() -> None:
    written = texts(drawn(plots.draw(_table())))
    for text in ("CPU", "memory", "Megaphone", "HAProxy", "nginx", "4.00 µs", "ratio 0.90", "3.50 KiB", "ratio 3.50"):
        assert text in written
    assert any(text.endswith("HAProxy: met") for text in written)
    assert "at most 3 KiB: missed" in written
    assert "detail" not in written
    assert any("make bench WHAT=relay" in text and "median of 3 rounds" in text for text in written)


def test_the_target_of_a_ratio_stands_at_the_peers_median_times_it() -> None:
    picture = drawn(plots.draw(_table(figures=_table().figures[:1])))
    (mark,) = classes(picture, "line", "mark")
    haproxy = classes(picture, "rect", "peer")[0]
    end = float(haproxy.get("x", "")) + 1.2 * float(haproxy.get("width", ""))
    assert float(mark.get("x1", "")) == pytest.approx(end, abs=0.3)


def test_rows_are_the_figures_of_ours() -> None:
    picture = drawn(plots.draw(_table(layout="rows")))
    assert len(widths(picture)) == 1  # the others have another unit
    assert "CPU" in texts(picture)


def test_stacks_are_made_of_parts() -> None:
    picture = drawn(plots.draw(_stacks()))
    written = texts(picture)
    assert [text for text in written if text in ("ejabberd", "Prosody")] == ["ejabberd", "Prosody"]
    assert written.count("ratio 0.60") == 2
    assert len(widths(picture, "peer")) == 4 + 1  # server parts, and the legend
    assert len(widths(picture, "ours")) == 4 + 1


def _places(picture: ElementTree.Element) -> Iterator[tuple[str, float, float]]:
    """Each text with where it begins and ends, as far as one can say."""
    for each in picture.iter(f"{SVG}text"):
        text = "".join(each.itertext())
        width = len(text) * float(each.get("font-size", bars.FONT)) * bars.LETTER
        x = float(each.get("x", ""))
        begin = {"start": x, "middle": x - width / 2, "end": x - width}[each.get("text-anchor", "start")]
        yield text, begin, begin + width


@pytest.mark.parametrize("table", [_table(), _table(layout="rows"), _stacks()], ids=lambda table: table.layout)
def test_everything_is_on_the_ground(table: Table) -> None:
    picture = drawn(plots.draw(table))
    assert picture.get("viewBox") == f"0 0 {WIDTH} {picture.get('height')}"
    height = float(picture.get("height", ""))
    for text, begin, end in _places(picture):
        assert begin >= 0, text
        assert end <= WIDTH, text
    for each in picture.iter(f"{SVG}rect"):
        x, y, width, tall = (float(each.get(name, "")) for name in ("x", "y", "width", "height"))
        assert x >= 0
        assert x + width <= WIDTH
        assert y + tall <= height
    ys = [float(each.get("y", "")) for each in picture.iter(f"{SVG}text")]
    assert 0 < min(ys) <= max(ys) < height


def test_both_colour_schemes_have_every_colour() -> None:
    """A style that only one scheme knew could not be read in the other."""
    light, dark = bars.STYLE.split("@media")
    fills = re.compile(r"\.(\w+)\{fill:")
    assert set(fills.findall(light)) == set(fills.findall(dark))

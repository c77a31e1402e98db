"""Plots as SVG text: lines and stacked areas. Colours are CSS variables, so that pages can be light or dark."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

from loadtest.million.scale import Scale, short

Series = Sequence[tuple[float, float | None]]  # a gap where the value is None


@dataclass(frozen=True, slots=True)
class Curve:
    """One line or area; `colour` is one of the page's variables, such as "--c1"."""

    name: str
    colour: str
    values: Series
    marks: bool = False  # a dot at each point


@dataclass(frozen=True, slots=True)
class Band:
    """A part of the x axis that has a name."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Plot:
    """What to draw. `limit` is a dashed line with a label, drawn if it lies within the scale."""

    title: str
    unit: str
    curves: Sequence[Curve]
    x: Scale
    y: Scale
    stacked: bool = False
    filled: bool = False
    limit: tuple[float, str] | None = None
    bands: Sequence[Band] = field(default=())
    x_text: Callable[[float], str] = short
    y_text: Callable[[float], str] = short


@dataclass(frozen=True, slots=True)
class Frame:
    """The size of a drawing and of the margins around its axes."""

    width: int
    height: int
    left: int = 52
    right: int = 14
    top: int = 22
    bottom: int = 26


WIDE: Final = Frame(760, 260)
NARROW: Final = Frame(380, 240, left=46, right=10)
LETTER: Final = 6.6  # the width of one, about


def draw(plot: Plot, frame: Frame = WIDE, *, css_class: str = "") -> str:
    """The SVG element."""
    parts = [*_bands(plot, frame), *_grid(plot, frame), *_curves(plot, frame), *_limit(plot, frame)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{css_class}" viewBox="0 0 {frame.width} {frame.height}" '
        f'role="img" aria-label="{escape(plot.title)}">' + "".join(parts) + "</svg>"
    )


def _x(plot: Plot, frame: Frame, value: float) -> float:
    return frame.left + plot.x.place(value) * (frame.width - frame.left - frame.right)


def _y(plot: Plot, frame: Frame, value: float) -> float:
    return frame.height - frame.bottom - plot.y.place(value) * (frame.height - frame.top - frame.bottom)


def _bands(plot: Plot, frame: Frame) -> list[str]:
    parts = []
    for number, band in enumerate(plot.bands):
        left, right = _x(plot, frame, band.low), _x(plot, frame, band.high)
        if number % 2:
            parts.append(
                f'<rect class="band" x="{left:.1f}" y="{frame.top}" width="{right - left:.1f}" '
                f'height="{frame.height - frame.top - frame.bottom}"/>'
            )
        if len(band.name) * LETTER <= right - left:
            parts.append(_text((left + right) / 2, frame.top - 7, band.name, "middle", "phase"))
    return parts


def _grid(plot: Plot, frame: Frame) -> list[str]:
    parts = []
    end = frame.width - frame.right
    for tick in plot.y.ticks:
        y = _y(plot, frame, tick)
        kind = "axis" if tick == plot.y.low else "grid"
        parts.append(f'<line class="{kind}" x1="{frame.left}" x2="{end}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(frame.left - 7, y + 4, plot.y_text(tick), "end"))
    free_from = 0.0
    for tick in plot.x.ticks:
        x, label = _x(plot, frame, tick), plot.x_text(tick)
        half = len(label) * LETTER / 2
        if x - half < free_from:
            continue
        free_from = x + half + LETTER
        anchor = "end" if x + half > frame.width else "middle"
        parts.append(_text(x, frame.height - 8, label, anchor))
    return parts


def _curves(plot: Plot, frame: Frame) -> list[str]:
    parts = []
    floor = [plot.y.low] * max((len(curve.values) for curve in plot.curves), default=0)
    for curve in plot.curves:
        below = list(floor)
        if plot.stacked:
            floor = [low + (value or 0.0) for low, (_, value) in zip(floor, curve.values, strict=True)]
            values: Series = [(x, top) for (x, _), top in zip(curve.values, floor, strict=True)]
        else:
            values = curve.values
        for piece in _pieces(values):
            points = [(_x(plot, frame, x), _y(plot, frame, value)) for _, x, value in piece]
            if plot.stacked or plot.filled:
                base = [(_x(plot, frame, x), _y(plot, frame, below[index])) for index, x, _ in reversed(piece)]
                kind = "area" if plot.stacked else "wash"
                parts.append(f'<path class="{kind}" fill="var({curve.colour})" d="{_path(points + base)}Z"/>')
            parts.append(f'<path class="curve" stroke="var({curve.colour})" d="{_path(points)}"/>')
            if curve.marks or len(points) == 1:
                parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="var({curve.colour})"/>' for x, y in points]
    return parts


def _limit(plot: Plot, frame: Frame) -> list[str]:
    if plot.limit is None or not plot.y.low <= plot.limit[0] <= plot.y.high:
        return []
    value, label = plot.limit
    y = _y(plot, frame, value)
    end = frame.width - frame.right
    return [
        f'<line class="limit" x1="{frame.left}" x2="{end}" y1="{y:.1f}" y2="{y:.1f}"/>',
        _text(end - 4, y - 5 if y > frame.top + 14 else y + 14, label, "end", "limit-label"),
    ]


def _pieces(values: Series) -> list[list[tuple[int, float, float]]]:
    pieces: list[list[tuple[int, float, float]]] = [[]]
    for index, (x, value) in enumerate(values):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((index, x, value))
    return [piece for piece in pieces if piece]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def _text(x: float, y: float, text: str, anchor: str, css_class: str = "") -> str:
    marked = f' class="{css_class}"' if css_class else ""
    return f'<text{marked} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'

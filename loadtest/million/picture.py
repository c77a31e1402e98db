"""A plot as an SVG file of its own, with title, legend and colours in it: for pages that show pictures but no HTML."""

import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

from loadtest.million.charts import charts
from loadtest.million.page import CSS
from loadtest.million.plot import LETTER, WIDE, Plot, draw

HEAD: Final = 58  # above the plot: title and legend
LEFT: Final = 16
SQUARE: Final = 11


def write(report: Mapping[str, Any], directory: Path) -> list[Path]:
    """Write each plot of a run; the paths of the files, such as delivery-of-a-message.svg."""
    found = []
    for plot in charts(report):
        path = directory / f"{re.sub('[^a-z]+', '-', plot.title.lower())}.svg"
        path.write_text(picture(plot))
        found.append(path)
    return found


def picture(plot: Plot) -> str:
    """The SVG text."""
    legend, x = [], float(LEFT)
    for curve in reversed(plot.curves) if plot.stacked else plot.curves:
        if len(plot.curves) == 1:
            break
        legend.append(f'<rect x="{x:.1f}" y="34" width="{SQUARE}" height="{SQUARE}" fill="var({curve.colour})"/>')
        legend.append(f'<text x="{x + SQUARE + 6:.1f}" y="44">{escape(curve.name)}</text>')
        x += SQUARE + 22 + len(curve.name) * LETTER * 0.95
    height = WIDE.height + HEAD
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE.width} {height}">'
        f"<style>{_style()}</style>"
        f'<rect width="{WIDE.width}" height="{height}" fill="var(--card)"/>'
        f'<text class="title" x="{LEFT}" y="22">{escape(plot.title)}'
        f'<tspan class="unit" dx="6">{escape(plot.unit)}</tspan></text>'
        + "".join(legend)
        + f'<svg y="{HEAD}" width="{WIDE.width}" height="{WIDE.height}">{draw(plot)}</svg></svg>\n'
    )


def _style() -> str:
    """The page's colours and its rules for drawings."""
    colours = CSS[: CSS.index("* {")]
    rules = [line for line in CSS.splitlines() if line.startswith("svg") and "narrow" not in line]
    return (
        colours
        + "\n".join(rules)
        + "\nsvg .title { fill: var(--ink); font-size: 14.5px; font-weight: 600; }"
        + " svg .unit { fill: var(--soft); font-weight: 400; }"
    )

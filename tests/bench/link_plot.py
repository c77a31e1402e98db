"""Draws what `make bench WHAT=link` measured of memory as an SVG file for the documentation: no library is needed."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

from tests.bench.hosts import LINK
from tests.bench.link_memory import MB, HostMemory

PLOT = Path(__file__).parents[2] / "docs" / "explanation" / "memory.svg"
WIDTH, LEFT, RIGHT, TOP, BAR, GAP, GROUP_GAP, BOTTOM = 760, 210, 70, 64, 30, 8, 26, 46
# Readable on white and on dark grey; the order is that of the bars.
PARTS = (("server", "#c2703d"), ("edge", "#3d7ec2"), ("kernel", "#8a8a8a"))
STEPS_MB = (10, 20, 50, 100, 200, 500, 1_000, 2_000)
MOST_LINES = 8


def draw(measured: Mapping[str, Mapping[str, HostMemory]], clients: int) -> str:
    """The SVG text: a bar for each kind of server and way, in MB (10^6 bytes)."""
    most = max(memory.total for ways in measured.values() for memory in ways.values()) / MB
    step = next((step for step in STEPS_MB if most / step <= MOST_LINES), STEPS_MB[-1])
    scale = (WIDTH - LEFT - RIGHT) / most
    body, y = [], TOP
    for kind, ways in measured.items():
        for way, memory in ways.items():
            label = f"{kind}, {'edge and 2 links' if way == LINK else 'TLS in the server'}"
            body.append(_text(LEFT - 8, y + BAR * 0.65, label, anchor="end"))
            x = float(LEFT)
            for part, colour in PARTS:
                width = getattr(memory, part) / MB * scale
                body.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>')
                x += width
            body.append(_text(x + 6, y + BAR * 0.65, f"{memory.total / MB:.0f}"))
            y += BAR + GAP
        y += GROUP_GAP - GAP
    bottom = y - GROUP_GAP + GAP
    grid = []
    for value in range(0, int(most) + 1, step):
        x = LEFT + value * scale
        grid.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="#8884"/>')
        grid.append(_text(x, bottom + 16, str(value), anchor="middle"))
    legend, x = [], float(LEFT)
    for part, colour in PARTS:
        legend.append(f'<rect x="{x}" y="32" width="12" height="12" fill="{colour}"/>')
        legend.append(_text(x + 18, 42, part))
        x += 90
    title = f"Memory of the host in MB, {clients:,} idle TLS clients"
    parts = [_text(LEFT, 20, title, weight="bold"), *legend, *grid, *body]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + BOTTOM - 16}" '
        f'font-family="sans-serif" font-size="12" fill="#777">\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'

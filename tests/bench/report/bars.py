"""Draws bar charts as SVG: bars side by side or stacked, in groups, with a target marked. No library is needed.

The picture brings its own ground and follows the reader's colour scheme, so it can be read on a light and a dark page.
SVG cannot ask how wide a text will be, so widths are estimated: the places of texts leave room for a wider font.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from textwrap import wrap
from typing import Literal

Style = Literal["ours", "peer", "other", "plain", "muted", "met", "missed"]

WIDTH, EDGE = 860, 24
BAR, GAP, GROUP_GAP, HEAD = 16, 6, 24, 24
FONT, SMALL, LARGE = 12.5, 11.5, 17.0
LETTER = 0.59  # of the font size: what a letter takes on average, in a wide sans-serif font
MOST_LABEL, LEAST_LABEL = 360.0, 82.0
FAR = 2.5  # a target farther than so many times the longest bar stands beyond the scale
MOST_LINES = 7
COLUMN_GAP = 18.0
MIDDLE = BAR * 0.76  # of a bar to the foot of its text
STYLE = """
.card{fill:#fff;stroke:#d1d9e0}.plain{fill:#1f2328}.muted{fill:#59636e}.ours{fill:#2a78d0}.peer{fill:#d9822b}
.other{fill:#a7b0ba}.met{fill:#1a7f37}.missed{fill:#cf222e}.line{stroke:#8c959f;stroke-opacity:.35}
.spread{stroke:#1f2328;stroke-opacity:.6}.mark{stroke-width:2;stroke-dasharray:4 2}.mark.met{stroke:#1a7f37}
.mark.missed{stroke:#cf222e}.halo{stroke:#fff;stroke-width:5;stroke-opacity:.75}.bold{font-weight:600}
@media (prefers-color-scheme:dark){.card{fill:#0d1117;stroke:#3d444d}.plain{fill:#f0f6fc}.muted{fill:#9198a1}
.ours{fill:#4493f8}.peer{fill:#db8b3f}.other{fill:#656c76}.met{fill:#3fb950}.missed{fill:#f85149}
.halo{stroke:#0d1117}.spread{stroke:#f0f6fc}.mark.met{stroke:#3fb950}.mark.missed{stroke:#f85149}}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """Values (none below 0) and their styles from left to right; `least` and `most` are a thin line over the bar."""

    label: str
    parts: Sequence[tuple[float, Style]]
    text: str  # at the right, in a column; the note in another one
    note: str = ""
    least: float = 0.0
    most: float = 0.0

    @property
    def length(self) -> float:
        """The sum of its parts."""
        return sum(value for value, _ in self.parts)


@dataclass(frozen=True, slots=True)
class Mark:
    """A target: a dashed line at this value."""

    value: float
    met: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Bars below a heading; `note` are words with their styles, at the right end of it."""

    heading: str
    bars: Sequence[Bar]
    note: Sequence[tuple[str, Style]] = ()
    marks: Sequence[Mark] = ()

    @property
    def reach(self) -> float:
        """How far its scale has to go."""
        longest = max((bar.length for bar in self.bars), default=0.0)
        reach = max([longest, *(mark.value for mark in self.marks if mark.value <= FAR * longest)])
        return reach or max((mark.value for mark in self.marks), default=0.0) or 1.0


@dataclass(frozen=True, slots=True)
class Chart:
    """Each group has its own scale from 0, or all have one with an axis: `unit` says of what."""

    title: str
    subtitle: str
    groups: Sequence[Group]
    unit: str | None = None
    legend: Mapping[Style, str] = field(default_factory=dict)
    footnote: str = ""


def draw(chart: Chart) -> str:
    """The SVG text."""
    labels = [_width(bar.label) for group in chart.groups for bar in group.bars]
    texts = max(_width(bar.text) for group in chart.groups for bar in group.bars)
    notes = max(_width(bar.note) for group in chart.groups for bar in group.bars)
    columns = WIDTH - EDGE - notes - (COLUMN_GAP if notes else 0), WIDTH - EDGE
    left = EDGE + min(MOST_LABEL, max(LEAST_LABEL, *labels, 0)) + 8
    room = columns[0] - texts - COLUMN_GAP - left
    title, subtitle = _cut(chart.title, WIDTH - 2 * EDGE, LARGE / FONT), _cut(chart.subtitle, WIDTH - 2 * EDGE)
    body = [_text(EDGE, 34, [(title, "plain")], size=LARGE, bold=True), _text(EDGE, 54, [(subtitle, "muted")])]
    y = 76.0
    if chart.legend:
        body.append(_legend(chart.legend, left, y))
        y += 26
    reach = max(group.reach for group in chart.groups)
    bars: list[str] = []
    spans: list[tuple[float, float]] = []
    for group in chart.groups:
        if group.heading:
            bars += _heading(group, y)
            y += HEAD if _fits(group) else HEAD + 18
        scale = room / (group.reach if chart.unit is None else reach)
        bars += _bars(group, left, y, scale, room, columns)
        spans.append((y - 4, y + len(group.bars) * (BAR + GAP) - GAP + 4))
        y = spans[-1][1] - 4 + GROUP_GAP
    y -= GROUP_GAP
    if chart.unit is not None:
        body += _axis(reach, left, room, spans, chart.unit)
        y += 26
    if chart.footnote:
        y += 14
        for line in wrap(chart.footnote, int((WIDTH - 2 * EDGE) / (SMALL * LETTER))):
            y += 16
            body.append(_text(EDGE, y, [(line, "muted")], size=SMALL))
    height = y + 20
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
            f'height="{height:.0f}" role="img" font-family="system-ui, \'Segoe UI\', Roboto, \'DejaVu Sans\', '
            f'sans-serif" font-size="{FONT}">',
            f"<title>{escape(chart.title)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="8"/>',
            *body,
            *bars,
            "</svg>\n",
        ]
    )


def _bars(group: Group, left: float, top: float, scale: float, room: float, columns: tuple[float, float]) -> list[str]:
    drawn, y = [], top
    for bar in group.bars:
        drawn.append(_text(left - 8, y + MIDDLE, [(_cut(bar.label, MOST_LABEL), "plain")], anchor="end"))
        x = left
        for value, style in bar.parts:
            width = value * scale
            drawn.append(f'<rect class="{style}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR}"/>')
            x += width
        if bar.most > bar.least:
            first, last = left + min(bar.least * scale, room), left + min(bar.most * scale, room)
            drawn.append(_line("spread", first, y + BAR / 2, last, y + BAR / 2))
        drawn.append(_text(columns[0], y + MIDDLE, [(bar.text, "plain")], anchor="end"))
        if bar.note:
            drawn.append(_text(columns[1], y + MIDDLE, [(bar.note, "muted")], anchor="end"))
        y += BAR + GAP
    bottom = y - GAP + 4
    for mark in group.marks:
        style = "met" if mark.met else "missed"
        if mark.value * scale <= room * 1.001:
            x = left + mark.value * scale
            drawn += [_line(name, x, top - 4, x, bottom) for name in ("halo", f"mark {style}")]
        else:  # an arrow: it is farther to the right
            x, y = left + room + 7, (top + bottom) / 2
            drawn.append(
                f'<path class="{style}" d="M{x - 7:.1f} {y - 5:.1f}L{x:.1f} {y:.1f}L{x - 7:.1f} {y + 5:.1f}Z"/>'
            )
    return drawn


def _heading(group: Group, y: float) -> list[str]:
    lower = y + 11 if _fits(group) else y + 29
    heading = _text(EDGE, y + 11, [(_cut(group.heading, WIDTH - 2 * EDGE, 1.06), "plain")], bold=True)
    return [heading, *([_text(WIDTH - EDGE, lower, group.note, anchor="end")] if group.note else [])]


def _fits(group: Group) -> bool:
    note = sum(_width(word) for word, _ in group.note)
    return not note or _width(group.heading) * 1.06 + 24 + note <= WIDTH - 2 * EDGE


def _axis(reach: float, left: float, room: float, spans: Sequence[tuple[float, float]], unit: str) -> list[str]:
    """Lines behind the bars of each group, numbers below the last, the unit before them."""
    step, drawn, value, foot = _step(reach), [], 0.0, spans[-1][1] + 15
    while value <= reach * 1.0001:
        x = left + value / reach * room
        drawn += [_line("line", x, top, x, bottom) for top, bottom in spans]
        drawn.append(_text(x, foot, [(f"{value:,.10g}", "muted")], anchor="middle", size=SMALL))
        value += step
    drawn.append(_text(left - 16, foot, [(unit, "muted")], anchor="end", size=SMALL))
    return drawn


def _step(reach: float) -> float:
    """1, 2 or 5 times a power of ten, so that there are few lines."""
    power = 10.0 ** (len(f"{reach:.0f}") - 2 if reach >= 1 else -2)
    while True:
        for factor in (1, 2, 5):
            if reach / (factor * power) <= MOST_LINES:
                return factor * power
        power *= 10


def _legend(legend: Mapping[Style, str], x: float, y: float) -> str:
    drawn = []
    for style, words in legend.items():
        drawn.append(f'<rect class="{style}" x="{x:.1f}" y="{y - 11:.1f}" width="12" height="12"/>')
        drawn.append(_text(x + 18, y, [(words, "plain")]))
        x += 18 + _width(words) + 20
    return "\n".join(drawn)


def _line(style: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(
    x: float,
    y: float,
    words: Sequence[tuple[str, Style]],
    *,
    anchor: str = "start",
    size: float = FONT,
    bold: bool = False,
) -> str:
    spans = "".join(f'<tspan class="{style}">{escape(word, quote=False)}</tspan>' for word, style in words)
    extra = ' class="bold"' if bold else ""
    sized = f' font-size="{size:g}"' if size != FONT else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" xml:space="preserve"{sized}{extra}>{spans}</text>'


def _width(text: str) -> float:
    return len(text) * FONT * LETTER


def _cut(text: str, room: float, wider: float = 1.0) -> str:
    most = int(room / (FONT * LETTER * wider))
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"

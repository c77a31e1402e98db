"""How a table is drawn: a group for each figure, a bar for each figure, or a stack for each party."""

from collections.abc import Callable, Sequence
from statistics import median

from tests.bench.report import bars, wording
from tests.bench.report.bars import Bar, Chart, Group, Mark, Style
from tests.bench.report.figure import Figure, shown
from tests.bench.report.table import Table

PART_STYLES: tuple[Style, ...] = ("peer", "ours", "other")
ONE_SCALE = 6.0  # the longest bars of groups on one scale differ at most so much


def draw(table: Table) -> str:
    """The SVG text."""
    return bars.draw(LAYOUTS[table.layout](table))


def _groups(table: Table) -> Chart:
    """A group for each figure with all parties; on one scale if they can be compared."""
    figures = [figure for figure in shown(table.figures) if any(map(any, figure.rounds.values()))]
    groups = [_group(table, figure) for figure in figures]
    reaches = [group.reach for group in groups]
    units = {figure.unit for figure in figures}
    together = len(groups) > 1 and len(units) == 1 and max(reaches) <= ONE_SCALE * min(reaches)
    unit = wording.UNITS.get(figures[0].unit, figures[0].unit) if together else None
    scales = "" if together or len(groups) == 1 else "Each group has its own scale from 0. "
    return Chart(table.title, _subtitle(table), groups, unit, footnote=f"{scales}{_key(groups)}".strip())


def _group(table: Table, figure: Figure) -> Group:
    drawn = []
    for party in table.columns:
        value = figure.value(party)
        if value is not None:
            text = wording.quantity(value, figure)
            parts: list[tuple[float, Style]] = [(max(0.0, value), _style(figure, party))]
            drawn.append(Bar(wording.name(party), parts, text, _ratio(figure, party), *_spread(figure, party)))
    return Group(figure.name, drawn, _note(figure), _marks(figure))


def _style(figure: Figure, party: str) -> Style:
    return "ours" if party == figure.ours else "peer" if party in figure.peers else "other"


def _spread(figure: Figure, party: str) -> tuple[float, float]:
    values = figure.rounds[party]
    return (max(0.0, min(values)), max(0.0, max(values))) if len(values) > 1 else (0.0, 0.0)


def _ratio(figure: Figure, party: str) -> str:
    """What stands at a peer's bar: how many times as much ours is."""
    ratio = figure.ratios.get(party)
    return "" if ratio is None else f"ratio {wording.ratio(ratio)}"


def _note(figure: Figure) -> list[tuple[str, Style]]:
    """Each target with its verdict."""
    words: list[tuple[str, Style]] = []
    for target in figure.targets:
        met = figure.met(target)
        separator = "  ·  " if words else ""
        words.append((f"{separator}{wording.target(target, figure)}: ", "muted"))
        words.append((wording.verdict(target, figure), "muted" if met is None else "met" if met else "missed"))
    return words


def _marks(figure: Figure) -> list[Mark]:
    """Where ours would just meet each target: a ratio is one to the peer's median."""
    marks = []
    for target in figure.targets:
        peer = figure.value(target.peer or figure.peer) if target.of == "ratio" else 1.0
        met = figure.met(target)
        if peer is not None and met is not None:
            marks.append(Mark(target.limit * peer, met))
    return marks


def _rows(table: Table) -> Chart:
    """A bar for each figure of ours, all on one scale; figures of other units than the first have no place here."""
    unit = table.figures[0].unit
    figures = [figure for figure in table.figures if figure.unit == unit and figure.ours in figure.rounds]
    drawn = []
    for figure in figures:
        value = median(figure.rounds[figure.ours])
        text = wording.number(value, figure.digits)
        drawn.append(Bar(figure.name, ((value, "ours"),), text, "", *_spread(figure, figure.ours)))
    marks = list(dict.fromkeys(mark for figure in figures for mark in _marks(figure)))
    group = Group("", drawn, (), marks)
    return Chart(table.title, _subtitle(table), [group], wording.UNITS.get(unit, unit), footnote=_key([group]))


def _stacks(table: Table) -> Chart:
    """Figures named "place: part": a group for each place, a bar for each party, made of the parts."""
    found = {figure.name: figure for figure in table.figures}
    places = dict.fromkeys(name.rpartition(": ")[0] for name in found)
    unit = next(iter(found.values())).unit
    groups = []
    for place in places:
        drawn, total = [], found[f"{place}: {table.parts[0]}"]
        for party in reversed(table.columns):  # ours last: what changes when it comes
            parts = [(found[f"{place}: {part}"].value(party) or 0.0, style) for part, style in _part_styles(table)]
            length = sum(value for value, _ in parts)
            if length:
                drawn.append(Bar(wording.name(party), parts, wording.number(length, 0), _ratio(total, party)))
        if drawn:
            groups.append(Group(wording.name(place), drawn, _note(total), _marks(total)))
    legend = {style: part for part, style in _part_styles(table)}
    return Chart(table.title, _subtitle(table), groups, unit, legend, footnote=_key(groups))


def _part_styles(table: Table) -> list[tuple[str, Style]]:
    return list(zip(table.parts[1:], PART_STYLES, strict=False))


def _subtitle(table: Table) -> str:
    taken = table.circumstances
    if taken is None:
        return ""
    rounds = table.rounds
    of = f"median of {rounds} rounds" if rounds > 1 else "one round"
    return f"{taken.command}  ·  {of}  ·  {taken.measured[:10]}"


def _key(groups: Sequence[Group]) -> str:
    """What the signs in these groups mean."""
    marks = [(mark.value, group.reach) for group in groups for mark in group.marks]
    every = [bar for group in groups for bar in group.bars]
    words = ["dashed: the target"] * any(value <= reach for value, reach in marks)
    words += ["arrow: a target that is farther away"] * any(value > reach for value, reach in marks)
    words += ["thin line: smallest to largest round"] * any(bar.most > bar.least for bar in every)
    words += ["ratio: ours to this peer's, round by round"] * any(bar.note for bar in every)
    text = "; ".join(words)
    return f"{text[:1].upper()}{text[1:]}." if words else ""


LAYOUTS: dict[str, Callable[[Table], Chart]] = {"groups": _groups, "rows": _rows, "stacks": _stacks}

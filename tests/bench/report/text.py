"""A table for the terminal: every round's spread, every target."""

from collections.abc import Sequence

from tests.bench.report import wording
from tests.bench.report.figure import Figure, shown
from tests.bench.report.table import Table


def _cell(figure: Figure, party: str) -> str:
    values, middle = figure.rounds.get(party), figure.value(party)
    if not values or middle is None:
        return "-"
    digits = figure.digits
    spread = f" ({min(values):.{digits}f}-{max(values):.{digits}f})" if len(values) > 1 else ""
    return f"{middle:.{digits}f}{spread}"


def _ratios(figure: Figure) -> str:
    return "; ".join(f"{wording.ratio(ratio)} to {peer}" for peer, ratio in figure.ratios.items())


def _targets(figure: Figure) -> str:
    return "; ".join(
        f"{wording.target(each, figure)}: {'MISSED' if figure.met(each) is False else wording.verdict(each, figure)}"
        for each in figure.targets
    )


def text(table: Table) -> str:
    """Median (smallest-largest round) for each party, then ratios and targets."""
    parties = [party for party in table.columns if any(party in figure.rounds for figure in table.figures)]
    rows = [["", *parties, "ratio", "target"]]
    for figure in table.figures:
        label = f"{figure.name} [{figure.unit}]"
        rows.append([label, *(_cell(figure, party) for party in parties), _ratios(figure), _targets(figure)])
    notes = ["Median (smallest-largest round); a ratio is the median of ours / the peer's in the same round."]
    if table.missed:
        notes.append(f"Missed: {'; '.join(table.missed)}.")
    return "\n".join([table.title, "", *_aligned(rows), "", *notes])


def summary(tables: Sequence[Table]) -> str:
    """Every row of every table but details: ours, each peer with the ratio to it, targets."""
    rows = [["table", "", "ours", "peers, and ratios to them", "target"]]
    for table in tables:
        for figure in shown(table.figures):
            ours = figure.value(figure.ours)
            peers = ", ".join(
                f"{wording.name(peer)} {wording.quantity(figure.value(peer) or 0.0, figure)} ({wording.ratio(ratio)})"
                for peer, ratio in figure.ratios.items()
            )
            value = "-" if ours is None else wording.quantity(ours, figure)
            rows.append([table.name, figure.name, value, peers, _targets(figure)])
    return "\n".join(_aligned(rows))


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

"""A table for the documentation: each row with its peers, ratio, target, verdict and command."""

import re

from tests.bench.report import wording
from tests.bench.report.figure import Figure, shown
from tests.bench.report.table import Circumstances, Table


def markdown(table: Table, plot: str) -> str:
    """The table, its plot (an address), and where the figures are from. Details are in the JSON file."""
    taken = table.circumstances
    if taken is None:
        raise ValueError(f"{table.name}: nobody knows where it was measured")
    figures = shown(table.figures)
    parties = [party for party in table.columns if any(party in figure.rounds for figure in figures)]
    command = taken.command.removeprefix("make bench ")
    head = [table.title, *map(wording.name, parties), "ratio", "target", "verdict", "`make bench`"]
    rows = [head, ["---"] * len(head)] if figures else []
    for figure in figures:
        values = [_value(figure, party) for party in parties]
        rows.append([figure.name, *values, _ratios(figure), _targets(figure), _verdicts(figure), f"`{command}`"])
    lines = [f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in rows]
    return "\n".join([*lines, "", f"![{table.title}]({plot})", "", _origin(table, taken)]).lstrip()


def _value(figure: Figure, party: str) -> str:
    value = figure.value(party)
    if value is None:
        return ""
    text = wording.quantity(value, figure)
    return f"**{text}**" if party == figure.ours and figure.targets else text


def _ratios(figure: Figure) -> str:
    return "; ".join(f"{wording.ratio(ratio)} to {wording.name(peer)}" for peer, ratio in figure.ratios.items())


def _targets(figure: Figure) -> str:
    return "; ".join(wording.target(each, figure) for each in figure.targets)


def _verdicts(figure: Figure) -> str:
    words = [wording.verdict(each, figure) for each in figure.targets]
    return "; ".join(f"**{word}**" if word == "missed" else word for word in dict.fromkeys(words))


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")


def _named(table: Table) -> list[str]:
    return [*table.columns, *(figure.name for figure in table.figures)]


def _origin(table: Table, taken: Circumstances) -> str:
    """One sentence: when, where, with what."""
    machine, versions = taken.machine, taken.versions
    # who takes part is the first word of a column, or of a row about one of several servers
    named = dict.fromkeys(word for each in _named(table) for word in re.findall(r"^[\w-]+", each))
    used = [word for word in named if word in versions and word != "megaphone"]
    rounds = table.rounds
    parts = [
        f"{taken.measured[:10]}, {rounds} round{'s' if rounds > 1 else ''} at a load of {taken.load_before[0]:.1f}",
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel'].partition('-')[0]}, {machine['system']}",
        ", ".join(
            [
                f"Megaphone {versions['megaphone']}",
                f"Python {versions['python']}",
                f"OpenSSL {versions['openssl']}",
                *(f"{wording.name(party)} {versions[party].partition('-')[0]}" for party in used),
            ]
        ),
    ]
    return f"Measured {'; '.join(parts)}."

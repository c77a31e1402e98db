"""A table: figures that were measured together, with where and how, kept as one JSON file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.bench.report import figure
from tests.bench.report.figure import Figure

Layout = Literal["groups", "rows", "stacks"]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """How to get the figures again, and where these are from."""

    command: str
    measured: str  # when, UTC, ISO 8601
    load_before: Sequence[float]  # of the machine: averages over 1, 5, 15 minutes
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """`columns` are the parties, ours first; `layout` says how it is drawn (`plots`), `parts` what a stack consists of.

    `name` is also that of its files. It begins with the name of the benchmark.
    """

    name: str
    title: str
    columns: Sequence[str]
    figures: Sequence[Figure]
    layout: Layout = "groups"
    parts: Sequence[str] = ()
    circumstances: Circumstances | None = field(default=None, compare=False)

    @property
    def missed(self) -> list[str]:
        """The names of figures whose targets are not all met."""
        return [each.name for each in self.figures if any(each.met(target) is False for target in each.targets)]

    @property
    def rounds(self) -> int:
        """How often everything was measured; some figures may have more rounds."""
        settings = self.circumstances.settings if self.circumstances else {}
        most = max(len(values) for figure in self.figures for values in figure.rounds.values())
        return int(settings.get("rounds", most))

    def as_json(self) -> dict[str, Any]:
        """Everything."""
        taken = self.circumstances
        return {
            "table": self.name,
            "title": self.title,
            **({} if taken is None else {name: getattr(taken, name) for name in Circumstances.__slots__}),
            "columns": list(self.columns),
            "layout": self.layout,
            "parts": list(self.parts),
            "figures": [each.as_json() for each in self.figures],
        }


def from_json(facts: Mapping[str, Any]) -> Table:
    """The table that `as_json` told about."""
    return Table(
        facts["table"],
        facts["title"],
        facts["columns"],
        [figure.from_json(each) for each in facts["figures"]],
        facts["layout"],
        facts["parts"],
        Circumstances(**{name: facts[name] for name in Circumstances.__slots__}),
    )


def read(directory: Path) -> dict[str, Table]:
    """All tables of a directory by name; the files there that are none of ours are an error."""
    tables = {path.stem: from_json(json.loads(path.read_text())) for path in sorted(directory.glob("*.json"))}
    if wrong := [stem for stem, table in tables.items() if stem != table.name]:
        raise ValueError(f"{directory}: {', '.join(wrong)}.json holds a table of another name")
    return tables

"""What a benchmark talks to: it hands in tables as soon as they are measured, and each is printed, kept and drawn.

Whatever was handed in before a benchmark fails is not lost. The last line of its output is JSON with all of it.
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.bench.report import plots, surroundings
from tests.bench.report.figure import Figure
from tests.bench.report.table import Circumstances, Layout, Table, from_json
from tests.bench.report.text import text

OUT = Path("var/bench")


def arguments(what: str, about: str | None, rounds: int) -> argparse.ArgumentParser:
    """The command line of the benchmark `what`, with what all of them have; `rounds` is the default."""
    parser = argparse.ArgumentParser(prog=f"make bench WHAT={what}", description=about)
    parser.add_argument("--rounds", type=_positive, default=rounds, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=OUT, help="where JSON and plots go; default: %(default)s")
    return parser


def _positive(word: str) -> int:
    if (number := int(word)) < 1:
        raise argparse.ArgumentTypeError("there must be at least one")
    return number


def command(what: str, parser: argparse.ArgumentParser, args: argparse.Namespace) -> str:
    """What to type to get the same again."""
    words, rest = [f"make bench WHAT={what}"], []
    for option, value in vars(args).items():
        if option == "out" or value == parser.get_default(option):
            continue
        if option == "rounds":
            words.append(f"ROUNDS={value}")
        else:
            rest += [f"--{option.replace('_', '-')}", str(value)]
    return " ".join([*words, *([f'ARGS="{shlex.join(rest)}"'] if rest else [])])


class Report:
    """Of one run of the benchmark `what`; `versions` are those of peers that are libraries."""

    def __init__(self, what: str, parser: argparse.ArgumentParser, args: argparse.Namespace, **versions: str) -> None:
        self._what = what
        self._parser = parser
        self._args = args
        self._machine = surroundings.machine()
        self._versions = surroundings.versions() | versions
        self._begun = time.monotonic()
        self._load = surroundings.load_average()
        self._tables: list[Table] = []

    def add(
        self,
        name: str,
        title: str,
        columns: Sequence[str],
        figures: Sequence[Figure],
        settings: Mapping[str, Any],
        *,
        layout: Layout = "groups",
        parts: Sequence[str] = (),
        **narrowed: str,
    ) -> None:
        """Write NAME.json and NAME.svg, print the table; `narrowed` are options that measure this table alone."""
        args = argparse.Namespace(**(vars(self._args) | narrowed))
        circumstances = Circumstances(
            command=command(self._what, self._parser, args),
            measured=datetime.now(UTC).isoformat(timespec="seconds"),
            load_before=self._load,
            machine=self._machine,
            versions=self._versions,
            settings=dict(settings),
        )
        # as it will be read again, rounded: so that a plot is the same whoever draws it
        table = from_json(Table(name, title, columns, figures, layout, parts, circumstances).as_json())
        keep(table, self._args.out)
        self._tables.append(table)
        print(f"\n{text(table)}", flush=True)
        self._load = surroundings.load_average()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        facts = {
            "benchmark": self._what,
            "seconds": round(time.monotonic() - self._begun, 1),
            "complete": kind is None,
            "tables": [table.as_json() for table in self._tables],
        }
        print(json.dumps(facts))
        sys.stdout.flush()


def keep(table: Table, directory: Path) -> None:
    """Write the table's two files; those of other tables stay, so that runs of a part add up."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{table.name}.json").write_text(written(table))
    (directory / f"{table.name}.svg").write_text(plots.draw(table))


def written(table: Table) -> str:
    """The JSON file: a line for each round's values is enough, more would be a long way to scroll."""
    facts = table.as_json()
    figures = ",\n  ".join(json.dumps(each, ensure_ascii=False) for each in facts.pop("figures"))
    head = ",\n".join(f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in facts.items())
    return f'{{\n{head},\n "figures": [\n  {figures}\n ]\n}}\n'

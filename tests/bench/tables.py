"""`python -m tests.bench.tables`: writes the tables of the documentation from the JSON files beside it.

A page says where a table goes with `<!-- bench NAME -->` and `<!-- end of NAME -->`, and what stands between them is
written here. Where there is no NAME.json yet it says `<!-- bench NAME by hand -->`. Plots too.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from os.path import relpath
from pathlib import Path

from tests.bench.report import plots, table
from tests.bench.report.markdown import markdown
from tests.bench.report.table import Table

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "docs" / "explanation" / "reports" / "bench"
BLOCK = re.compile(
    r"<!-- bench (?P<name>[\w-]+)(?P<by_hand> by hand)? -->\n(?P<body>.*?)<!-- end of (?P=name) -->", re.DOTALL
)


def pages() -> list[Path]:
    """Those that have tables."""
    return [page for page in sorted((ROOT / "docs").rglob("*.md")) if "<!-- bench " in page.read_text()]


def blocks(text: str) -> Iterator[tuple[str, bool]]:
    """The name of each table of a page, and whether it is written by hand."""
    for found in BLOCK.finditer(text):
        yield found["name"], bool(found["by_hand"])


def filled(text: str, tables: Mapping[str, Table], plots_at: str) -> str:
    """The page with its tables as they should be; ValueError if it wants one that is not there."""

    def block(found: re.Match[str]) -> str:
        name = found["name"]
        if name in tables:
            body = markdown(tables[name], f"{plots_at}/{name}.svg")
            return f"<!-- bench {name} -->\n\n{body}\n\n<!-- end of {name} -->"
        if not found["by_hand"]:
            raise ValueError(f"there is no {name}.json")
        return found[0]

    return BLOCK.sub(block, text)


def due() -> dict[Path, str]:
    """What each file that is made from the JSON files has to contain: pages and plots."""
    tables = table.read(REPORTS)
    wanted = {REPORTS / f"{name}.svg": plots.draw(each) for name, each in tables.items()}
    for page in pages():
        wanted[page] = filled(page.read_text(), tables, relpath(REPORTS, page.parent))
    return wanted


def update() -> list[Path]:
    """Write what is not as it should be, and say so on stderr."""
    changed = {path: text for path, text in due().items() if not path.exists() or path.read_text() != text}
    for path, text in changed.items():
        path.write_text(text)
        print(f"wrote {path.relative_to(ROOT)}", file=sys.stderr)
    return list(changed)


if __name__ == "__main__":
    update()

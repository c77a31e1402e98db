"""The tables of docs/explanation/bad-input.md, written from the rows that the tests run.

`python -m tests.adversity.page` rewrites them; a test fails while page and rows differ.
"""

from collections.abc import Iterable
from pathlib import Path

from tests.adversity import rows_embedded
from tests.adversity.rows import SECTIONS
from tests.adversity.rows_operator import COMMANDS, CONFIGURATION, HUB, RELOADS, STARTING, Mistake
from tests.adversity.table import Row

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "bad-input.md"
MARK = "<!-- What follows is written by `python -m tests.adversity.page` from the rows that the tests run. -->\n"


def render() -> str:
    """Everything below the mark."""
    parts = []
    for title, sections in (
        ("What clients send", SECTIONS),
        ("What clients of the embedded service send", rows_embedded.SECTIONS),
    ):
        parts.append(f"\n## {title}\n")
        for section in sections:
            parts += [
                f"\n### {section.title}\n\n{section.about}\n\n",
                _table(("sent", "answer", "counted as"), (_client_cells(row) for row in section.rows)),
            ]
    parts.append("\n## What operators do\n")
    for title, about, mistakes in (
        ("Configurations", "`check` and `serve` answer alike, except where a row says otherwise.", CONFIGURATION),
        ("Starting", "What `check` cannot know.", STARTING),
        ("Hub", "`megaphone hub` answers as `megaphone hub --check`.", HUB),
        ("Commands", "", COMMANDS),
        ("Reloads", "Of a Megaphone that runs, and goes on as before.", RELOADS),
    ):
        parts += [
            f"\n### {title}\n\n" + (f"{about}\n\n" if about else ""),
            _table(
                ("mistake", "command", "standard error, after `megaphone: error: `", "exit code"),
                (_operator_cells(mistake) for mistake in mistakes),
            ),
        ]
    return "".join(parts)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n".replace("| --- ", "|---").replace("--- |", "---|") for line in lines)


def _client_cells(row: Row) -> tuple[str, ...]:
    answer = ", ".join([*(piece.short for piece in row.answer), row.end])
    counted = [f"`{row.reason}`"]
    if row.limit:
        counted.append(f"limit `{row.limit}`")
    counted += [f"`{name}`" for name in row.counted]
    return row.sent, answer, ", ".join(counted)


def _operator_cells(mistake: Mistake) -> tuple[str, ...]:
    error = (mistake.shown or mistake.error).replace("$", "")
    quote = "``" if "`" in error else "`"
    space = " " if quote == "``" else ""
    command = mistake.command.replace("$", "").removesuffix(" --socket RUNNING_SOCKET")
    return mistake.what, f"`{command}`", f"{quote}{space}{error}{space}{quote}", str(mistake.code)


def main() -> None:
    """Rewrite the tables."""
    head, mark, _ = PAGE.read_text().partition(MARK)
    if not mark:
        raise SystemExit(f"{PAGE}: the mark is missing: {MARK}")
    PAGE.write_text(head + mark + render())


if __name__ == "__main__":
    main()

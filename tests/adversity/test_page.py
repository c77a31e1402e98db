"""docs/explanation/bad-input.md says what the tests of this directory run."""

from tests.adversity.page import MARK, PAGE, render
from tests.adversity.rows import ROWS
from tests.adversity.table import END, HEADER, error


def test_tables() -> None:
    _, mark, tables = PAGE.read_text().partition(MARK)
    assert mark, "the mark is missing"
    assert tables == render(), "run `python -m tests.adversity.page`"


def test_abbreviations() -> None:
    head = PAGE.read_text().partition(MARK)[0]
    for data in (HEADER.data, error("x").data, END.data):
        assert f"`{data.decode()}`" in head


def test_rows_are_told_apart() -> None:
    named = [(row.sent, row.play) for row in ROWS]
    assert len(set(named)) == len(named)

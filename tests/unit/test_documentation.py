"""What the documentation points at is there: pages, headings, files, tests; and its configurations can be used."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from megaphone.config import hub
from megaphone.config.load import parse

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s#]*)(?:#([^)\s]+))?\)")
TEST = re.compile(r"`(tests/[\w/]+\.py)?::(test_\w+)`")
FILE = re.compile(r"`((?:tests|deploy|megaphone)/[\w/.-]+\.\w+)`")
TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@cache
def headings(page: Path) -> frozenset[str]:
    """The anchors of a page, as GitHub makes them."""
    named = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return frozenset(re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(named))


@cache
def functions_of(path: Path) -> frozenset[str]:
    """The names of the functions of a file."""
    tree = ast.parse(path.read_text())
    return frozenset(each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))


def named_tests(text: str) -> Iterator[tuple[str, str]]:
    """File and name of each test in a text; `::name` is in the file named last."""
    file = ""
    for found in TEST.finditer(text):
        file = found[1] or file
        yield file, found[2]


@by_page
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in LINK.findall(page.read_text()):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        if anchor:
            assert anchor in headings(target), f"{path}#{anchor}"


@by_page
def test_files_and_tests_that_are_named_are_there(page: Path) -> None:
    text = page.read_text()
    for file in FILE.findall(text):
        assert "NAME" in file or (ROOT / file).exists(), file
    for file, name in named_tests(text):
        assert name in functions_of(ROOT / file), f"{file}::{name}"


@by_page
def test_whole_configurations_can_be_used(page: Path) -> None:
    for text in TOML.findall(page.read_text()):
        if "[[listen]]" in text:
            parse(text, str(page))
        elif "[hub]" in text and "secret_file" in text:
            hub.parse(text, str(page))


def test_the_table_of_documents_is_complete() -> None:
    readme = (ROOT / "README.md").read_text()
    listed = {(ROOT / path).resolve() for path, _ in LINK.findall(readme)}
    missing = {
        str(page.relative_to(ROOT))
        for page in PAGES
        if page not in listed and page.parent.name != "decisions" and page.name != "README.md"
    }
    assert not missing


def test_promises_name_a_test_each() -> None:
    """Every row of a table that has a column for it."""
    rows = re.findall(
        r"^\| (?!shown|---|promise|what \||question)(.*) \|$", (ROOT / "docs/explanation/promises.md").read_text(), re.M
    )
    assert len(rows) > 20
    for row in rows:
        shown = row.rpartition(" | ")[2]
        assert "`tests/" in shown or "the same test" in shown or "](" in shown, row

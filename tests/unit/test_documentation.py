"""What the documentation points at is there: pages, headings, files, tests; and its configurations can be used."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from msgspec.structs import replace

from megaphone.config import hub
from megaphone.config.load import check_environment, parse
from tests.servers.certificates import CertificateAuthority

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


@pytest.fixture(scope="module")
def etc(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Path:
    """What the pages have in /etc/megaphone beside the configuration."""
    directory = tmp_path_factory.mktemp("etc")
    files = authority.issue("example.org")
    for name in ("example.org.crt", "hub.pem"):
        (directory / name).write_bytes(files.chain.read_bytes())
    (directory / "edges-ca.pem").write_bytes(authority.certificate.read_bytes())
    for name in ("example.org.key", "hub.key"):
        (directory / name).write_bytes(files.key.read_bytes())
        (directory / name).chmod(0o600)
    for name in ("link.secret", "token-2026-11.key", "admin.token", "nats.token"):
        (directory / name).write_text("0123456789abcdef" * 4 + "\n")
        (directory / name).chmod(0o600)
    return directory


def completed(text: str) -> str:
    """The block of a page with what a configuration needs beside it, if it is a part of one."""
    upstreams = re.findall(r"^\[\[upstream\]\]\nname = (\".*?\")$", text, re.MULTILINE)
    if "[hub]" in text:
        needed = {"secret_file": "link.secret", "domain": "example.org"}
        lines = [f'{key} = "{value}"\n' for key, value in needed.items() if f"\n{key} =" not in text]
        text = text.replace("[hub]\n", "[hub]\n" + "".join(lines))
        return text if upstreams else f'{text}\n[[upstream]]\nname = "server"\naddress = "127.0.0.1:5232"\n'
    if "[[listen]]" not in text:
        text += '\n[[listen]]\naddress = "*:5222"\n'
        text += '[[certificate]]\nchain = "/etc/megaphone/example.org.crt"\nkey = "/etc/megaphone/example.org.key"\n'
        text += f'[[domain]]\nname = "example.org"\nupstreams = [{", ".join(upstreams)}]\n'
    return text


@by_page
def test_configurations_can_be_used(page: Path, etc: Path) -> None:
    """Every block, whole or a part of one, passes what `megaphone check` looks at, with files of the names it gives."""
    for block in TOML.findall(page.read_text()):
        text = completed(block).replace("/etc/megaphone/", f"{etc}/")
        file = str(etc / "megaphone.toml")
        if "[hub]" in text:
            hub.check_environment(hub.parse(text, file), file)
        else:
            config = parse(text, file)  # its data are where this user may write
            check_environment(replace(config, service=replace(config.service, data=str(etc))), file)


@by_page
def test_nobody_is_sent_to_another_project_of_this_name(page: Path) -> None:
    """`megaphone` on the Python Package Index is not ours: we are installed from a checkout."""
    assert not re.search(r"pip install [^`\n]*\bmegaphone\b", page.read_text())


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

"""Tests that need the whole machine have it: a suite of our own, run by pytest-xdist with our hooks."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.distribution import ALONE, LONGEST, unit_of_work

CONFTEST = """
import tests.distribution

tests.distribution.ALONE = ("test_alone.py",)
tests.distribution.LONGEST = ("test_b.py",)

from tests.alone import pytest_runtest_protocol
from tests.distribution import pytest_xdist_make_scheduler
"""
TEST = """
import os
import pathlib
import time

import pytest

LOG = pathlib.Path(__file__).with_name("log")


def note(text):
    with LOG.open("a") as log:
        log.write(text + "\\n")


@pytest.mark.parametrize("number", range(3))
def test_it(number):
    name = f"{pathlib.Path(__file__).stem} {os.getpid()}"
    note(f"{name} begins")
    time.sleep(0.2)
    note(f"{name} ends")
"""


def test_alone(tmp_path: Path) -> None:
    """The others overlap, those that are alone overlap with nobody, and a file's tests stay in one process."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for name in ("a", "b", "c", "alone"):
        (tmp_path / f"test_{name}.py").write_text(TEST)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "3", f"--rootdir={tmp_path}", tmp_path]
    done = subprocess.run(
        [*map(str, command), f"--basetemp={tmp_path / 'base'}"],
        cwd=Path.cwd(),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 passed" in done.stdout.splitlines()[-1]
    running: set[str] = set()
    seen: set[tuple[str, str]] = set()
    overlapping: list[frozenset[str]] = []
    for line in (tmp_path / "log").read_text().splitlines():
        name, process, what = line.split()
        seen.add((name, process))
        if what == "ends":
            running.remove(name)
        else:
            running.add(name)
            overlapping.append(frozenset(running))
    assert len(seen) == 4
    assert any(len(names) > 1 for names in overlapping)
    assert {names for names in overlapping if "test_alone" in names} == {frozenset({"test_alone"})}


def test_names_are_those_of_files_and_tests() -> None:
    root = Path(__file__).parents[1]
    for name in (*ALONE, *(unit for unit in LONGEST if unit.endswith(".py"))):
        path, _, function = name.partition("::")
        assert (root / path).is_file(), name
        assert f"def {function}" in (root / path).read_text(), name


@pytest.mark.parametrize(
    ("nodeid", "unit"),
    [
        ("tests/unit/wire/test_framer.py::test_it[ejabberd]", "tests/unit/wire/test_framer.py"),
        ("tests/link/test_reference.py::test_it", "tests/link/test_reference.py"),
        ("tests/link/test_reattach.py::test_it[hub-at once]", "tests/link hub"),
        ("tests/link/test_abuse.py::test_it[ejabberd]", "tests/link ejabberd"),
        (f"{ALONE[0]}::test_it[prosody]", "alone"),
        (ALONE[-1], "alone"),
        (f"{ALONE[-1]}_or_not", ALONE[-1].partition("::")[0]),
    ],
)
def test_units(nodeid: str, unit: str) -> None:
    assert unit_of_work(nodeid) == unit

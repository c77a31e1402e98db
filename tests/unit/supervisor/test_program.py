"""How one program is told from another, and how it is found wherever it is started."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import megaphone
from megaphone.supervisor import program
from megaphone.supervisor.program import Program


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name in ("__init__.py", "wire/framer.so", "wire/framer.pyx", "__pycache__/__init__.pyc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (1e9, 1e9))
    return tmp_path


def test_the_fingerprint_is_that_of_code(package: Path) -> None:
    before = program.fingerprint(package)
    for name in ("wire/framer.pyx", "__pycache__/__init__.pyc"):
        (package / name).write_text("something else")
    assert program.fingerprint(package) == before


@pytest.mark.parametrize("change", ["content", "time", "new", "gone", "renamed"])
def test_the_fingerprint_changes_with_any_file(package: Path, change: str) -> None:
    before = program.fingerprint(package)
    path = package / "wire" / "framer.so"
    match change:
        case "content":
            path.write_text("longer than it was before")
            os.utime(path, (1e9, 1e9))
        case "time":
            os.utime(path, (1e9, 1e9 + 1))
        case "new":
            (package / "new.py").touch()
        case "gone":
            path.unlink()
        case "renamed":
            path.rename(package / "framer.so")
    assert program.fingerprint(package) != before


def test_programs_are_the_same_by_what_they_are_made_of() -> None:
    one = Program(["/a/python"], version="1", fingerprint="x")
    assert one.is_same_as(Program(["/b/python"], "/b", "1", "x"))
    assert not one.is_same_as(Program(["/a/python"], version="2", fingerprint="x"))
    assert not one.is_same_as(Program(["/a/python"], version="1", fingerprint="y"))


def test_its_environment_is_ours_with_its_own_path() -> None:
    ours = {"NOTIFY_SOCKET": "/n", "PYTHONPATH": "/ours", "LANG": "C"}
    assert Program(["p"]).environment(ours) == {"NOTIFY_SOCKET": "/n", "LANG": "C", "PYTHONSAFEPATH": "1"}
    assert Program(["p"], python_path="/theirs").environment(ours)["PYTHONPATH"] == "/theirs"


def test_what_is_installed_is_found_from_any_directory(tmp_path: Path) -> None:
    found = program.installed()
    (tmp_path / "megaphone").mkdir()
    (tmp_path / "megaphone" / "__init__.py").write_text("raise SystemExit('another one, which lies about')")
    interpreter, *_ = found.command
    shown = subprocess.run(
        [interpreter, "-c", "import megaphone; print(megaphone.__file__)"],
        env=found.environment(os.environ),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert shown.stdout.strip() == megaphone.__file__
    assert found.version == megaphone.__version__
    assert found.command == [sys.executable, "-m", "megaphone.supervisor"]


def test_the_running_one_is_what_it_was_at_the_start() -> None:
    assert program.running() is program.running()

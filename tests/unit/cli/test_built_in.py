"""`megaphone serve` without any configuration file, as an ordinary user and in a network of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from megaphone.cli.output import DEFAULT_CONFIG

ROOT = Path(__file__).parents[3]
NOBODY = 65_534


@pytest.fixture
def home() -> Iterator[Path]:
    """A home for the user nobody, unlike pytest's own directories."""
    made = Path(tempfile.mkdtemp(prefix="megaphone-"))
    os.chown(made, NOBODY, NOBODY)
    yield made
    shutil.rmtree(made)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a network")
@pytest.mark.skipif(os.path.lexists(DEFAULT_CONFIG), reason="this machine has a configuration")
def test_a_newcomers_first_minute(home: Path) -> None:
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network can be made here")
    environment = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), "PATH": os.environ["PATH"]}
    become_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    play = f"ip link set lo up && exec {' '.join(become_nobody)} {sys.executable} -m tests.unit.cli.built_in_play"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", play],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    data = home / ".local" / "share" / "megaphone"
    assert data.stat().st_mode & 0o777 == 0o700
    assert (data / "megaphone.sqlite3").stat().st_mode & 0o777 == 0o600

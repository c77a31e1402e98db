"""`make million-upgrade` with few sessions: nobody notices a change of program, and what goes wrong is said."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_million_small import RUN_SECONDS, command, machine, verdict

SESSIONS = 600
RATE = 300

__all__ = ["machine"]  # a fixture of this module, too: one such run at a time

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may read /proc/slabinfo")

EXACT = ("connections lost", "messages lost, repeated or reordered")


def upgrade(output: Path, *words: str) -> tuple[dict[str, Any], str]:
    """The report of a small run, and what was said."""
    words = ("--upgrade", "--sessions", str(SESSIONS), "--workers", "2", "--hold", "6", "--rate", str(RATE), *words)
    done = subprocess.run(command(output, *words), capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
    path = output / "report.json"
    assert path.exists(), done.stderr
    report: dict[str, Any] = json.loads(path.read_text())
    assert report["ended"] == "complete", done.stderr
    assert verdict(report, "sessions at once")["met"]
    return report, done.stderr


def test_nobody_notices_an_upgrade(tmp_path: Path) -> None:
    report, said = upgrade(tmp_path)
    for name in (*EXACT, "upgrade", "connections moved"):
        assert verdict(report, name)["met"], said
    figures = report["figures"]
    assert figures["worker_processes_replaced"] == figures["worker_processes"] == 2
    rows = figures["upgrade_workers"].values()
    assert sum(row["moved"] for row in rows) == SESSIONS
    assert all(0 < row["frozen seconds"] < row["seconds"] for row in rows)
    assert figures["sessions_in_pairs"] == SESSIONS
    assert figures["longest_silence_in_the_upgrade_ms"]["count"] == SESSIONS
    assert report["failures"] == {}
    assert report["counters"]["closed"] == SESSIONS
    assert "Upgrade under 600 sessions" in (tmp_path / "report.html").read_text()


def test_another_command_moves_nobody(tmp_path: Path) -> None:
    """The same run without an upgrade; some of its clients know TLS 1.2 only: they are there and do not talk."""
    report, said = upgrade(tmp_path, "--upgrade-with", "true", "--tls12", "0.1")
    for name in (*EXACT, "upgrade"):
        assert verdict(report, name)["met"], said
    assert "connections moved" not in {each["name"] for each in report["verdicts"]}
    assert report["figures"]["worker_processes_replaced"] == 0
    assert report["figures"]["sessions_in_pairs"] == SESSIONS - 48
    assert report["size"]["load_processes"] == 3
    assert report["counters"]["chat_sent"] >= RATE * 10
    assert report["counters"]["logins"] == report["counters"]["closed"] == SESSIONS


def test_an_upgrade_that_fails_is_missed(tmp_path: Path) -> None:
    report, said = upgrade(tmp_path, "--upgrade-with", "sh -c 'echo it cannot be done >&2; exit 3'")
    missed = verdict(report, "upgrade")
    assert not missed["met"]
    assert (missed["shown"], missed["note"]) == ("exit code 3", "it cannot be done")
    assert report["met"] is False
    assert "MISSED  upgrade: exit code 3 (wanted: done), it cannot be done" in said

"""`make million` with few sessions: each is counted, none is lost, and the machine is afterwards as it was before."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from loadtest.million.host import read_setting, write_setting

SESSIONS = 20_000
RATE = 1_000
RUN_SECONDS = 240.0
FEW = 2_000  # enough for a setting to be changed

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change settings and read /proc/slabinfo")


Run = tuple[int, dict[str, Any], Path, str]


def command(output: Path, *words: str) -> list[str]:
    return [
        *(sys.executable, "-m", "loadtest.million"),
        *("--output", str(output), "--journal", str(output / "journal.json")),
        *words,
    ]


def current(names: Any) -> dict[str, list[int]]:
    return {name: list(read_setting(name)) for name in names}


@pytest.fixture(scope="module", autouse=True)
def machine() -> Iterator[None]:
    """One such module at a time on this machine, which has the little room that Linux gives where nobody cares."""
    name, lock = "net.core.netdev_max_backlog", Path(tempfile.gettempdir()) / "megaphone-million-tests.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = read_setting(name)
        write_setting(name, (1_000,))
        yield
        write_setting(name, before)


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Exit code, report.json, its directory and what was said."""
    output = tmp_path_factory.mktemp("million")
    done = subprocess.run(
        command(
            output,
            *("--sessions", str(SESSIONS), "--workers", "4", "--loaders", "3"),
            *("--hold", "15", "--rate", str(RATE), "--keep-alive", "5"),
        ),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
    )
    path = output / "report.json"
    assert path.exists(), done.stderr
    return done.returncode, json.loads(path.read_text()), output, done.stderr


def verdict(report: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [each for each in report["verdicts"] if each["name"] == name]
    return dict(found)


def test_every_session_is_there_and_none_is_lost(small_run: Run) -> None:
    _, report, _, said = small_run
    assert report["ended"] == "complete", said
    assert report["failures"] == {}
    for name in ("sessions at once", "sessions lost in the hold", "messages that did not arrive"):
        assert verdict(report, name)["met"], verdict(report, name)
    assert report["counters"]["logins"] == SESSIONS
    assert max(point["open"] for point in report["points"]) == SESSIONS
    assert report["size"]["workers"] == 4
    assert report["size"]["load_processes"] == 3


def test_every_message_arrives(small_run: Run) -> None:
    _, report, _, _ = small_run
    counters = report["counters"]
    assert counters["chat_sent"] == counters["chat_received"] == report["figures"]["chat_ms"]["count"]
    assert counters["chat_sent"] >= RATE * 10
    assert "chat_bounced" not in counters


def test_all_keep_themselves_alive_and_leave_in_order(small_run: Run) -> None:
    _, report, _, _ = small_run
    assert report["counters"]["spaces_sent"] >= 2 * SESSIONS
    assert report["figures"]["all_left_in_order"] is True
    assert report["counters"]["closed"] == SESSIONS


def test_the_exit_code_is_the_verdict(small_run: Run) -> None:
    code, report, _, said = small_run
    assert code == (0 if all(each["met"] for each in report["verdicts"]) else 1)
    assert report["met"] is (code == 0)
    for each in report["verdicts"]:
        assert f"{each['name']}: {each['shown']}" in said


def test_memory_and_cpu_are_plausible(small_run: Run) -> None:
    _, report, _, _ = small_run
    figures = report["figures"]
    # two orders of magnitude: a unit that is wrong, or a side that is missing, shows
    assert 500 < figures["session_user_bytes"] < 20_000
    assert 1_000 < figures["session_kernel_bytes"] < 20_000
    assert 10 < figures["workers_cpu_us"]["per_login"] < 10_000
    assert figures["sockets"] >= 2 * SESSIONS


def test_the_report_is_small_and_asks_nobody_else(small_run: Run) -> None:
    _, report, output, _ = small_run
    assert (output / "report.json").stat().st_size <= 200_000
    assert len(report["points"]) <= 300
    page = (output / "report.html").read_text()
    assert "20,000 sessions on one machine" in page
    assert page.count("<svg") >= 8
    rest = page.replace("http://www.w3.org/2000/svg", "")
    assert not [word for word in ("http:", "https:", "src=", "@import", "url(") if word in rest]


def test_settings_are_put_back(small_run: Run) -> None:
    _, report, output, _ = small_run
    assert report["settings_changed"]["net.core.netdev_max_backlog"] == [SESSIONS]
    for name, value in report["settings_changed"].items():
        assert list(read_setting(name)) != value, name
    assert not (output / "journal.json").exists()


@contextmanager
def long_run(output: Path) -> Iterator["subprocess.Popen[str]"]:
    """A run that has changed settings and has all its sessions."""
    output.mkdir(exist_ok=True)
    with (output / "said").open("w") as said:
        child = subprocess.Popen(
            command(output, "--sessions", str(FEW), "--hold", "600", "--rate", "100"),
            stderr=said,
            text=True,
            start_new_session=True,
        )
    try:
        until(lambda: "idle" in (output / "said").read_text() or child.poll() is not None, "all sessions")
        assert child.poll() is None, (output / "said").read_text()
        yield child
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()


def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def running(pids: list[int]) -> list[int]:
    """Those that are not zombies either."""
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state not in "ZX":
            found.append(pid)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_cleans_up(tmp_path: Path, number: signal.Signals) -> None:
    output = tmp_path / "run"
    with long_run(output) as child:
        processes = descendants(child.pid)
        changed = json.loads((output / "journal.json").read_text())
        assert current(changed["set"]) == changed["set"]
        child.send_signal(number)
        assert child.wait(60) == 1
        assert running(processes) == []
        assert current(changed["before"]) == changed["before"]
    assert not (output / "journal.json").exists()
    report = json.loads((output / "report.json").read_text())
    assert report["ended"] == f"stopped by {number.name}"
    assert report["met"] is False


def test_a_run_that_is_killed_leaves_only_what_restore_puts_back(tmp_path: Path) -> None:
    output = tmp_path / "run"
    with long_run(output) as child:
        processes = descendants(child.pid)
        changed = json.loads((output / "journal.json").read_text())
        child.kill()
        child.wait()
    until(lambda: running(processes) == [], "the end of Megaphone and of all load processes")
    assert current(changed["set"]) == changed["set"]
    done = subprocess.run(command(output, "--restore"), capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "putting back what a run that was killed has left" in done.stdout
    assert current(changed["before"]) == changed["before"]


def test_all_sessions_have_tls(tmp_path: Path) -> None:
    words = ["--tls", "--sessions", str(FEW), "--workers", "2", "--loaders", "2", "--hold", "3", "--rate", "100"]
    subprocess.run(command(tmp_path, *words), capture_output=True, timeout=RUN_SECONDS, check=False)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["ended"] == "complete"
    assert report["plan"]["tls"] == 1.0
    assert report["failures"] == {}
    for name in ("sessions at once", "sessions lost in the hold", "messages that did not arrive"):
        assert verdict(report, name)["met"], verdict(report, name)
    assert report["counters"]["closed"] == FEW


def test_a_storm_disturbs_nobody_else(tmp_path: Path) -> None:
    output = tmp_path
    words = ("--storm", "--sessions", str(FEW), "--workers", "8", "--loaders", "2", "--hold", "3", "--rate", "300")
    done = subprocess.run(command(output, *words), capture_output=True, text=True, timeout=RUN_SECONDS)
    report = json.loads((output / "report.json").read_text())
    assert report["ended"] == "complete", done.stderr
    for name in ("sessions at once", "99 % are back after", "other sessions disturbed"):
        assert verdict(report, name)["met"], verdict(report, name)
    figures = report["figures"]
    assert figures["workers_killed"] == 2
    assert figures["sessions_lost"] == figures["sessions_on_killed_workers"] > 0
    assert figures["all_back_seconds"] is not None
    assert report["counters"]["reconnects"] == figures["sessions_lost"]


def test_a_soak_replaces_more_than_fit_beside_each_other(tmp_path: Path) -> None:
    """Those who come wait for those who leave: 200 each second, where a load process has room for 64 more."""
    words = ("--soak", "--sessions", str(FEW), "--workers", "2", "--loaders", "1", "--churn", "0.1")
    words += ("--hold", "4", "--rate", "100")
    done = subprocess.run(command(tmp_path, *words), capture_output=True, text=True, timeout=RUN_SECONDS)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["ended"] == "complete", done.stderr
    assert verdict(report, "sessions lost in the hold")["met"]
    assert report["figures"]["logins"] >= FEW + 2 * 0.1 * FEW
    assert report["figures"]["all_left_in_order"]
    assert set(report["failures"]) <= {"message:service-unavailable"}


def test_check_changes_nothing(tmp_path: Path) -> None:
    before = current(["net.core.netdev_max_backlog"])
    done = subprocess.run(
        command(tmp_path, "--check", "--sessions", "1000000"), capture_output=True, text=True, timeout=30
    )
    assert done.returncode in (0, 1)
    assert done.stdout.splitlines()[0] == "For 1,000,000 sessions:"
    assert ("MISSING" in done.stdout) is (done.returncode == 1)
    assert current(before) == before


@pytest.mark.parametrize("words", [("--sessions", "many"), ("--hold", "0"), ("--check", "--storm"), ("--body", "7")])
def test_wrong_usage(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = subprocess.run(command(tmp_path, *words), capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "usage:" in done.stderr
    assert "Traceback" not in done.stderr

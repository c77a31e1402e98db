"""Settings of the kernel are put back whatever ends a run: with the real kernel."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.million.host import path_of, read_setting, write_setting
from loadtest.million.settings import SettingsError, changed, restore

NAME = "net.ipv4.tcp_max_tw_buckets"  # one more or less harms nobody
OTHER = "net.ipv4.tcp_max_orphans"

pytestmark = pytest.mark.skipif(not os.access(path_of(NAME), os.W_OK), reason="only root may change settings")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.json"


def more(name: str) -> dict[str, tuple[int, ...]]:
    return {name: (read_setting(name)[0] + 1,)}


def test_set_and_put_back(journal: Path) -> None:
    before, said = read_setting(NAME), list[str]()
    with changed(more(NAME), said.append, journal):
        assert read_setting(NAME) == (before[0] + 1,)
        assert json.loads(journal.read_text())["before"] == {NAME: list(before)}
    assert read_setting(NAME) == before
    assert not journal.exists()
    assert said == []


def test_put_back_after_a_failure(journal: Path) -> None:
    before = read_setting(NAME)
    with pytest.raises(ZeroDivisionError), changed(more(NAME), print, journal):
        _ = 1 / 0
    assert read_setting(NAME) == before
    assert not journal.exists()


def test_put_back_when_the_second_one_cannot_be_set(journal: Path) -> None:
    before = read_setting(NAME)
    values = {**more(NAME), "net.ipv4.ip_local_port_range": (60_000, 50_000)}
    with pytest.raises(SettingsError, match="ip_local_port_range cannot be set"), changed(values, print, journal):
        pytest.fail("not reached")
    assert read_setting(NAME) == before
    assert not journal.exists()


def test_put_back_when_the_kernel_makes_something_else_of_it(journal: Path) -> None:
    before = read_setting(NAME)
    with changed({NAME: (before[0] + 1, 5, 6)}, print, journal):  # it is one number
        assert read_setting(NAME) == (before[0] + 1,)
    assert read_setting(NAME) == before


def test_nothing_to_change_touches_nothing(journal: Path) -> None:
    with changed({}, print, journal):
        assert not journal.exists()


HOLDER = """
import sys, time
from pathlib import Path
from loadtest.million.settings import changed
with changed({sys.argv[2]: (int(sys.argv[3]),)}, print, Path(sys.argv[1])):
    print("changed", flush=True)
    time.sleep(60)
"""


def holder(journal: Path, value: int) -> "subprocess.Popen[str]":
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(journal), NAME, str(value)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "changed\n"
    return child


def end(child: "subprocess.Popen[str]") -> None:
    child.send_signal(signal.SIGKILL)
    child.communicate()


def test_a_killed_run_is_put_back_by_restore(journal: Path) -> None:
    before, said = read_setting(NAME), list[str]()
    end(holder(journal, before[0] + 7))
    assert read_setting(NAME) == (before[0] + 7,)
    assert restore(said.append, journal)
    assert read_setting(NAME) == before
    assert said == [f"putting back what a run that was killed has left: {NAME}"]
    assert not restore(said.append, journal)


def test_a_killed_run_is_put_back_by_the_next_one(journal: Path) -> None:
    before = read_setting(NAME)
    end(holder(journal, before[0] + 7))
    with changed(more(OTHER), print, journal):
        assert read_setting(NAME) == before
    assert read_setting(NAME) == before


def test_what_somebody_else_has_set_meanwhile_stays(journal: Path) -> None:
    before, said = read_setting(NAME), list[str]()
    try:
        with changed(more(NAME), said.append, journal):
            write_setting(NAME, (before[0] + 5,))
        assert read_setting(NAME) == (before[0] + 5,)
    finally:
        write_setting(NAME, before)
    assert said == [f"{NAME} is left as it is: somebody has changed it meanwhile"]


def test_only_one_run_at_a_time(journal: Path) -> None:
    before = read_setting(NAME)
    child = holder(journal, before[0] + 1)
    try:
        with pytest.raises(SettingsError, match="another run"), changed(more(OTHER), print, journal):
            pytest.fail("not reached")
        with pytest.raises(SettingsError, match="another run"):
            restore(print, journal)
        with changed({}, print, journal):  # but who changes nothing may go on
            assert read_setting(NAME) == (before[0] + 1,)
        assert read_setting(NAME) == (before[0] + 1,)
    finally:
        end(child)
        restore(print, journal)
    assert read_setting(NAME) == before

"""`make bench` in small: it runs what is named, one after the other, and keeps what each of them measured."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.bench import usage
from tests.bench.catalogue import CATALOGUE
from tests.bench.report import plots, table
from tests.bench.report.figure import shown
from tests.servers.process import wait_until

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 300.0
QUICK = ("wire", "websocket", "link_codec", "storage")
SMALL = {
    "relay": ("--relays", "megaphone,haproxy", "--seconds", "0.1", "--idle", "50"),
    "web": (
        *("--only", "memory,cpu,pages", "--relays", "megaphone,nginx", "--servers", "websockets"),
        *("--seconds", "0.1", "--idle", "50", "--viewers", "20"),
    ),
    "cluster": ("--occupants", "9", "--messages", "8", "--sampled", "1", "--written", "30", "--heals", "1"),
    "link": ("--only", "memory,storm", "--servers", "prosody", "--clients", "40", "--storm", "40"),
}


def bench(*words: str, **how: Any) -> "subprocess.CompletedProcess[str]":
    """What the Makefile does."""
    command = [sys.executable, "-m", "tests.bench", *words]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False, **how
    )


def check_kept(out: Path, names: set[str]) -> None:
    """These tables are there, each with its plot, and nothing else."""
    kept = table.read(out)
    assert set(kept) == names
    assert {path.name for path in out.iterdir()} == {f"{name}.{kind}" for name in names for kind in ("json", "svg")}
    for name, each in kept.items():
        assert (out / f"{name}.svg").read_text() == plots.draw(each)
        assert all(figure.rounds for figure in each.figures)


def test_those_that_need_no_server(tmp_path: Path) -> None:
    """In turn, with a summary and JSON at the end."""
    done = bench(*QUICK, "--rounds", "1", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert list(facts["benchmarks"]) == list(QUICK)
    assert facts["failed"] == []
    assert not any(line.startswith('{"benchmark"') for line in done.stdout.splitlines())
    check_kept(tmp_path, {name for each in QUICK for name in CATALOGUE[each].tables})
    for name, each in table.read(tmp_path).items():
        assert each.circumstances is not None
        assert each.circumstances.command.startswith("make bench WHAT=")
        assert each.circumstances.command.endswith(" ROUNDS=1")
        assert not shown(each.figures) or f"\n{name}  " in done.stdout


@pytest.mark.parametrize("name", SMALL)
def test_those_with_servers(tmp_path: Path, name: str) -> None:
    done = bench(name, "--rounds", "1", "--out", str(tmp_path), "--", *SMALL[name])
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert (facts["benchmark"], facts["complete"]) == (name, True)
    names = {each["table"] for each in facts["tables"]}
    assert names <= set(CATALOGUE[name].tables)
    check_kept(tmp_path, names)
    for each in facts["tables"]:
        for figure in each["figures"]:
            assert set(figure["rounds"]) <= set(each["columns"])


def test_one_that_fails_does_not_keep_the_next_from_running(tmp_path: Path) -> None:
    """Relays need more descriptors than there are here; what is on disk needs few."""

    def few_descriptors() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1_000, 1_000))

    done = bench("relay", "storage", "--rounds", "1", "--out", str(tmp_path), preexec_fn=few_descriptors)
    assert done.returncode == 1
    assert "a process may have 1000 descriptors" in done.stderr
    assert "Traceback" not in done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["failed"] == ["relay"]
    assert facts["benchmarks"]["storage"]["complete"]
    check_kept(tmp_path, {"storage"})


def is_group(process_group: int) -> bool:
    """Whether any process of the group is left, a dead one that nobody has asked after included."""
    try:
        os.killpg(process_group, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_interrupted_run_keeps_what_it_has(tmp_path: Path) -> None:
    """Ctrl-C ends the benchmark that runs, and the others are not begun."""
    command = [sys.executable, "-m", "tests.bench", "storage", "relay", "wire", "--rounds", "1", "--out", str(tmp_path)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as child:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        assert child.stdout is not None
        for line in child.stdout:
            assert time.monotonic() < deadline
            if line.startswith("==== relay"):
                break
        wait_until(lambda: len(usage.tree(child.pid)) > 2, "something that the benchmark has started", TIMEOUT_SECONDS)
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to all of them
        output, errors = child.communicate(timeout=TIMEOUT_SECONDS)
    assert child.returncode == 1
    wait_until(lambda: not is_group(child.pid), "the end of all that the benchmark has started", TIMEOUT_SECONDS)
    assert "Traceback" not in errors
    assert json.loads(output.splitlines()[-1])["failed"] == ["relay", "wire"]
    check_kept(tmp_path, {"storage"})


@pytest.mark.parametrize("words", [("nothing",), ("storage", "nothing"), ("storage", "wire", "--", "--idle", "3")])
def test_what_it_cannot_do_is_said(words: tuple[str, ...]) -> None:
    done = bench(*words)
    assert done.returncode == 2
    assert "nothing" in done.stderr or "ARGS" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_list_names_them_all_and_each_is_there() -> None:
    done = bench("list")
    assert done.returncode == 0
    for name, each in CATALOGUE.items():
        assert f"\n  {name} " in done.stdout
        assert each.what in done.stdout
        assert (ROOT / "tests" / "bench" / f"{name}.py").is_file()

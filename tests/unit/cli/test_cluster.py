"""`megaphone cluster`: NATS is run and ends in order, and a check says in words why one cannot be used."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from megaphone.cli.main import main
from tests.servers.nats import NATS
from tests.servers.process import LOOPBACK, Process, free_port
from tests.unit.bus.test_membership import Node
from tests.unit.bus.test_nats import run


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NATS]:
    server = NATS(tmp_path / "nats", user="node", password="hush")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def password(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text("hush\n")
    return str(path)


def url(server: NATS) -> str:
    return f"nats://{LOOPBACK}:{server.settings.port}"


def test_a_check(nats: NATS, password: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["cluster", "check", url(nats), "--user", "node", "--password-file", password, "--cluster", "test"]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert f"{url(nats)}: ok, nats-server 2." in shown
    assert "nobody is in the cluster test" in shown

    async def scenario() -> None:
        import asyncio

        node = await Node(nats, 7).open()
        await asyncio.to_thread(both)
        await node.close()

    def both() -> None:
        assert main(words) == 0
        assert main([*words, "--json"]) == 0

    run(scenario())
    text, _, printed = capsys.readouterr().out.partition("{")
    assert "node7  00000000" in text
    (member,) = json.loads("{" + printed)["members"]
    assert member["name"] == "node7"
    assert member["node_key"] == (7).to_bytes(32, "big").hex()


def test_refused(nats: NATS, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("guess\n")
    assert main(["cluster", "check", url(nats), "--user", "node", "--password-file", str(wrong)]) == 1
    said = capsys.readouterr().err
    assert said == f"megaphone: error: {url(nats)}: Authorization Violation\n"


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", "check", f"nats://{LOOPBACK}:{free_port()}"]) == 3
    assert "nats://127.0.0.1:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "http://a"], "no URL of a NATS server"),
        (["check", "nats://me:hush@a"], "settings of their own"),
        (["check", "nats://a", "--cluster", "a.b"], "no name of a cluster"),
        (["check", "nats://a", "--user", "me"], "belong together"),
        (["check", "nats://a", "--certificate", "x.pem"], "belong together"),
        (["check", "nats://a", "--token-file", "/nowhere/token"], "No such file"),
        (["nats", "--user", "me"], "belong together"),
    ],
)
def test_usage(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cluster", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "hush" not in error


def test_nats_is_run_until_it_is_told_to_end(tmp_path: Path, password: str) -> None:
    port = free_port()
    directory = tmp_path / "engine"
    options = ["--directory", str(directory), "--port", str(port), "--user", "node", "--password-file", password]
    log = tmp_path / "log"
    process = Process(
        [sys.executable, "-m", "megaphone", "cluster", "nats", *options],
        directory=Path.cwd(),
        log=log,
        environment=os.environ,
    )
    try:
        process.wait_until(lambda: "NATS on nats://" in log.read_text(), "megaphone cluster nats")
        child = int(log.read_text().partition("pid ")[2].partition(",")[0])
        address = f"nats://{LOOPBACK}:{port}"
        assert main(["cluster", "check", address, "--user", "node", "--password-file", password]) == 0
        process.signal(signal.SIGTERM)
        assert process.wait(20.0) == 0
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
    finally:
        process.stop()


def test_nats_that_ends_by_itself(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = Process(
        [sys.executable, "-m", "megaphone", "cluster", "nats", "--directory", str(tmp_path / "engine"), "--port", "0"],
        directory=Path.cwd(),
        log=log,
        environment=os.environ,
    )
    try:
        process.wait_until(lambda: "NATS on nats://" in log.read_text(), "megaphone cluster nats")
        os.kill(int(log.read_text().partition("pid ")[2].partition(",")[0]), signal.SIGKILL)
        assert process.wait(20.0) == 1
        assert "NATS ended by itself" in log.read_text()
    finally:
        process.stop()


def test_nats_that_does_not_start(tmp_path: Path) -> None:
    options = ["--port", "0", "--certificate", "none", "--key", "none"]
    done = subprocess.run(
        [sys.executable, "-m", "megaphone", "cluster", "nats", "--directory", str(tmp_path), *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "did not start" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("action", ["nats", "up"])
def test_a_directory_that_cannot_be_used(action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = tmp_path / "taken"
    taken.touch()
    assert main(["cluster", action, "--directory", str(taken)]) == 1
    assert f" in {taken}: File exists\n" in capsys.readouterr().err

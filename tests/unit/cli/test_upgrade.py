"""`megaphone upgrade`, and `reload` with another program: what they print and how they exit."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from megaphone import __version__
from megaphone.cli.main import main
from tests.unit.supervisor.node_under_test import the_program
from tests.unit.supervisor.process_under_test import Start, Supervised

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run(node, behaviour, words...)` runs one command of the program that behaves so."""

    def call(node: Supervised, behaviour: str, *words: str, mode: str | None = None) -> tuple[int, str, str]:
        program = the_program(behaviour, mode or node.mode, node.directory)
        monkeypatch.setattr("megaphone.supervisor.program.installed", lambda: program)
        capsys.readouterr()
        code = main([*words, "--socket", node.socket])
        return code, *capsys.readouterr()

    return call


def without_seconds(text: str) -> list[str]:
    return [line.rpartition(", ")[0] if line.endswith(" s") else line for line in text.splitlines()]


def test_it_shows_how_it_goes_and_what_came_of_it(start: Start, run: Run) -> None:
    node = start()
    code, out, err = run(node, "newer", "upgrade")
    assert (code, err) == (0, "")
    assert without_seconds(out) == [
        f"supervisor: Megaphone 9.9, was {__version__}",
        "worker 0: 5 connections moved, 1 ended",
        "worker 1: 5 connections moved, 1 ended",
        "upgraded to Megaphone 9.9: 10 connections moved, 2 ended",
    ]
    code, out, _ = run(node, "newer", "upgrade")
    assert (code, out) == (0, "Megaphone 9.9 is this program already (--force replaces all processes)\n")
    pids = node.pids()
    code, out, _ = run(node, "newer", "upgrade", "--force", "--json")
    shown = json.loads(out)
    assert (code, shown["stage"], [row["moved"] for row in shown["workers"]]) == (0, "done", [5, 5])
    assert not set(pids) & set(node.pids())
    code, out, _ = run(node, "newer", "status")
    assert "  upgrade from 9.9 to 9.9 " in out
    assert "ago, done" in out
    assert [line.split()[1] for line in out.split("\n\n")[2].splitlines()] == ["VERSION", "9.9", "9.9"]
    # back to the old program
    assert run(node, "good", "upgrade")[0] == 0
    assert node.status()["version"] == __version__


def test_a_worker_that_cannot_hand_over_stops_it(start: Start, run: Run) -> None:
    node = start("refuse-hand-over")
    code, out, err = run(node, "newer", "upgrade")
    assert (code, out) == (1, f"supervisor: Megaphone 9.9, was {__version__}\n")
    assert err.startswith("megaphone: error: stopped: worker 0 did not hand over: too old; workers without a line")
    assert "upgrade from" in run(node, "newer", "status")[1]
    assert "failed: worker 0 did not hand over: too old" in run(node, "newer", "status")[1]


def test_a_program_that_cannot_go_on_is_refused(start: Start, run: Run) -> None:
    node = start()
    pids = node.pids()
    code, out, err = run(node, "cannot-read", "upgrade")
    assert (code, out) == (2, "")
    assert err == "megaphone: error: refused, nothing has changed: this program reads no states\n"
    code, out, err = run(node, "lies", "upgrade", "--json")
    assert (code, json.loads(out)["stage"], err) == (2, "refused", "")
    assert node.pids() == pids


def test_a_reload_with_another_program_upgrades_first(start: Start, run: Run) -> None:
    node = start()
    code, out, _ = run(node, "good", "reload")
    assert (code, out) == (0, "reloaded, in force in 2 workers\n")
    assert node.status()["upgrade"] is None
    config = Path(node.directory / "megaphone.toml")
    config.write_text(config.read_text().replace("deadline_seconds = 5.0", "deadline_seconds = 4.0"))
    code, out, _ = run(node, "newer", "reload")
    assert code == 0
    assert out.splitlines()[-2:] == [
        "upgraded to Megaphone 9.9: 10 connections moved, 2 ended",
        "reloaded, in force in 2 workers",
    ]
    assert "deadline_seconds = 4.0" in node.told(0, "reload")[-1]["config_text"]
    code, out, _ = run(node, "broken", "reload", "--json")
    assert (code, json.loads(out)["accepted"]) == (2, False)
    assert "a compiled module is missing" in json.loads(out)["reason"]
    assert run(node, "newer", "reload", "--json")[0] == 0


def _path(client: socket.socket) -> str:
    """That of the request, which is read to its end."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += client.recv(65_536)
    head, _, body = request.partition(b"\r\n\r\n")
    length = int((re.search(rb"(?i)content-length: (\d+)", head) or [0, 0])[1])
    while len(body) < length:
        body += client.recv(65_536)
    return head.split()[1].decode()


@pytest.fixture
def old_node(tmp_path: Path) -> Iterator[str]:
    """What answers as a Megaphone from before there were upgrades."""
    path = str(tmp_path / "s")
    answers = {
        "/upgrade": (404, {"error": "there is no /upgrade; there are /metrics, /status, /reload"}),
        "/status": (200, {"version": "0.0.9", "pid": 1}),
        "/reload": (200, {"accepted": True, "reason": "", "workers": {"0": "reloaded"}}),
    }
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(8)

        def serve() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client:
                    status, body = answers[_path(client)]
                    text = json.dumps(body).encode()
                    head = f"HTTP/1.1 {status} x\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
                    client.sendall(head.encode() + text)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield path
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def test_a_megaphone_from_before_there_were_upgrades(old_node: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upgrade", "--socket", old_node]) == 2
    assert "is of a version that cannot be upgraded while it runs; restart it" in capsys.readouterr().err
    assert main(["reload", "--socket", old_node]) == 0
    assert capsys.readouterr().out == "reloaded, in force in 1 workers\n"


def test_nobody_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upgrade", "--socket", str(tmp_path / "none")]) == 3
    assert "Megaphone is not running" in capsys.readouterr().err

"""The supervisor becomes another program: same process, same workers, and nobody on a socket notices."""

import contextlib
import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from megaphone import __version__
from tests.unit.supervisor.node_under_test import the_program
from tests.unit.supervisor.process_under_test import Start, Supervised


def say(client: socket.socket, text: bytes) -> bytes:
    client.sendall(text)
    return client.recv(100)


def test_everything_is_there_after_it(start: Start) -> None:
    node = start("echo+refuse-hand-over")
    os.kill(node.pids()[1], signal.SIGKILL)
    node.until(lambda: node.status()["workers"][1]["restarts"] == {"signal": 1}, "a crash in its history")
    node.until(lambda: node.status()["ready"], "ready again")
    before, pids = node.status(), node.pids()
    with socket.create_connection(("127.0.0.1", node.port), timeout=10) as client:
        assert say(client, b"before") == b"before"
        accepted = [node.metric(f'megaphone_connections_accepted_total{{worker="{index}"}}') for index in range(2)]
        asked = node.metric('megaphone_admin_requests_total{endpoint="/status",status="200"}')
        assert node.upgrade("newer")[0] == 202
        assert node.upgraded()["stage"] == "failed"  # by its workers, that is how they stay what they are
        assert say(client, b"after") == b"after"
    after = node.status()
    assert (before["version"], after["version"]) == (__version__, "9.9")
    assert (after["pid"], node.pids()) == (node.process.pid, pids)
    assert [worker["version"] for worker in after["workers"]] == [__version__] * 2
    for key in ("listen", "admin_address", "control_socket", "config_path", "domains"):
        assert after[key] == before[key]
    assert after["uptime_seconds"] >= before["uptime_seconds"] > 0
    assert after["workers"][1]["restarts"] == {"signal": 1}
    assert after["workers"][1]["last_exit"] == "killed by SIGKILL"
    assert [node.metric(f'megaphone_connections_accepted_total{{worker="{index}"}}') for index in range(2)] == accepted
    assert node.metric('megaphone_admin_requests_total{endpoint="/status",status="200"}') > asked
    assert len(node.request("GET", "/connections")[1]["connections"]) == 2, "the channels to the workers go on"
    environment = (node.directory / "environment").read_text()
    assert "MEGAPHONE_TEST=survives" in environment


def test_a_worker_that_dies_after_it_is_noticed_and_replaced(start: Start) -> None:
    node = start("refuse-hand-over")
    node.upgrade("newer", "healthy")
    node.upgraded()
    victim, other = node.pids()
    os.kill(victim, signal.SIGKILL)
    node.until(lambda: node.status()["workers"][0]["restarts"] == {"signal": 1}, "the crash was noticed")
    node.until(lambda: node.status()["ready"], "ready again")
    assert node.pids()[0] != victim
    assert node.pids()[1] == other
    assert [worker["version"] for worker in node.status()["workers"]] == ["9.9", __version__]
    # what is left of it: only the worker that still is what it was
    assert node.upgrade("newer", "healthy")[0] == 202
    assert [row["worker"] for row in node.request("GET", "/upgrade")[1]["workers"]] == [1]


def test_all_workers_follow(start: Start) -> None:
    node = start(workers=2)
    first = node.pids()
    assert node.upgrade("newer")[0] == 202
    upgrade = node.upgraded()
    assert (upgrade["stage"], upgrade["reason"], upgrade["from"], upgrade["to"]) == ("done", "", __version__, "9.9")
    assert [(row["worker"], row["stage"], row["moved"], row["ended"]) for row in upgrade["workers"]] == [
        (0, "done", 5, 1),
        (1, "done", 5, 1),
    ]
    assert all(row["seconds"] > 0 for row in upgrade["workers"])
    assert not set(first) & set(node.pids())
    assert [worker["version"] for worker in node.status()["workers"]] == ["9.9", "9.9"]
    assert node.metric('megaphone_upgrades_total{result="done"}') == 1
    assert node.metric('megaphone_upgrade_connections_total{result="moved"}') == 10
    assert node.metric('megaphone_upgrade_connections_total{result="ended"}') == 2
    assert node.metric('megaphone_worker_restarts_total{cause="upgrade",worker="0"}') == 1
    # the same program again: nothing to do, unless it is wished for
    assert node.upgrade("newer") == (200, {"accepted": True, "begun": False, "number": 1, "reason": ""})
    assert node.upgrade("newer", force=True)[0] == 202
    assert node.upgraded()["stage"] == "done"
    # and back
    assert node.upgrade("good")[0] == 202
    assert node.upgraded()["stage"] == "done"
    assert node.status()["version"] == __version__
    assert node.status()["workers"][0]["restarts"] == {"upgrade": 3}


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("cannot-read", "this program reads no states"),
        ("broken", "ImportError: a compiled module is missing"),
        ("talks", "the new program is not one that can take over: it did not say what it is"),
    ],
)
def test_a_program_that_cannot_go_on_changes_nothing(start: Start, behaviour: str, reason: str) -> None:
    node = start()
    pids = node.pids()
    status, answer = node.upgrade(behaviour)
    assert (status, answer) == (409, {"accepted": False, "begun": False, "reason": reason})
    assert node.status()["upgrade"]["stage"] == "refused"
    assert (node.status()["version"], node.pids()) == (__version__, pids)
    assert node.metric('megaphone_upgrades_total{result="refused"}') == 1
    assert node.upgrade("newer")[0] == 202, "the next one is not hindered by it"
    assert node.upgraded()["stage"] == "done"


def test_a_program_that_is_not_there_changes_nothing(start: Start) -> None:
    node = start()
    body = {"program": {"command": ["/nowhere/python"], "version": "9.9", "fingerprint": "x"}}
    status, answer = node.request("POST", "/upgrade", body)
    assert (status, answer["reason"]) == (409, "/nowhere/python cannot be started: No such file or directory")
    body = {"program": {"command": ["true"], "version": "9.9", "fingerprint": "x"}}
    assert node.request("POST", "/upgrade", body)[0] == 409
    for nonsense in ({}, {"program": {}}, {"program": {"command": []}}, {"program": {"command": ["a"] * 17}}):
        status, answer = node.request("POST", "/upgrade", nonsense)
        assert (status, "the body cannot be used" in answer["error"]) == (400, True)
    assert node.status()["version"] == __version__


def test_another_program_than_was_asked_for_is_refused(start: Start) -> None:
    node = start()
    newer = the_program("newer", node.mode, node.directory)
    named = {"command": newer.command, "python_path": newer.python_path, "version": "9.8", "fingerprint": "older"}
    body = {"program": named}
    status, answer = node.request("POST", "/upgrade", body)
    assert status == 409
    assert "9.9 (newer), not 9.8 (older)" in answer["reason"]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("lies", "the new program could not go on: division by zero"),
        ("vanishes", "cannot be started: No such file or directory"),
    ],
)
def test_a_program_that_fails_after_all_gives_way_to_the_one_before(start: Start, behaviour: str, reason: str) -> None:
    node = start("echo")
    pids = node.pids()
    with socket.create_connection(("127.0.0.1", node.port), timeout=10) as client:
        assert say(client, b"before") == b"before"
        assert node.upgrade(behaviour)[0] == 202
        upgrade = node.upgraded()
        assert upgrade["stage"] == "refused"
        assert reason in upgrade["reason"]
        assert say(client, b"after") == b"after"
    assert (node.status()["version"], node.pids()) == (__version__, pids)
    os.kill(pids[0], signal.SIGKILL)
    node.until(lambda: node.status()["workers"][0]["restarts"] == {"signal": 1}, "a crash is noticed")
    node.until(lambda: node.status()["ready"], "ready again")
    assert node.upgrade("newer", "healthy")[0] == 202
    node.upgraded()
    assert node.status()["version"] == "9.9"


def test_what_happens_in_between_is_seen_by_the_new_program(start: Start) -> None:
    node = start()
    victim, _ = node.pids()
    assert node.upgrade("slow")[0] == 202
    _wait_for_exec(node)
    os.kill(victim, signal.SIGKILL)
    (node.directory / "go").touch()
    assert node.upgraded()["stage"] == "done"
    assert node.status()["workers"][0]["restarts"] == {"signal": 1}, "a crash, and its replacement is the new one"
    assert node.status()["workers"][1]["restarts"] == {"upgrade": 1}


@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_in_between_is_for_the_new_program(start: Start, times: int) -> None:
    node = start("ignore-drain" if times == 2 else "healthy")
    _signal_in_between(node, times)


def test_so_is_one_that_a_shell_has_let_us_ignore(start: Start) -> None:
    """A shell starts what is to run in the background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        node = start("ignore-drain")
    finally:
        signal.signal(signal.SIGINT, before)
    _signal_in_between(node, 2)


def _signal_in_between(node: Supervised, times: int) -> None:
    assert node.upgrade("slow")[0] == 202
    _wait_for_exec(node)
    node.process.send_signal(signal.SIGTERM)
    if times == 2:
        node.process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    assert node.process.poll() is None
    (node.directory / "go").touch()
    assert node.process.wait(30) == 0, node.logged()
    deadlines = [drain["deadline_seconds"] for drain in node.told(0, "drain")]
    assert deadlines[-1] == (5.0 if times == 1 else 1.0)
    assert not Path(node.socket).exists()


def _wait_for_exec(node: Supervised) -> None:
    def command() -> list[str]:
        return Path(f"/proc/{node.process.pid}/cmdline").read_text().split("\0")

    node.until(lambda: "resume" in command(), "the new program has begun")


def test_nobody_is_refused_meanwhile(start: Start) -> None:
    node = start("accept")
    port, stop, failures, served = node.port, threading.Event(), [], [0, 0]

    def clients() -> None:
        while not stop.is_set():
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
                    assert client.recv(100)
                served[0] += 1
            except OSError as error:
                failures.append(error)

    def operators() -> None:
        while not stop.is_set():
            try:
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(30)
                    client.connect(node.socket)  # may be answered, or closed in order: but it is never refused
                    client.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    served[1] += client.recv(100).startswith(b"HTTP/1.1 200")
            except (ConnectionResetError, BrokenPipeError):
                continue
            except OSError as error:
                failures.append(error)

    threads = [threading.Thread(target=each) for each in (clients, operators)]
    for thread in threads:
        thread.start()
    try:
        for behaviour in ("newer", "good"):
            before = list(served)
            assert node.upgrade(behaviour)[0] == 202
            assert node.upgraded()["stage"] == "done"
            node.until(lambda: all(now > then for now, then in zip(served, before, strict=True)), "all are served")  # noqa: B023
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []


def test_a_request_that_is_being_answered_is_answered(start: Start) -> None:
    """Two at once: one is told, the other that it comes too late."""
    node = start("ignore-reload")
    answers: list[tuple[int, object]] = []
    thread = threading.Thread(target=lambda: answers.append(node.upgrade("slow")))
    thread.start()
    node.until(lambda: node.request("GET", "/upgrade")[1]["stage"] == "checking", "the first one is under way")
    assert node.upgrade("newer") == (
        409,
        {"accepted": False, "begun": False, "reason": "an upgrade is already under way"},
    )
    status, answer = node.request("POST", "/reload")
    assert (status, answer["reason"]) == (409, "an upgrade is already under way")
    assert node.request("POST", "/drain", {"worker": 0})[0] == 409
    thread.join()
    (node.directory / "go").touch()
    assert [status for status, _ in answers] == [202]
    assert node.upgraded()["stage"] == "done"


def test_no_descriptor_is_left_behind(start: Start) -> None:
    node = start()

    def held() -> Counter[str]:
        """What each descriptor of the supervisor is, without the numbers that differ each time."""
        links = []
        for path in Path(f"/proc/{node.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed just now
                links.append(os.readlink(path))
        return Counter(re.sub(r"(socket|pipe):\[\d+\]", r"\1", link) for link in links)

    assert node.upgrade("newer", force=True)[0] == 202
    assert node.upgraded()["stage"] == "done"
    allowed = held()  # perhaps with the socket of our last request, which is closed there a little later
    for behaviour in ("good", "lies", "vanishes", "newer", "good"):
        assert node.upgrade(behaviour, force=True)[0] == 202
        node.upgraded()
        node.until(lambda: held() <= allowed, f"no more than before: {behaviour}")  # noqa: B023
        allowed = held()


def test_systemd_sees_one_reload(start: Start, directory: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(directory / "notify"))
        systemd.settimeout(30)
        heard: list[str] = []
        node = start(notify_socket=str(directory / "notify"))

        def hear_until(line: str) -> None:
            while line not in heard:
                heard.extend(systemd.recv(4096).decode().split("\n"))

        hear_until("READY=1")
        heard.clear()
        assert node.upgrade("newer")[0] == 202
        assert node.upgraded()["stage"] == "done"
        hear_until("READY=1")
        states = [line for line in heard if line.startswith(("READY", "RELOADING", "STOPPING"))]
        assert states == ["RELOADING=1", "READY=1"]
        assert [line for line in heard if line.startswith("MONOTONIC_USEC=")]
        assert [line for line in heard if line.startswith("EXTEND_TIMEOUT_USEC=")]
        heard.clear()
        assert node.upgrade("broken")[0] == 409
        hear_until("READY=1")
        assert [line for line in heard if line.startswith("RELOADING")] == ["RELOADING=1"]


def test_the_secrets_are_not_on_the_command_line_nor_in_the_environment(start: Start) -> None:
    node = start()
    keys = node.told(0, "start")[0]["ticket_keys"]
    assert node.upgrade("newer")[0] == 202
    node.upgraded()
    assert node.told(0, "start")[-1]["ticket_keys"] == keys, "they went on, so that clients can resume"
    for name in ("cmdline", "environ"):
        assert keys[0] not in Path(f"/proc/{node.process.pid}/{name}").read_text()
    assert not [path for path in node.directory.iterdir() if path.is_file() and _holds(path, keys[0])]


def _holds(path: Path, text: str) -> bool:
    # what the stand-ins were told is noted by themselves
    return not path.name.startswith("worker-") and text.encode() in path.read_bytes()

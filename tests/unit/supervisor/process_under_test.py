"""A supervisor in a process of its own, with stand-in workers: what tests of its re-exec ask of it."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tests.unit.supervisor.node_under_test import CONFIG_TEXT, PATIENCE_SECONDS, messages, the_program

Start = Callable[..., "Supervised"]


class Supervised:
    """One node. `directory` has a short path: its sockets are in it."""

    def __init__(self, directory: Path, mode: str, *, workers: int = 2, notify_socket: str = "") -> None:
        self.directory = directory
        self.mode = mode
        self.socket = str(directory / "admin.sock")
        text = CONFIG_TEXT.format(workers=workers, socket=self.socket)
        (directory / "megaphone.toml").write_text(text)
        program = the_program("good", mode, directory)
        environment = program.environment(os.environ) | {"MEGAPHONE_TEST": "survives"}
        if notify_socket:
            environment["NOTIFY_SOCKET"] = notify_socket
        self.log = (directory / "log").open("a+")
        self.process = subprocess.Popen([*program.command, "start"], env=environment, stderr=self.log)
        self.until(self._runs, "it runs")

    def _runs(self) -> bool:
        assert self.process.poll() is None, self.logged()
        try:
            return bool(self.status()["phase"] == "running")
        except (FileNotFoundError, ConnectionRefusedError):
            return False

    def logged(self) -> str:
        return (self.directory / "log").read_text()

    def until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"never came true: {what}\n{self.logged()}"
            time.sleep(0.01)

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request to the control socket; it may be in the middle of a re-exec."""
        connection = http.client.HTTPConnection("localhost", timeout=PATIENCE_SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(PATIENCE_SECONDS)
        connection.sock.connect(self.socket)
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        text = response.read()
        connection.close()
        is_json = (response.headers["Content-Type"] or "").startswith("application/json")
        return response.status, json.loads(text) if is_json else text.decode()

    def status(self) -> dict[str, Any]:
        return self.request("GET", "/status")[1]

    def metric(self, name: str) -> float:
        page = self.request("GET", "/metrics")[1]
        (found,) = re.findall(rf"^{re.escape(name)} (\S+)$", page, re.MULTILINE)
        return float(found)

    def pids(self) -> list[int]:
        return [worker["pid"] for worker in self.status()["workers"]]

    def upgrade(self, behaviour: str, mode: str | None = None, *, force: bool = False) -> tuple[int, Any]:
        """Asks for it: the answer comes when the new program has said whether it can."""
        program = the_program(behaviour, mode or self.mode, self.directory)
        return self.request("POST", "/upgrade", {"program": msgspec.to_builtins(program), "force": force})

    def upgraded(self) -> dict[str, Any]:
        """How it ended, once it has."""
        self.until(lambda: self.request("GET", "/upgrade")[1]["stage"] in ("done", "failed", "refused"), "it ended")
        return self.request("GET", "/upgrade")[1]

    def told(self, index: int, kind: str) -> list[dict[str, Any]]:
        return [message for message in messages(self.directory, index) if message["type"] == kind]

    @property
    def port(self) -> int:
        return int(self.status()["listen"][0]["address"].rpartition(":")[2])

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self.log.close()

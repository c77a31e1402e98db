"""Megaphone as a run needs it: the embedded service, ANONYMOUS on a plain port and one with TLS."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from loadtest.million.certificate import write_certificate
from loadtest.million.node import ControlConnection, dies_with, toml

ADDRESS: Final = "127.0.0.1"
DOMAIN: Final = "localhost"
START_SECONDS: Final = 30.0
WORKER_START_SECONDS: Final = 5.0  # each, when many start at once on few processors
STOP_SECONDS: Final = 30.0
HEARTBEAT_SECONDS: Final = 30.0  # some fifty workers and as many load processes share each processor
POLL_SECONDS: Final = 0.1


class ServerError(Exception):
    """Megaphone did not start, or ended by itself; the message ends with the tail of its log."""


class Server:
    """A supervisor and its workers. It dies with us whatever kills us."""

    def __init__(self, directory: Path, *, workers: int, max_connections: int, backlog: int, tls: bool = False) -> None:
        self.port = free_port()
        self.tls_port = free_port() if tls else 0  # direct TLS (XEP-0368)
        self._admin_port = free_port()
        self._directory = directory
        self._workers = workers
        self._log = directory / "megaphone.log"
        self.control_socket = directory / "admin.sock"
        listen = [{"address": f"{ADDRESS}:{self.port}", "tls": "none", "backlog": backlog}]
        certificates = []
        if tls:
            chain, key = write_certificate(directory, DOMAIN)
            listen.append({"address": f"{ADDRESS}:{self.tls_port}", "tls": "direct", "backlog": backlog})
            certificates.append({"chain": str(chain), "key": str(key)})
        (directory / "megaphone.toml").write_text(
            toml(
                {
                    "node": {"workers": workers, "max_connections": max_connections},
                    "listen": listen,
                    "certificate": certificates,
                    "domain": [{"name": DOMAIN}],
                    "service": {"data": str(directory / "data"), "anonymous": True},
                    "limits": {"trusted_networks": ["127.0.0.0/8"]},
                    # A storm kills a quarter of all workers at once: that is more than an operator would call normal.
                    "restart": {
                        "heartbeat_timeout_seconds": HEARTBEAT_SECONDS,
                        "intensity": max(10, 2 * workers),
                        "start_timeout_seconds": START_SECONDS + WORKER_START_SECONDS * workers,
                    },
                    "admin": {"address": f"{ADDRESS}:{self._admin_port}", "socket": str(self.control_socket)},
                    "log": {"format": "json", "connections": False},
                }
            )
        )
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The supervisor; ServerError before `start`."""
        return self._started().pid

    def start(self) -> None:
        """Start, and return when all workers are ready for clients; ServerError."""
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603 - our own words
                [sys.executable, "-m", "megaphone", "serve", "--config", str(self._directory / "megaphone.toml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=dies_with(os.getpid()),
            )
        deadline = time.monotonic() + START_SECONDS + WORKER_START_SECONDS * self._workers
        while not self._ready():
            self.check()
            if time.monotonic() > deadline:
                raise ServerError(f"Megaphone is not ready for clients\n{self._log_tail()}")
            time.sleep(POLL_SECONDS)

    def check(self) -> None:
        """ServerError if it has ended."""
        child = self._started()
        if child.poll() is not None:
            raise ServerError(f"Megaphone ended with exit code {child.returncode}\n{self._log_tail()}")

    def status(self) -> dict[str, Any]:
        """What `megaphone status --json` says; OSError when it does not answer."""
        connection = ControlConnection(self.control_socket, timeout_seconds=10)
        try:
            connection.request("GET", "/status")
            answer: dict[str, Any] = json.load(connection.getresponse())
        finally:
            connection.close()
        return answer

    def stop(self) -> None:
        """End it: SIGTERM, and when that takes too long SIGKILL for supervisor and workers."""
        if self._child is None:
            return
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def logged(self, event: str) -> list[dict[str, Any]]:
        """All entries of its log about an event."""
        found = []
        for line in self._log.read_text(errors="replace").splitlines():
            if f'"{event}"' in line and line.startswith("{"):
                entry = json.loads(line)
                if entry.get("event") == event:
                    found.append(entry)
        return found

    def troubles(self, most: int = 20) -> list[str]:
        """The last warnings and errors of its log."""
        found = []
        for line in self._log.read_text(errors="replace").splitlines():
            if '"level":"info"' not in line.replace(" ", "") and line.startswith("{"):
                found.append(line[:500])
        return found[-most:]

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._child is None:
            raise ServerError("Megaphone was not started")
        return self._child

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection(ADDRESS, self._admin_port, timeout=10)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def _log_tail(self, lines: int = 20) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        port: int = probe.getsockname()[1]
        return port

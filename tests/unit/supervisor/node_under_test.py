"""A node in this process with stand-in workers, and what tests ask about it."""

import contextlib
import dataclasses
import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import trio

from megaphone import __version__
from megaphone.config.schema import Admin, Config, Domain, Drain, Listen, Node, Restart, Upgrade, Upstream
from megaphone.errors import MegaphoneError
from megaphone.supervisor.node import Node as RunningNode
from megaphone.supervisor.program import Program
from megaphone.supervisor.role import EDGE, Role

REPOSITORY = Path(__file__).parents[3]
STAND_IN = "tests.unit.supervisor.stand_in_worker"
PATIENCE_SECONDS = 60.0  # on a busy machine; nothing waits this long when it works

CONFIG_TEXT = """\
[node]
workers = {workers}
max_connections = 100

[[listen]]
address = "127.0.0.1:0"
tls = "none"

[[domain]]
name = "example.org"
upstreams = ["first"]

[[upstream]]
name = "first"
address = "127.0.0.1:5232"

[restart]
heartbeat_timeout_seconds = 5.0

[drain]
connections_per_second = 100
deadline_seconds = 5.0

[admin]
address = "127.0.0.1:0"
socket = "{socket}"
"""


def role(directory: Path, mode: str = "healthy") -> Role:
    """An edge with stand-in workers."""
    command = (sys.executable, "-m", STAND_IN, mode, str(directory))
    return dataclasses.replace(EDGE, worker_command=command, worker_module=STAND_IN)


def the_program(behaviour: str, mode: str, directory: Path) -> Program:
    """A supervisor's program in a process of its own (program.py), with stand-in workers of this mode."""
    interpreter = sys.executable
    if behaviour == "vanishes":
        interpreter = str(directory / "python")
        with contextlib.suppress(FileExistsError):
            os.symlink(sys.executable, interpreter)
    return Program(
        command=[interpreter, "-m", "tests.unit.supervisor.program", behaviour, mode, str(directory)],
        python_path=os.pathsep.join([str(REPOSITORY), *filter(None, sys.path)]),
        version="9.9" if behaviour == "newer" else __version__,
        fingerprint=behaviour,
    )


def messages(directory: Path, index: int) -> list[dict]:
    """What the stand-in workers of this index were told, oldest first."""
    path = directory / f"worker-{index}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def until(condition: Callable[[], object], what: str) -> None:
    """Waits until the condition holds; fails the test when it never does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never came true: {what}"
        await trio.sleep(0.01)


def make_config(
    directory: Path, *, workers: int = 2, drain_seconds: float = 5.0, upgrade_seconds: float = 120.0, **restart: float
) -> Config:
    """The configuration of CONFIG_TEXT, with other restart settings if given."""
    return Config(
        node=Node(workers=workers, max_connections=100),
        listen=(Listen(address="127.0.0.1:0", tls="none"),),
        domain=(Domain(name="example.org", upstreams=("first",)),),
        upstream=(Upstream(name="first", address="127.0.0.1:5232"),),
        restart=Restart(**({"heartbeat_timeout_seconds": 5.0} | restart)),
        drain=Drain(connections_per_second=100, deadline_seconds=drain_seconds),
        upgrade=Upgrade(deadline_seconds=upgrade_seconds),
        admin=Admin(address="127.0.0.1:0", socket=str(directory / "admin.sock")),
    )


class Running:
    """A node under test and, once it has ended, what it raised."""

    def __init__(self, node: RunningNode, directory: Path) -> None:
        self.node = node
        self.supervisor = node.supervisor
        self.directory = directory
        self.error: MegaphoneError | None = None
        self.ended = trio.Event()

    async def run(self) -> None:
        try:
            await self.node.run()
        except MegaphoneError as error:
            self.error = error
        self.ended.set()

    @property
    def port(self) -> int:
        return int(self.supervisor.listeners.bound[0].address.rpartition(":")[2])

    def told(self, index: int, kind: str) -> list[dict]:
        return [message for message in messages(self.directory, index) if message["type"] == kind]

    async def wait_ready(self) -> None:
        with trio.fail_after(PATIENCE_SECONDS):
            await self.supervisor.ready.wait()

    async def wait_ended(self) -> MegaphoneError | None:
        with trio.fail_after(PATIENCE_SECONDS):
            await self.ended.wait()
        return self.error

    async def get(self, path: str, **options: object) -> tuple[int, str]:
        """One request to the TCP admin address."""
        host, _, port = self.node.admin_address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_SECONDS)
        return await trio.to_thread.run_sync(lambda: _request(connection, path, **options))

    async def control(self, path: str, **options: object) -> tuple[int, str]:
        """One request to the control socket."""
        connection = http.client.HTTPConnection("localhost", timeout=PATIENCE_SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(PATIENCE_SECONDS)
        connection.sock.connect(self.supervisor.config.admin.socket)
        return await trio.to_thread.run_sync(lambda: _request(connection, path, **options))


def _request(
    connection: http.client.HTTPConnection,
    path: str,
    *,
    method: str = "GET",
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    text = body if body is None or isinstance(body, str) else json.dumps(body)
    connection.request(method, path, text, dict(headers or {}))
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, text


RunNode = Callable[..., AbstractAsyncContextManager[Running]]

"""A supervisor with stand-in workers, in this process and as a process of its own."""

import json
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import trio

from megaphone.config.schema import Admin, Config, Domain, Drain, Listen, Node, Restart, Upstream
from megaphone.errors import MegaphoneError
from megaphone.supervisor.supervisor import Supervisor

STAND_IN = str(Path(__file__).with_name("stand_in_worker.py"))
PATIENCE_SECONDS = 15.0  # on a busy machine; nothing waits this long when it works

CONFIG_TEXT = """\
[[listen]]
address = "127.0.0.1:0"
tls = "none"

[[domain]]
name = "example.org"
upstreams = ["first"]

[[upstream]]
name = "first"
address = "127.0.0.1:5232"
"""


def worker_command(directory: Path, mode: str = "healthy") -> tuple[str, ...]:
    return (sys.executable, STAND_IN, mode, str(directory))


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


def make_config(directory: Path, *, workers: int = 2, admin_address: str = "", **restart: float) -> Config:
    return Config(
        node=Node(workers=workers, max_connections=100),
        listen=(Listen(address="127.0.0.1:0", tls="none"),),
        domain=(Domain(name="example.org", upstreams=("first",)),),
        upstream=(Upstream(name="first", address="127.0.0.1:5232"),),
        restart=Restart(**({"heartbeat_timeout_seconds": 5.0} | restart)),
        drain=Drain(connections_per_second=100, deadline_seconds=5.0),
        admin=Admin(address=admin_address, socket=str(directory / "admin.sock")),
    )


class Running:
    """A supervisor under test and, once it has ended, what it raised."""

    def __init__(self, supervisor: Supervisor, directory: Path) -> None:
        self.supervisor = supervisor
        self.directory = directory
        self.error: MegaphoneError | None = None
        self.ended = trio.Event()

    async def run(self) -> None:
        try:
            await self.supervisor.run()
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


RunNode = Callable[..., AbstractAsyncContextManager[Running]]

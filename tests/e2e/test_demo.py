"""What `make run` and `make run-edge` print can be done as it stands there."""

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.demo.__main__ import WORKERS
from tests.link.server import run
from tests.scenarios.chatter import start
from tests.servers.process import Process, wait_until

ROOT = Path(__file__).parents[2]
COMMAND = re.compile(r"^  \.venv/bin/megaphone (.*)$", re.MULTILINE)
START_SECONDS = 60.0
STEP_SECONDS = 60.0


class Demo:
    """One that runs, in a directory of its own."""

    def __init__(self, module: str, directory: Path) -> None:
        self.directory = directory
        self.process = Process(
            [sys.executable, "-m", module],
            directory=directory,
            log=directory / "printed",
            environment={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self.process.wait_until(lambda: "log follows" in self.printed(), module, START_SECONDS)
        self.commands = [shlex.split(words) for words in COMMAND.findall(self.printed())]

    def printed(self) -> str:
        return self.process.log.read_text()

    def do(self, name: str) -> str:
        """What the command that was printed prints; it must end well."""
        done = self._run(name)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _run(self, name: str) -> subprocess.CompletedProcess[str]:
        words = next(words for words in self.commands if words[0] == name)
        return subprocess.run(
            [sys.executable, "-m", "megaphone", *words],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
            check=False,
        )

    def kill_worker(self, index: int) -> None:
        """`kill -9` a worker of a node that is ready."""
        wait_until(lambda: self._run("status").returncode == 0, "ready", STEP_SECONDS)
        status = self.do("status")
        row = re.search(rf"^{index} +\S+ +(\d+) +ready ", status, re.MULTILINE)
        assert row is not None, status
        os.kill(int(row[1]), signal.SIGKILL)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.signal(signal.SIGINT)
        assert self.process.wait(STEP_SECONDS) == 0
        assert self.printed().endswith("\nStopping\n")


@pytest.fixture
def demo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Demo]:
    """The demonstration of this module, deploy.demo unless another one is asked for."""
    demo = Demo(getattr(request, "param", "deploy.demo"), tmp_path)
    try:
        yield demo
    finally:
        demo.process.stop()


@pytest.mark.parametrize("demo", ["deploy.demo", "deploy.demo.edge"], indirect=True)
def test_what_is_printed_works(demo: Demo) -> None:
    assert "Traceback" not in demo.printed()
    assert re.search(r"^ok in ", demo.do("probe"), re.MULTILINE)
    assert "running, ready" in demo.do("status")
    for address in re.findall(r"http://localhost:\d+/\S*", demo.printed()):
        with urllib.request.urlopen(address, timeout=STEP_SECONDS) as answer:
            assert b"<title>" in answer.read()
    demo.interrupt()


def test_alice_and_bob_chat_and_go_on_after_each_kill(demo: Demo) -> None:
    """Their room lives in one of the two workers, so its death is among what they live through."""
    accounts = demo.do("user").splitlines()
    assert [line.partition(" ")[0] for line in accounts] == ["ACCOUNT", "alice@localhost", "bob@localhost"]
    (room, _, first, *options), (other_room, _, second, *_) = (
        words[1:] for words in demo.commands if words[0] == "chat"
    )
    assert room == other_room

    async def main() -> None:
        alice, bob = [await start(room, nick, options=tuple(options)) for nick in (first, second)]
        try:
            for chatter in (alice, bob):
                await chatter.until(lambda lines: any(second in line for line in lines), second)
                await chatter.until(lambda lines: any(first in line for line in lines), first)
            for number in range(WORKERS + 1):
                alice.type(f"hi {number}")
                bob.type(f"ho {number}")
                for chatter in (alice, bob):
                    await chatter.shows(f"[{first}] hi {number}")
                    await chatter.shows(f"[{second}] ho {number}")
                if number < WORKERS:
                    await asyncio.to_thread(demo.kill_worker, number)
            await asyncio.gather(alice.leave(), bob.leave())
        finally:
            await asyncio.gather(alice.kill(), bob.kill())

    run(main())
    demo.interrupt()

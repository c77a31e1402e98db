"""`run_node`: a node in this process with stand-in workers of a given mode; `start`: one in a process of its own."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from megaphone import log
from megaphone.config.schema import Config
from megaphone.supervisor.node import Node
from megaphone.supervisor.notify import Notifier
from tests.unit.supervisor.node_under_test import CONFIG_TEXT, Running, RunNode, make_config, role
from tests.unit.supervisor.process_under_test import Start, Supervised


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short path: a Unix socket's has at most 107 bytes."""
    made = Path(tempfile.mkdtemp(prefix="megaphone-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def run_node(directory: Path) -> RunNode:
    """`async with run_node(mode, config): ...` runs a node with stand-in workers of that mode."""

    @asynccontextmanager
    async def run(
        mode: str = "healthy", *, config: Config | None = None, notifier: Notifier | None = None, **settings: float
    ) -> AsyncIterator[Running]:
        log.configure(level="error")
        config = config or make_config(directory, **settings)
        path = directory / "megaphone.toml"
        path.write_text(CONFIG_TEXT.format(workers=config.node.workers, socket=config.admin.socket))
        node = Node(
            config,
            config_text=path.read_text(),
            config_path=str(path),
            notifier=notifier or Notifier(None),
            role=role(directory, mode),
        )
        running = Running(node, directory)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.run)
            yield running
            nursery.cancel_scope.cancel()

    return run


@pytest.fixture
def start(directory: Path) -> Iterator[Start]:
    """`start(mode)` starts a node in a process of its own."""
    started: list[Supervised] = []

    def begin(mode: str = "healthy", **options: object) -> Supervised:
        started.append(Supervised(directory, mode, **options))
        return started[-1]

    yield begin
    for each in started:
        each.end()

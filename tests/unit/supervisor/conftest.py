"""`run_node`: a supervisor in this process with stand-in workers of a given mode."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from node_under_test import CONFIG_TEXT, Running, RunNode, make_config, worker_command

from megaphone.config.schema import Config
from megaphone.supervisor.notify import Notifier
from megaphone.supervisor.supervisor import Supervisor


@pytest.fixture
def run_node(tmp_path: Path) -> RunNode:
    """`async with run_node(mode, config): ...` runs a supervisor with stand-in workers of that mode."""

    @asynccontextmanager
    async def run(mode: str = "healthy", config: Config | None = None, **settings: object) -> AsyncIterator[Running]:
        config = config or make_config(tmp_path, **settings)
        path = tmp_path / "megaphone.toml"
        path.write_text(CONFIG_TEXT)
        supervisor = Supervisor(
            config,
            config_text=CONFIG_TEXT,
            config_path=str(path),
            notifier=Notifier(None),
            worker_command=worker_command(tmp_path, mode),
        )
        running = Running(supervisor, tmp_path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.run)
            yield running
            nursery.cancel_scope.cancel()

    return run

"""`nats`: a real nats-server for one test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.nats import NATS


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NATS]:
    server = NATS(tmp_path / "nats")
    server.start()
    yield server
    server.stop()

"""The fake server and the edges that are put under adversity."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.model import DOMAIN, Endpoint
from tests.servers.process import LOOPBACK, Process, answers, free_port


@pytest.fixture(scope="session")
def fake_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """A running `tests.adversity.fake_server`."""
    endpoint = Endpoint(LOOPBACK, free_port(), "none")
    process = Process(
        [sys.executable, "-m", "tests.adversity.fake_server", str(endpoint.port)],
        directory=Path.cwd(),
        log=tmp_path_factory.mktemp("fake") / "fake.log",
        environment=os.environ,
    )
    try:
        process.wait_until(lambda: answers((endpoint.host, endpoint.port), DOMAIN), "fake server")
        yield endpoint
    finally:
        process.stop()

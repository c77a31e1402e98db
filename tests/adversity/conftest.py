"""The servers behind the edges that are put under adversity."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.link.sides import NO_ARCHIVE
from tests.servers.certificates import CertificateAuthority
from tests.servers.model import DOMAIN, Endpoint
from tests.servers.process import LOOPBACK, Process, answers, free_port
from tests.servers.prosody import Prosody


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


@pytest.fixture(scope="session")
def prosody_behind_edge(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Prosody]:
    """One without an archive, which would soon take longer for a crowd's messages than all else."""
    directory = tmp_path_factory.mktemp("prosody-adversity")
    server = Prosody(directory, authority, "edge")
    configuration = directory / "prosody.cfg.lua"
    configuration.write_text(NO_ARCHIVE + configuration.read_text())
    server.register()
    try:
        server.start()
        yield server
    finally:
        server.stop()

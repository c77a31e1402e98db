"""Fixtures for tests that need real servers; each server is started once per test run and stopped at its end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.certificates import CertificateAuthority
from tests.servers.ejabberd import Ejabberd
from tests.servers.prosody import Prosody


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    """The test run's certificate authority."""
    return CertificateAuthority(tmp_path_factory.mktemp("ca"))


def _prosody(directory: Path, authority: CertificateAuthority, *, behind_edge: bool) -> Iterator[Prosody]:
    server = Prosody(directory, authority, behind_edge=behind_edge)
    server.register()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def prosody(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Prosody]:
    """A Prosody that clients reach directly."""
    yield from _prosody(tmp_path_factory.mktemp("prosody"), authority, behind_edge=False)


@pytest.fixture(scope="session")
def prosody_behind_edge(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Prosody]:
    """The same Prosody with a plain listener: one instance cannot have both kinds."""
    yield from _prosody(tmp_path_factory.mktemp("prosody-behind"), authority, behind_edge=True)


@pytest.fixture(scope="session")
def ejabberd(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Ejabberd]:
    """An ejabberd with both kinds of listeners."""
    server = Ejabberd(tmp_path_factory.mktemp("ejabberd"), authority)
    try:
        server.start()
        yield server
    finally:
        server.stop()

"""Fixtures for tests that need real servers; each server is started once per test run and stopped at its end."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.alone import pytest_runtest_protocol
from tests.collection import pytest_collection
from tests.distribution import pytest_xdist_make_scheduler
from tests.servers.certificates import CertificateAuthority
from tests.servers.ejabberd import Ejabberd
from tests.servers.prosody import Front, Prosody

__all__ = ["pytest_collection", "pytest_runtest_protocol", "pytest_xdist_make_scheduler"]

# How long an example takes says how busy the machine is.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

# A scheduler of the Erlang VM that has nothing to do spins before it sleeps, which takes processors from other tests.
os.environ["ERL_AFLAGS"] = "+sbwt none +sbwtdcpu none +sbwtdio none"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    """The test run's certificate authority."""
    return CertificateAuthority(tmp_path_factory.mktemp("ca"))


def _prosody(directory: Path, authority: CertificateAuthority, front: Front) -> Iterator[Prosody]:
    server = Prosody(directory, authority, front)
    server.register()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def prosody(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Prosody]:
    """A Prosody that clients reach directly."""
    yield from _prosody(tmp_path_factory.mktemp("prosody"), authority, "public")


@pytest.fixture(scope="session")
def prosody_behind_edge(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Prosody]:
    """The same Prosody with a plain listener: without our module one instance cannot have both kinds."""
    yield from _prosody(tmp_path_factory.mktemp("prosody-behind"), authority, "edge")


@pytest.fixture(scope="session")
def prosody_with_module(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Prosody]:
    """A Prosody with mod_edge_interfaces and both kinds of listeners."""
    yield from _prosody(tmp_path_factory.mktemp("prosody-module"), authority, "both")


@pytest.fixture(scope="session")
def ejabberd(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Ejabberd]:
    """An ejabberd with both kinds of listeners."""
    server = Ejabberd(tmp_path_factory.mktemp("ejabberd"), authority)
    try:
        server.start()
        yield server
    finally:
        server.stop()

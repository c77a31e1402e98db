"""Megaphone in front of each server, started once per test run for the tests that leave it as they found it."""

from collections.abc import Iterator

import pytest

from tests.servers.certificates import CertificateAuthority
from tests.servers.ejabberd import Ejabberd
from tests.servers.megaphone import Edge, upstream_of
from tests.servers.prosody import Prosody


@pytest.fixture(scope="session")
def edge_of_prosody(
    tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority, prosody_behind_edge: Prosody
) -> Iterator[Edge]:
    """Megaphone in front of Prosody."""
    edge = Edge(tmp_path_factory.mktemp("edge-prosody"), authority, [upstream_of(prosody_behind_edge)])
    try:
        edge.start()
        yield edge
    finally:
        edge.stop()


@pytest.fixture(scope="session")
def edge_of_prosody_with_module(
    tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority, prosody_with_module: Prosody
) -> Iterator[Edge]:
    """Megaphone in front of the Prosody with our module."""
    edge = Edge(tmp_path_factory.mktemp("edge-prosody-module"), authority, [upstream_of(prosody_with_module)])
    try:
        edge.start()
        yield edge
    finally:
        edge.stop()


@pytest.fixture(scope="session")
def edge_of_ejabberd(
    tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority, ejabberd: Ejabberd
) -> Iterator[Edge]:
    """Megaphone in front of ejabberd."""
    edge = Edge(tmp_path_factory.mktemp("edge-ejabberd"), authority, [upstream_of(ejabberd)])
    try:
        edge.start()
        yield edge
    finally:
        edge.stop()

"""Megaphone in front of each server and by itself, started once per run for tests that leave it as they found it."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.scenarios.company import Script, play
from tests.servers.certificates import CertificateAuthority
from tests.servers.ejabberd import Ejabberd
from tests.servers.ejabberd_link import SECRET as EJABBERD_SECRET
from tests.servers.ejabberd_link import EjabberdLink
from tests.servers.embedded import Embedded
from tests.servers.hub import Hub
from tests.servers.linked import edge_with_links
from tests.servers.megaphone import Edge, upstream_of
from tests.servers.prosody import Prosody
from tests.servers.prosody_chat import ProsodyChat
from tests.servers.prosody_link import SECRET as PROSODY_SECRET
from tests.servers.prosody_link import ProsodyLink


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


@pytest.fixture(scope="session")
def prosody_with_links(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Prosody]:
    """A Prosody with mod_megaphone beside its public listeners."""
    server = ProsodyLink(tmp_path_factory.mktemp("prosody-links"), authority)
    server.register()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def edge_of_prosody_with_links(
    tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority, prosody_with_links: ProsodyLink
) -> Iterator[Edge]:
    """Megaphone with links into it."""
    directory = tmp_path_factory.mktemp("edge-prosody-links")
    with edge_with_links(directory, authority, prosody_with_links.link, PROSODY_SECRET) as edge:
        yield edge


@pytest.fixture(scope="session")
def ejabberd_with_links(
    tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority
) -> Iterator[Ejabberd]:
    """An ejabberd with ejabberd_megaphone beside its public listeners.

    Without -PLUS, as in the ejabberd of the other transcripts: its own listeners offer it for TLS 1.3 too, where a link
    has no binding that ejabberd 23.01 understands. What it does for TLS 1.2 is tested on its own.
    """
    server = EjabberdLink(tmp_path_factory.mktemp("ejabberd-links"), authority, archive=True)
    disabled = "disable_sasl_mechanisms:\n"
    server.config.write_text(server.config.read_text().replace(disabled, f'{disabled}  - "SCRAM-SHA-1-PLUS"\n', 1))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def edge_of_ejabberd_with_links(
    tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority, ejabberd_with_links: EjabberdLink
) -> Iterator[Edge]:
    """Megaphone with links into it."""
    directory = tmp_path_factory.mktemp("edge-ejabberd-links")
    with edge_with_links(directory, authority, ejabberd_with_links.link, EJABBERD_SECRET) as edge:
        yield edge


@pytest.fixture(scope="session")
def prosody_behind_hub(prosody: Prosody) -> Prosody:
    """What clients reach without the hub: the public Prosody, which has the settings of the one behind the hub."""
    return prosody


@pytest.fixture(scope="session")
def edge_of_prosody_behind_hub(
    tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority, prosody_behind_edge: Prosody
) -> Iterator[Edge]:
    """Megaphone with links to `megaphone hub` in front of a Prosody that has no module."""
    directory = tmp_path_factory.mktemp("edge-prosody-hub")
    hub = Hub(tmp_path_factory.mktemp("hub-prosody"), [upstream_of(prosody_behind_edge)])
    try:
        hub.start()
        assert isinstance(hub.link, tuple)
        with edge_with_links(directory, authority, hub.link, hub.secret) as edge:
            yield edge
    finally:
        hub.stop()


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Embedded]:
    """Megaphone with nothing behind it, on two workers: Bob and Carol are at home on one, Alice on the other."""
    service = Embedded(tmp_path_factory.mktemp("embedded"), authority)
    service.register()
    try:
        service.start()
        yield service
    finally:
        service.stop()


@pytest.fixture
def played(embedded: Embedded, authority: CertificateAuthority) -> Callable[[Script], None]:
    """Runs a script with slixmpp clients of the embedded service."""
    return lambda script: play(embedded, authority.certificate, script)


@pytest.fixture(scope="session")
def prosody_with_guests(
    tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority
) -> Iterator[ProsodyChat]:
    """A Prosody that lets in everybody, with rooms."""
    server = ProsodyChat(tmp_path_factory.mktemp("prosody-guests"), authority)
    server.register()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def home() -> Iterator[Path]:
    """A home with a short path: tmux puts a Unix socket into it."""
    made = Path(tempfile.mkdtemp(prefix="home-"))
    yield made
    shutil.rmtree(made)

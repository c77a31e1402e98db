"""`make_edge` and `make_server`: edges and scripted servers that are checked for left-overs at the end of each test."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from megaphone.sockets.tls_contexts import CertificateChoice, TLSContext
from megaphone.sockets.tls_tickets import set_ticket_keys
from tests.servers.certificates import CertificateAuthority
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer, open_descriptors

MakeEdge = Callable[..., EdgeUnderTest]
MakeServer = Callable[..., ScriptedServer]
TICKET_KEY = bytes(range(80))


@pytest.fixture
def make_server() -> Iterator[MakeServer]:
    """Make a scripted server: on loopback, or on a Unix socket if there is a path."""
    made: list[ScriptedServer] = []

    def make(path: Path | None = None, **options: Any) -> ScriptedServer:
        made.append(ScriptedServer(path, **options))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def make_edge(make_server: MakeServer, request: pytest.FixtureRequest) -> Iterator[MakeEdge]:
    """Make an edge in front of the given servers."""
    set_ticket_keys([TICKET_KEY])
    descriptors = open_descriptors()
    made: list[EdgeUnderTest] = []

    def make(*servers: ScriptedServer | str, **options: Any) -> EdgeUnderTest:
        made.append(EdgeUnderTest(*servers, **options))
        return made[-1]

    yield make
    for edge in made:
        edge.close()
    assert open_descriptors() - {edge.poller.fd for edge in made} <= descriptors


@pytest.fixture
def server(make_server: MakeServer) -> ScriptedServer:
    return make_server()


@pytest.fixture(scope="session")
def certificate(authority: CertificateAuthority) -> TLSContext:
    """A certificate for example.org."""
    files = authority.issue("example.org")
    return TLSContext(str(files.chain), str(files.key))


@pytest.fixture(scope="session")
def trusting_context(authority: CertificateAuthority) -> ssl.SSLContext:
    """What a client that trusts the test's authority has."""
    return ssl.create_default_context(cafile=str(authority.certificate))


@pytest.fixture(scope="session")
def certificates(certificate: TLSContext) -> CertificateChoice:
    return CertificateChoice([certificate])


@pytest.fixture(scope="session")
def openssl_certificates(authority: CertificateAuthority) -> CertificateChoice:
    """The same for a listener whose records stay in OpenSSL."""
    files = authority.issue("example.org")
    return CertificateChoice([TLSContext(str(files.chain), str(files.key))], record_layer="openssl")


@pytest.fixture(params=["own", "openssl"])
def either_certificates(
    request: pytest.FixtureRequest, certificates: CertificateChoice, openssl_certificates: CertificateChoice
) -> CertificateChoice:
    """One of the two in turn: whatever goes on with the records, a client sees no difference."""
    return certificates if request.param == "own" else openssl_certificates

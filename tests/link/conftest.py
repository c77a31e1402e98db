"""The server sides that the conformance suite runs against: `pytest tests/link -k ejabberd` takes one of them."""

from collections.abc import Iterator

import pytest

from tests.link.sides import SIDES, ServerSide
from tests.servers.certificates import CertificateAuthority


@pytest.fixture(scope="session", params=list(SIDES))
def side(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority
) -> Iterator[ServerSide]:
    """One running server side; a test that stops it starts it again."""
    server = SIDES[request.param](tmp_path_factory.mktemp(request.param), authority)
    try:
        server.start()
        yield server
    finally:
        server.stop()

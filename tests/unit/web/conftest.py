"""The edge's fixtures, for the HTTP that its listeners serve."""

from tests.unit.edge.conftest import (  # noqa: F401 - fixtures
    certificate,
    certificates,
    either_certificates,
    make_edge,
    make_server,
    openssl_certificates,
    server,
)
from tests.unit.web.bosh_dialogue import make_bosh  # noqa: F401 - a fixture

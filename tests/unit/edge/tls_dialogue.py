"""How a test's client comes to speak TLS."""

import ssl

from megaphone.sockets.tls_contexts import CertificateChoice
from tests.servers.certificates import CertificateAuthority
from tests.unit.edge.edge_under_test import EdgeUnderTest
from tests.unit.edge.peer import Peer


def trusting(
    authority: CertificateAuthority, alpn: list[str] | None = None, version: ssl.TLSVersion | None = None
) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if alpn is not None:
        context.set_alpn_protocols(alpn)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def connect_tls(
    edge: EdgeUnderTest, authority: CertificateAuthority, certificates: CertificateChoice, name: str = "example.org"
) -> Peer:
    address = edge.listen("direct", certificates=certificates)
    return edge.connect(address).start_tls(trusting(authority), name)

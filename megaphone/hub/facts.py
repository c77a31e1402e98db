"""What OPEN tells about a client, as the server behind the hub is told it: the PROXY v2 header."""

from megaphone.sockets.client_address import address_bytes
from megaphone.wire import proxy_protocol
from megaphone.wire.link_open import Open

_UNKNOWN = ("0.0.0.0", 0)  # noqa: S104 - an edge that listens on a Unix socket knows no address
_TLS_VERSIONS = {0x0303: "TLSv1.2", 0x0304: "TLSv1.3"}


def client_address(facts: Open) -> tuple[bytes, int]:
    """Return the client's address in 16 bytes, an IPv4 address mapped into IPv6, and its port."""
    text, port = facts.client or _UNKNOWN
    return address_bytes(text), port


def proxy_header(facts: Open) -> bytes:
    """Return the PROXY v2 header with the client's address and what its TLS towards the edge is like.

    Channel bindings have no place in it: a server behind the hub cannot offer SCRAM-PLUS.
    """
    tls = None
    if facts.tls_version:
        version = _TLS_VERSIONS.get(facts.tls_version, f"{facts.tls_version:#06x}")
        tls = proxy_protocol.TlsFacts(version=version, cipher=facts.cipher or "")
    return proxy_protocol.build_v2(
        source=facts.client or _UNKNOWN,
        destination=facts.local or _UNKNOWN,
        tls=tls,
        alpn=facts.alpn,
        authority=facts.server_name,
    )

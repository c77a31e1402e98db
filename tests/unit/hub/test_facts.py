"""What OPEN tells about a client, as the server behind the hub reads it."""

import pytest

from megaphone.hub.facts import client_address, proxy_header
from megaphone.sockets.client_address import address_text
from megaphone.wire.link_open import Open, Transport
from megaphone.wire.proxy_protocol import Parsed, TlsFacts, parse

CLIENT = ("192.0.2.77", 50_123)
LOCAL = ("198.51.100.2", 5_222)


def told(facts: Open) -> Parsed:
    header = proxy_header(Open.decode(facts.encode()))
    found = parse(header + b"<stream:stream")
    assert isinstance(found, Parsed)
    assert found.length == len(header)
    return found


def test_plain_client() -> None:
    found = told(Open(Transport.TCP, CLIENT, LOCAL))
    assert (found.source, found.destination) == (CLIENT, LOCAL)
    assert (found.tls, found.alpn, found.authority) == (None, None, None)


@pytest.mark.parametrize(("version", "text"), [(0x0303, "TLSv1.2"), (0x0304, "TLSv1.3"), (0x0305, "0x0305")])
def test_client_with_tls(version: int, text: str) -> None:
    found = told(
        Open(
            Transport.STARTTLS,
            ("2001:db8::7", 1),
            LOCAL,
            version,
            server_name="example.test",
            alpn=b"xmpp-client",
            cipher="TLS_AES_128_GCM_SHA256",
            tls_exporter=bytes(32),
        )
    )
    assert found.source == ("2001:db8::7", 1)
    assert found.tls == TlsFacts(text, "TLS_AES_128_GCM_SHA256")
    assert (found.alpn, found.authority) == (b"xmpp-client", "example.test")


def test_largest_facts_fit() -> None:
    """OPEN has at most 4,096 bytes and a PROXY header 4,112, with more around the same values."""
    fixed = len(Open(Transport.DIRECT_TLS, CLIENT, LOCAL, 0x0304, server_name="").encode())
    found = told(Open(Transport.DIRECT_TLS, CLIENT, LOCAL, 0x0304, server_name="n" * (4_096 - fixed)))
    assert found.authority == "n" * (4_096 - fixed)


def test_unknown_address() -> None:
    found = told(Open(Transport.TCP))
    assert found.source == ("0.0.0.0", 0)


@pytest.mark.parametrize("address", ["192.0.2.77", "2001:db8::77", "0.0.0.0"])
def test_address_in_sixteen_bytes(address: str) -> None:
    packed, port = client_address(Open(Transport.TCP, (address, 7)))
    assert (len(packed), port) == (16, 7)
    assert address_text(packed) == address

"""TLS clients of four stacks at the embedded service: login, 10,000 messages, and new keys in between."""

import base64
import re
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest

from tests.scenarios.tls_stacks import GnuTLSProgram, OpenSSLProgram, PythonSSL, Stack, TLSLite
from tests.servers.certificates import CertificateAuthority
from tests.servers.embedded import Embedded
from tests.servers.model import ALICE, BOB, Account, Endpoint

MESSAGES = 10_000
BETWEEN_NEW_KEYS = 2_000  # GnuTLS ends a connection with more than 8 KeyUpdates in a second
HEADER = (
    "<?xml version='1.0'?><stream:stream to='{domain}' xmlns='jabber:client'"
    " xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)


def log_in(stack: Stack, account: Account) -> str:
    """SASL PLAIN and binding; the full JID."""
    header = HEADER.format(domain=account.domain).encode()
    secret = base64.b64encode(f"\0{account.user}\0{account.password}".encode()).decode()
    stack.send(header)
    stack.inbox.take_through(b"</stream:features>")
    stack.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>".encode())
    stack.inbox.take_through(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
    stack.send(header)
    stack.inbox.take_through(b"</stream:features>")
    stack.send(b"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
    bound = re.search(rb"<jid>(.*?)</jid>", stack.inbox.take_through(b"</iq>"))
    assert bound is not None
    return bound[1].decode()


@pytest.mark.parametrize("account", [ALICE, BOB], ids=["brought home", "at home"])
@pytest.mark.parametrize("connect", [OpenSSLProgram, GnuTLSProgram, PythonSSL, TLSLite])
def test_messages_and_new_keys(
    embedded: Embedded,
    authority: CertificateAuthority,
    tmp_path: Path,
    connect: Callable[[Endpoint, Path], Stack],
    account: Account,
) -> None:
    """A client sends messages to itself; they come back in order, whatever keys they went under."""
    before = embedded.metric("megaphone_tls_record_layer_total", layer="own")
    trust = tmp_path / "ca.pem"
    trust.write_bytes(authority.certificate.read_bytes())
    stack = connect(embedded.direct, trust)
    try:
        to = quoteattr(log_in(stack, account))
        bodies: list[int] = []
        for first in range(0, MESSAGES, BETWEEN_NEW_KEYS):
            numbers = range(first, first + BETWEEN_NEW_KEYS)
            stack.send("".join(f"<message to={to}><body>{number}</body></message>" for number in numbers).encode())
            heard = stack.inbox.take_through(b"</message>", BETWEEN_NEW_KEYS)
            bodies += map(int, re.findall(rb"<body>(\d+)</body>", heard))
            stack.ask_for_new_keys()
        assert bodies == list(range(MESSAGES))
        stack.send(b"</stream:stream>")
        stack.inbox.take_through(b"</stream:stream>")
    finally:
        stack.close()
    assert stack.renewed() == (0 if connect is PythonSSL else MESSAGES // BETWEEN_NEW_KEYS)
    assert embedded.metric("megaphone_tls_record_layer_total", layer="own") == before + 1

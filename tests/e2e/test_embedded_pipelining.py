"""Clients that say more before they have read the answer (XEP-0305): nothing of it is lost, however reads cut it."""

import socket
import ssl
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter

import pytest
from scramp import ScramClient

from tests.servers.certificates import CertificateAuthority
from tests.servers.embedded import Embedded
from tests.servers.model import ALICE, BOB, CAROL, DOMAIN, Account

SECONDS = 30.0
HEADER = (
    f"<?xml version='1.0'?><stream:stream to='{DOMAIN}' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
AUTH = f"<auth xmlns='{SASL}' mechanism='ANONYMOUS'/>"
BIND = "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"


@contextmanager
def connected(embedded: Embedded, authority: CertificateAuthority, tls: str) -> Iterator[socket.socket]:
    endpoint = embedded.plain if tls == "none" else embedded.direct
    with socket.create_connection((endpoint.host, endpoint.port), timeout=SECONDS) as plain:
        if tls == "none":
            yield plain
        else:
            context = ssl.create_default_context(cafile=str(authority.certificate))
            with context.wrap_socket(plain, server_hostname=DOMAIN) as secured:
                yield secured


def read_until(connection: socket.socket, end: str) -> str:
    received = b""
    while end.encode() not in received:
        data = connection.recv(65_536)
        assert data, received
        received += data
    return received.decode()


@pytest.mark.parametrize("tls", ["none", "direct"])
@pytest.mark.parametrize("cut", [0, 40, len(HEADER), len(HEADER) + 10, len(HEADER + AUTH), len(HEADER + AUTH) + 40])
def test_a_whole_login_at_once(embedded: Embedded, authority: CertificateAuthority, tls: str, cut: int) -> None:
    """In one write, or in two, the second of which comes when the first has been answered as far as it can be."""
    text = HEADER + AUTH + HEADER + BIND
    with connected(embedded, authority, tls) as connection:
        connection.sendall(text[:cut].encode())
        seen = ""
        if cut >= len(HEADER + AUTH):
            seen = read_until(connection, "<success")
        elif cut >= len(HEADER):
            seen = read_until(connection, "</stream:features>")
        connection.sendall(text[cut:].encode())
        seen += read_until(connection, "<jid>")
    assert seen.count("<success") == 1
    assert seen.index("<mechanism>ANONYMOUS") < seen.index("<success") < seen.index("<jid>")


@pytest.mark.parametrize("tls", ["none", "direct"])
@pytest.mark.parametrize("account", [ALICE, BOB, CAROL], ids=attrgetter("user"))
def test_the_new_stream_said_with_the_last_word_of_the_login(
    embedded: Embedded, authority: CertificateAuthority, tls: str, account: Account
) -> None:
    """Also where the connection moves to the home of the account in between."""
    scram = ScramClient(["SCRAM-SHA-256"], account.user, account.password)
    with connected(embedded, authority, tls) as connection:
        first = b64encode(scram.get_client_first().encode()).decode()
        connection.sendall(f"{HEADER}<auth xmlns='{SASL}' mechanism='SCRAM-SHA-256'>{first}</auth>".encode())
        challenge = read_until(connection, "</challenge>").partition("<challenge")[2].partition(">")[2]
        scram.set_server_first(b64decode(challenge.partition("<")[0]).decode())
        final = b64encode(scram.get_client_final().encode()).decode()
        connection.sendall(f"<response xmlns='{SASL}'>{final}</response>{HEADER}{BIND}".encode())
        seen = read_until(connection, "<jid>")
    assert seen.index("<success") < seen.index("<jid>")


@pytest.mark.parametrize("account", [ALICE, BOB, CAROL], ids=attrgetter("user"))
def test_the_new_stream_said_with_the_password(
    embedded: Embedded, authority: CertificateAuthority, account: Account
) -> None:
    """It waits while the password is checked, and until the home of the account has taken the stream over."""
    message = b64encode(f"\0{account.user}\0{account.password}".encode()).decode()
    with connected(embedded, authority, "direct") as connection:
        connection.sendall(f"{HEADER}<auth xmlns='{SASL}' mechanism='PLAIN'>{message}</auth>{HEADER}{BIND}".encode())
        seen = read_until(connection, "<jid>")
    assert seen.count("<success") == 1
    assert seen.index("<mechanism>PLAIN") < seen.index("<success") < seen.index("<jid>")


@pytest.mark.parametrize("tls", ["none", "direct"])
@pytest.mark.parametrize(
    ("behind", "condition"),
    [("<a></b>", "not-well-formed"), ("<a>" * 100, "policy-violation"), ("<!-- -->", "restricted-xml")],
)
def test_what_stands_behind_a_header_is_judged(
    embedded: Embedded, authority: CertificateAuthority, tls: str, behind: str, condition: str
) -> None:
    with connected(embedded, authority, tls) as connection:
        connection.sendall((HEADER + behind).encode())
        seen = read_until(connection, "</stream:stream>")
    assert f"<stream:error><{condition} " in seen
    assert seen.index("</stream:features>") < seen.index("<stream:error>")

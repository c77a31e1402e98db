"""What trusted proxies say of a client's TLS, and what follows from it."""

import pytest

from megaphone.config.schema import WebSocket
from megaphone.edge.forwarded import client_of
from megaphone.edge.limits import WebSocketLimits
from megaphone.edge.opening import link_facts
from megaphone.sockets.client_address import address_bytes, address_text
from megaphone.wire.link_open import Open, Transport
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.edge_under_test import ScriptedServer
from tests.unit.edge.websocket_dialogue import upgraded

PROXY = "10.0.0.1"


@pytest.mark.parametrize(
    ("header", "address", "fields", "expected"),
    [
        ("x-forwarded-for", PROXY, [("x-forwarded-proto", "https")], (PROXY, True)),
        (
            "x-forwarded-for",
            PROXY,
            [("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", " HTTPS ")],
            ("192.0.2.1", True),
        ),
        ("x-forwarded-for", PROXY, [("x-forwarded-proto", "http")], (PROXY, False)),
        ("x-forwarded-for", PROXY, [("x-forwarded-proto", "https, http")], (PROXY, False)),
        ("x-forwarded-for", PROXY, [("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")], (PROXY, False)),
        ("x-forwarded-for", PROXY, [], (PROXY, False)),
        ("x-forwarded-for", PROXY, [("forwarded", "for=192.0.2.1;proto=https")], (PROXY, False)),
        ("x-forwarded-for", "192.0.2.9", [("x-forwarded-proto", "https")], ("192.0.2.9", False)),
        ("forwarded", PROXY, [("forwarded", "for=192.0.2.1;proto=https")], ("192.0.2.1", True)),
        ("forwarded", PROXY, [("forwarded", 'proto="https";for="192.0.2.1:5"')], ("192.0.2.1", True)),
        ("forwarded", PROXY, [("forwarded", "for=192.0.2.1;proto=http")], ("192.0.2.1", False)),
        ("forwarded", PROXY, [("forwarded", "for=192.0.2.1")], ("192.0.2.1", False)),
        ("forwarded", PROXY, [("forwarded", "for=192.0.2.1;proto=httpsx")], ("192.0.2.1", False)),
        # what stands before a stranger is his invention
        ("forwarded", PROXY, [("forwarded", "for=10.0.0.2;proto=https, for=192.0.2.1")], ("192.0.2.1", False)),
        ("forwarded", PROXY, [("forwarded", "for=192.0.2.1;proto=https, for=10.0.0.2")], ("192.0.2.1", True)),
        ("forwarded", PROXY, [("x-forwarded-proto", "https")], (PROXY, False)),
    ],
)
def test_who_has_tls(header: str, address: str, fields: list[tuple[str, str]], expected: tuple[str, bool]) -> None:
    settings = WebSocketLimits(WebSocket(forwarded_from=("10.0.0.0/8",), forwarded_header=header))  # type: ignore[arg-type]
    found, secured = client_of(
        address_bytes(address), [(name.encode(), value.encode()) for name, value in fields], settings
    )
    assert (address_text(found), secured) == expected


@pytest.mark.parametrize("proto", ["https", "http"])
def test_what_a_server_on_a_link_is_told(make_edge: MakeEdge, server: ScriptedServer, proto: str) -> None:
    edge = make_edge(server, websocket=WebSocket(forwarded_from=("127.0.0.0/8",)))
    upgraded(edge.connect(edge.listen(websocket=True)), "X-Forwarded-For: 192.0.2.1", f"X-Forwarded-Proto: {proto}")
    connection = edge.only()
    assert connection.in_tls is (proto == "https")
    assert connection.tls is None
    assert connection.describe()["tls"] is None
    told = Open.decode(link_facts(connection))
    assert (told.transport, told.tls_version) == (
        (Transport.WEBSOCKET_TLS, 0x0303) if proto == "https" else (Transport.WEBSOCKET, 0)
    )
    assert told.client == ("192.0.2.1", 0)


def test_plain_http_of_a_proxy_that_has_tls_where_tls_is_required(
    make_edge: MakeEdge, server: ScriptedServer, certificates: object
) -> None:
    edge = make_edge(server, websocket=WebSocket(forwarded_from=("127.0.0.0/8",)))
    address = edge.listen("both", websocket=True, certificates=certificates)  # type: ignore[arg-type]
    upgraded(edge.connect(address), "X-Forwarded-Proto: https")

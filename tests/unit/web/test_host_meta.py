"""XEP-0156: where XMPP over WebSocket and BOSH are found, from what listens, for whoever asks under whatever name."""

import json
from xml.etree import ElementTree

import pytest

from megaphone.config.load import parse
from megaphone.web.host_meta import host_meta_routes, places_of
from megaphone.web.routes import Routes
from megaphone.web.server import WebServer
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.edge_under_test import EdgeUnderTest
from tests.unit.web.http_dialogue import HTTPPeer

WEBSOCKET, BOSH = "urn:xmpp:alt-connections:websocket", "urn:xmpp:alt-connections:xbosh"
CONFIG = """
[[listen]]
address = "*:443"
tls = "both"
web = ["host-meta", "websocket", "bosh"]
[[listen]]
address = "*:5280"
tls = "none"
web = ["websocket"]
[[listen]]
address = "127.0.0.1:0"
tls = "none"
web = ["bosh"]
[[listen]]
address = "*:5222"
tls = "none"
[[certificate]]
chain = "c"
key = "k"
[[domain]]
name = "example.org"
"""


def asked(edge: EdgeUnderTest, host: str, target: str, more: str = "") -> bytes:
    config = parse(CONFIG + more, "/etc/m.toml")
    routes = host_meta_routes(places_of(config, {2: 4711}), config.web.public_url)
    client = HTTPPeer(edge.connect(edge.listen(web=WebServer(Routes(routes), config.web))))
    client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    answer = client.expect(200)
    assert answer.headers["access-control-allow-origin"] == "*"
    kind = "application/json" if target.endswith("json") else "application/xrd+xml; charset=utf-8"
    assert answer.headers["content-type"] == kind
    return answer.body


def found(body: bytes) -> list[tuple[str, str]]:
    return [(link["rel"], link["href"]) for link in json.loads(body)["links"]]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (
            "example.org",
            [
                (WEBSOCKET, "wss://example.org/xmpp-websocket"),
                (BOSH, "https://example.org/http-bind"),
                (WEBSOCKET, "ws://example.org:5280/xmpp-websocket"),
            ],
        ),
        (
            "localhost:8080",
            [
                (WEBSOCKET, "wss://localhost/xmpp-websocket"),
                (BOSH, "https://localhost/http-bind"),
                (WEBSOCKET, "ws://localhost:5280/xmpp-websocket"),
                (BOSH, "http://localhost:4711/http-bind"),
            ],
        ),
        ("'><evil/>", [(BOSH, "http://localhost:4711/http-bind")]),
    ],
)
def test_what_listens(make_edge: MakeEdge, host: str, expected: list[tuple[str, str]]) -> None:
    edge = make_edge("127.0.0.1:1")
    assert found(asked(edge, host, "/.well-known/host-meta.json")) == expected
    tree = ElementTree.fromstring(asked(edge, host, "/.well-known/host-meta"))
    assert tree.tag == "{http://docs.oasis-open.org/ns/xri/xrd-1.0}XRD"
    links = [(link.get("rel"), link.get("href")) for link in tree]
    assert links == expected


def test_a_public_address(make_edge: MakeEdge) -> None:
    edge = make_edge("127.0.0.1:1")
    body = asked(edge, "inner", "/.well-known/host-meta.json", '[web]\npublic_url = "https://chat.example.org"\n')
    assert found(body) == [
        (WEBSOCKET, "wss://chat.example.org/xmpp-websocket"),
        (BOSH, "https://chat.example.org/http-bind"),
    ]

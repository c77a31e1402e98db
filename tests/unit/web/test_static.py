"""Files of ours: their types, validators, compression, and that nothing else is served."""

import gzip
from pathlib import Path

import pytest

from megaphone.web.routes import Routes
from megaphone.web.server import WebServer
from megaphone.web.static import file_routes, read_directory
from tests.unit.edge.conftest import MakeEdge
from tests.unit.web.http_dialogue import HTTPPeer, Site, browser, request

SCRIPT = b"export const one = 1;\n" * 100


@pytest.fixture
def client(make_edge: MakeEdge, tmp_path: Path) -> HTTPPeer:
    (tmp_path / "deep").mkdir()
    (tmp_path / "index.html").write_bytes(b"<!doctype html>")
    (tmp_path / "deep" / "one.mjs.gz").write_bytes(gzip.compress(SCRIPT, mtime=0))
    (tmp_path / "secret.py").write_bytes(b"")
    routes = file_routes("/f/", read_directory(tmp_path), [(b"Content-Security-Policy", b"default-src 'self'")])
    server = WebServer(Routes(routes), Site().server().table)
    return browser(make_edge("127.0.0.1:1"), server)


def test_types_and_validators(client: HTTPPeer) -> None:
    answer = client.send(request("/f/index.html")).expect(200, b"<!doctype html>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == "default-src 'self'"
    assert answer.headers["cache-control"] == "no-cache"
    tag = answer.headers["etag"]
    for known in (tag, f'"other", W/{tag}', "*"):
        again = client.send(request("/f/index.html", f"If-None-Match: {known}")).expect(304, b"")
        assert again.headers["etag"] == tag
    client.send(request("/f/index.html", 'If-None-Match: "other"')).expect(200)


@pytest.mark.parametrize(("accepts", "compressed"), [("br, gzip", True), ("gzip;q=0", False), ("br", False)])
def test_compression(client: HTTPPeer, accepts: str, compressed: bool) -> None:
    answer = client.send(request("/f/deep/one.mjs", f"Accept-Encoding: {accepts}")).expect(200)
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers.get("content-encoding") == ("gzip" if compressed else None)
    assert (gzip.decompress(answer.body) if compressed else answer.body) == SCRIPT


@pytest.mark.parametrize("path", ["/f/secret.py", "/f/", "/f/deep", "/f/deep/one.mjs.gz", "/f/index.html/"])
def test_nothing_else(client: HTTPPeer, path: str) -> None:
    client.send(request(path)).expect(404)

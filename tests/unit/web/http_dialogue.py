"""A scripted HTTP client over a `Peer`, and a site for it: routes that answer at once, later, never, or at length."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any

from megaphone.config.schema import WebTable
from megaphone.sockets.tls_contexts import CertificateChoice
from megaphone.web.exchange import Exchange, Request
from megaphone.web.routes import Route, Routes
from megaphone.web.server import WebServer
from tests.unit.edge.edge_under_test import EdgeUnderTest
from tests.unit.edge.peer import Peer

GET, POST = frozenset({"GET"}), frozenset({"POST"})
BODY_LIMIT_BYTES = 100_000
LONG = bytes(range(256)) * 8192  # 2 MiB


@dataclass
class Site:
    """What the routes of a test have been asked, and what they do."""

    asked: list[Request] = field(default_factory=list)
    held: list[Exchange] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    def routes(self, *more: Route) -> Routes:
        return Routes(
            [
                Route("/", GET, self.answer),
                Route("/files/", GET, self.answer, prefix=True),
                Route("/open", GET, self.answer, cors=True),
                Route("/take", POST, self.answer, body_limit_bytes=BODY_LIMIT_BYTES),
                Route("/long", GET, self.answer_at_length),
                Route("/later", GET, self.hold),
                Route("/broken", GET, self.break_down),
                *more,
            ]
        )

    def server(self, *more: Route, **table: Any) -> WebServer:
        return WebServer(self.routes(*more), WebTable(**table))

    def answer(self, exchange: Exchange) -> None:
        self.asked.append(exchange.request)
        exchange.answer(200, [(b"Content-Type", b"text/plain")], exchange.request.path.encode())

    def answer_at_length(self, exchange: Exchange) -> None:
        exchange.answer(200, [], memoryview(LONG))

    def hold(self, exchange: Exchange) -> None:
        path = f"{exchange.request.path}?{exchange.request.query}"
        exchange.on_gone = lambda: self.gone.append(path)
        self.held.append(exchange)

    def break_down(self, exchange: Exchange) -> None:
        raise RuntimeError("a mistake of ours")


@dataclass
class Answer:
    """One answer, as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


def request(target: str = "/", *more: str, method: str = "GET", version: str = "HTTP/1.1", body: bytes = b"") -> bytes:
    lines = [f"{method} {target} {version}", "Host: example.org", *more]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class HTTPPeer:
    """One client that speaks HTTP."""

    peer: Peer

    def send(self, data: bytes) -> HTTPPeer:
        self.peer.send(data)
        return self

    def take(self, *, head_only: bool = False) -> Answer:
        """The next answer, whole."""
        head = self.peer.expect_through(b"\r\n\r\n").decode("latin-1")
        status, *lines = head.split("\r\n")[:-2]
        version, code, _ = status.split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        assert len(headers) == len(lines), "a field came twice"
        length = 0 if head_only else int(headers.get("content-length", "0"))
        self.peer.edge.until(lambda: len(self.peer.received) >= length or self.peer.ended, f"{length} bytes", self.peer)
        body = bytes(self.peer.received[:length])
        assert len(body) == length, "the answer was cut"
        del self.peer.received[:length]
        return Answer(int(code), headers, body)

    def expect(self, status: int, body: bytes | None = None) -> Answer:
        answer = self.take()
        assert answer.status == status, answer
        assert body is None or answer.body == body
        return answer

    def expect_last(self, status: int) -> Answer:
        """An answer that says it is the last one, and an orderly end."""
        answer = self.expect(status)
        assert answer.headers["connection"] == "close"
        self.peer.expect_end().close()
        return answer


def browser(edge: EdgeUnderTest, server: WebServer, **listener: Any) -> HTTPPeer:
    """A client of a new listener without TLS."""
    return HTTPPeer(edge.connect(edge.listen(web=server, **listener)))


def browser_in_tls(
    edge: EdgeUnderTest, server: WebServer, certificates: CertificateChoice, context: ssl.SSLContext, tls: str
) -> HTTPPeer:
    return HTTPPeer(edge.connect(edge.listen(tls, web=server, certificates=certificates)).start_tls(context))

"""What is served of ephemeral pages, to whom, and what waits for a window that reads slowly."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from megaphone.config.schema import Pages
from megaphone.pages.content import page_of
from megaphone.web.exchange import Request
from megaphone.web.pages import PagesService
from megaphone.web.routes import Routes

ADDRESS = b"\0" * 10 + b"\xff\xff\x7f\0\0\1"
PAGE = page_of(b"x" * 20_000)


@dataclass
class Asked:
    """A request and its answer (exchange.Exchange), or the message connection that it became (MessageConnection)."""

    request: Request
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    full: bool = False
    said: list[bytes] = field(default_factory=list)
    closed: tuple[int, str] | None = None
    subscriber: Any = None
    on_gone: Any = None
    answered: bool = False
    client_address: bytes = ADDRESS

    def answer(self, status: int, headers: Any = (), body: Any = b"") -> None:
        self.status, self.body = status, bytes(body)
        self.headers = {name.decode().lower(): value.decode() for name, value in headers}

    def open_messages(self, subscriber: Any, *, message_bytes: int, protocol: bytes | None = None) -> Asked:
        self.status, self.subscriber = 101, subscriber
        return self

    def send_text(self, text: bytes) -> bool:
        assert not self.full
        self.said.append(text)
        return True

    def close(self, code: int, reason: str = "") -> None:
        self.closed = (code, reason)
        self.subscriber.closed()

    def say(self, topic: str, event: str, payload: str = "{}") -> None:
        self.subscriber.take_text(f'["1","1","{topic}","{event}",{payload}]'.encode())


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def ask(service: PagesService, target: str, *headers: tuple[bytes, bytes], host: str = "example.org") -> Asked:
    path, _, query = target.partition("?")
    asked = Asked(Request("GET", path, query, headers, b"", ADDRESS, True, host))
    route = Routes(service.routes()).find(path)
    assert route is not None
    route.take(asked)
    return asked


@pytest.mark.parametrize(
    ("path", "status", "content_type"),
    [
        ("/", 200, "text/html; charset=utf-8"),
        (f"/{PAGE}", 200, "text/html; charset=utf-8"),
        (f"/{PAGE.upper()}", 404, None),
        (f"/{PAGE[:-1]}", 404, None),
        ("/favicon.ico", 404, None),
        ("/pages/app.js", 200, "text/javascript; charset=utf-8"),
        ("/pages/style.css", 200, "text/css; charset=utf-8"),
        ("/pages/icon.svg", 200, "image/svg+xml"),
        ("/pages/../schema.py", 404, None),
        ("/pages/", 404, None),
    ],
)
def test_what_is_served_where(
    loop: asyncio.AbstractEventLoop, path: str, status: int, content_type: str | None
) -> None:
    asked = ask(PagesService(loop, Pages()), path)
    assert (asked.status, asked.headers.get("content-type")) == (status, content_type)


def test_everything_that_the_page_loads_is_ours(loop: asyncio.AbstractEventLoop) -> None:
    service = PagesService(loop, Pages())
    text = ask(service, "/").body.decode()
    assert "http" not in text.replace("http-equiv", "")
    for name in ("app.js", "style.css", "icon.svg"):
        assert f'"/pages/{name}"' in text
    for name in ("content.js", "console.js", "frame.js", "socket.js"):
        assert f'"./{name}"' in ask(service, "/pages/app.js").body.decode()
        assert ask(service, f"/pages/{name}").status == 200


@pytest.mark.parametrize("host", ["example.org", "example.org:8443", "[::1]:80", "x'; script-src *", ""])
def test_the_policy_of_the_page(loop: asyncio.AbstractEventLoop, host: str) -> None:
    asked = ask(PagesService(loop, Pages()), "/", host=host)
    policy = dict(part.strip().split(" ", 1) for part in asked.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert "frame-src" not in policy  # a frame goes nowhere
    sockets = f" ws://{host} wss://{host}" if host in ("example.org", "example.org:8443", "[::1]:80") else ""
    assert policy["connect-src"] == f"'self'{sockets}"


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 101),
        (b"https://example.org", 101),
        (b"http://example.org", 101),
        (b"https://friend.example", 101),
        (b"https://evil.example", 403),
        (b"https://example.org.evil.example", 403),
        (b"https://example.org:8443", 403),
        (b"null", 403),
    ],
)
def test_who_may_connect(loop: asyncio.AbstractEventLoop, origin: bytes | None, status: int) -> None:
    service = PagesService(loop, Pages(origins=("https://friend.example",)))
    headers = () if origin is None else ((b"origin", origin),)
    assert ask(service, "/ws/websocket?vsn=2.0.0", *headers).status == status
    assert ask(PagesService(loop, Pages(origins=("*",))), "/ws/websocket", *headers).status == 101


def test_an_unknown_version_and_one_visitor_too_many(loop: asyncio.AbstractEventLoop) -> None:
    service = PagesService(loop, Pages(max_visitors=1))
    assert ask(service, "/ws/websocket?vsn=9.0.0").status == 400
    first = ask(service, "/ws/websocket?vsn=2.0.0&token=x")
    assert first.status == 101
    refused = ask(service, "/ws/websocket?vsn=2.0.0")
    assert (refused.status, refused.headers["retry-after"]) == (503, "10")
    first.subscriber.closed()
    assert ask(service, "/ws/websocket?vsn=2.0.0").status == 101


def reading_slowly(service: PagesService) -> tuple[Asked, Asked]:
    """A holder of a page, and a window that wants it and takes nothing now."""
    holder, slow = (ask(service, "/ws/websocket?vsn=2.0.0") for _ in range(2))
    holder.say(f"have:{PAGE}", "phx_join")
    slow.say(f"want:{PAGE}", "phx_join")
    slow.full = True
    return holder, slow


def bring(holder: Asked, slow: Asked) -> None:
    slow.say(f"want:{PAGE}", "content_request")
    holder.say(f"have:{PAGE}", "content", f'{{"content":"{"x" * 20_000}"}}')


def test_what_is_said_to_a_slow_window_waits_in_order(loop: asyncio.AbstractEventLoop) -> None:
    service = PagesService(loop, Pages())
    holder, slow = reading_slowly(service)
    heard = len(slow.said)
    bring(holder, slow)
    slow.say("all", "phx_join")
    assert len(slow.said) == heard
    slow.full = False
    loop.call_later(0.3, loop.stop)  # it is looked at 20 times a second
    loop.run_forever()
    events = [text.split(b",")[3] for text in slow.said[heard:]]
    assert events == [b'"content"', b'"phx_reply"']


def test_what_waits_for_a_slow_window_is_bounded(loop: asyncio.AbstractEventLoop) -> None:
    service = PagesService(loop, Pages(page_bytes=20_000, requests_per_second=1000.0, messages_per_second=1000.0))
    holder, slow = reading_slowly(service)
    for _ in range(20):
        bring(holder, slow)
    loop.run_until_complete(asyncio.sleep(0))
    assert slow.closed == (1013, "too slow")
    assert service.pages.counts.visitors == 1
    holder.subscriber.closed()
    assert not service.pages.directory.pages


def test_other_settings_hold_after_a_reload(loop: asyncio.AbstractEventLoop) -> None:
    service = PagesService(loop, Pages())
    service.apply(Pages(max_visitors=1, origins=("https://friend.example",)))
    assert ask(service, "/ws/websocket?vsn=2.0.0", (b"origin", b"https://friend.example")).status == 101
    assert ask(service, "/ws/websocket?vsn=2.0.0").status == 503

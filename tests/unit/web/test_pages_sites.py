"""Pages of two workers over one bus (bus.subjects): words, fetches, and sites that are gone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from megaphone.bus.ports import Limits, Message
from megaphone.bus.subjects import Subjects
from megaphone.pages.limits import PageLimits
from megaphone.pages.pages import Pages
from megaphone.pages.sites import NOTHING, site_subject
from megaphone.web.pages_sites import PagesSites
from tests.unit.pages.windows import ADDRESS, PAGE, TEXT


class Bus:
    """One bus for all of a test, and its time."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.now = 0.0
        self.waiting: deque[Callable[[], None]] = deque()
        self.faults: list[Exception] = []
        self.subjects = Subjects(None, later=self.waiting.append, fault=self.faults.append, limits=limits)
        self.pages: list[Pages] = []

    def site(self, number: int, node: str = "") -> tuple[Pages, PagesSites]:
        """One more worker."""
        name = f"{number:016x}"
        sites = PagesSites([self.subjects], name, lambda: self.now)
        sites.pages = Pages(
            PageLimits(), sites, site=name, pick=lambda _: 0, clock=lambda: self.now, node=node, worker=number
        )
        self.pages.append(sites.pages)
        return sites.pages, sites

    def wait(self, seconds: float = 0.0) -> None:
        """Let time pass, and everything arrive."""
        for _ in range(1 + int(seconds / 0.125)):
            while self.waiting:
                self.waiting.popleft()()
            self.now += 0.125 if seconds else 0.0
            self.subjects.sweep(self.now)
            for pages in self.pages:
                pages.sweep(self.now)
        assert self.faults == []


class Window:
    """Says things to one site."""

    def __init__(self, bus: Bus, pages: Pages) -> None:
        self.bus, self.pages = bus, pages
        self.heard: list[Any] = []
        self.visitor = pages.open(self, 2, ADDRESS, bus.now)

    def send_text(self, text: bytes) -> bool:
        self.heard.append(msgspec.json.decode(text))
        return True

    def close(self, code: int, reason: str = "") -> None:
        raise AssertionError(reason)

    def say(self, topic: str, event: str, **payload: Any) -> None:
        self.pages.take(self.visitor, msgspec.json.encode(["1", "1", topic, event, payload]), self.bus.now)

    def told(self, event: str) -> list[Any]:
        return [message[4] for message in self.heard if message[3] == event]


def test_a_fetch_from_another_site() -> None:
    bus = Bus()
    (here, _), (there, _) = bus.site(0), bus.site(1)
    holder, reader = Window(bus, there), Window(bus, here)
    holder.say(f"have:{PAGE}", "phx_join")
    bus.wait()
    reader.say(f"want:{PAGE}", "phx_join")
    reader.say(f"want:{PAGE}", "content_request")
    bus.wait(0.25)
    assert holder.told("content_request") == [{}]
    holder.say(f"have:{PAGE}", "content", content=TEXT, hash=PAGE)
    bus.wait()
    assert reader.told("content") == [{"content": TEXT}]
    assert here.directory.pages[PAGE].elsewhere == 1


def test_a_site_without_the_page_says_so_and_one_that_is_gone_is_counted_no_more() -> None:
    bus = Bus()
    here, sites = bus.site(0)
    there, _ = bus.site(1, node="a" * 16)
    Window(bus, there).say(f"have:{PAGE}", "phx_join")
    own = Window(bus, here)
    own.say(f"have:{PAGE}", "phx_join")
    bus.wait(0.25)
    assert own.told("visitors_count")[-1] == {"count": 2}
    answers: list[bytes | None] = []
    assert sites.fetch(f"{1:016x}", "0" * 64, answers.append)
    assert not sites.fetch("f" * 16, PAGE, answers.append)  # nobody has heard of it
    bus.wait()
    assert answers == [NOTHING]
    there.directory.pages.clear()  # it dies without a word
    sites.lose("a" * 16, None, "")
    bus.wait(0.25)
    assert own.told("visitors_count")[-1] == {"count": 1}


@pytest.mark.parametrize(
    ("node", "worker", "left"),
    [("a" * 16, None, {"b" * 16}), ("a" * 16, 7, {"b" * 16}), ("a" * 16, 8, {"a" * 16, "b" * 16}), (None, None, set())],
)
def test_which_sites_are_lost(node: str | None, worker: int | None, left: set[str]) -> None:
    bus = Bus()
    here, sites = bus.site(0, node="c" * 16)
    for number, other in ((7, "a" * 16), (9, "b" * 16)):
        pages, _ = bus.site(number, node=other)
        Window(bus, pages).say(f"have:{PAGE}", "phx_join")
    Window(bus, here).say(f"want:{PAGE}", "phx_join")
    bus.wait()
    sites.pages.ask_all = lambda _: None  # type: ignore[method-assign]  # else those who live say so
    sites.lose(node, worker, "c" * 16)
    assert {site.node for site in here.directory.pages[PAGE].sites.values()} == left


def test_what_nobody_understands_is_passed_over() -> None:
    bus = Bus()
    _, sites = bus.site(0)
    for payload in (b"", b"\xff", b"\x90", msgspec.msgpack.encode([PAGE, "short", 1, 1])):
        bus.subjects.publish(site_subject(f"{0:016x}"), payload)
    answers: list[Any] = []
    bus.subjects.request(site_subject(f"{0:016x}"), b"no page", 1.0, answers.append)
    bus.wait()
    assert answers == [NOTHING]
    assert sites._take(0, Message("x", b"\x93\x01\x02\x03")) is None


def test_there_is_room_for_so_many_pages_only() -> None:
    bus = Bus(Limits(subscriptions=2))
    here, _ = bus.site(0)
    window = Window(bus, here)
    window.say(f"have:{PAGE}", "phx_join")
    window.say(f"have:{'0' * 64}", "phx_join")
    assert [reply["response"] for reply in window.told("phx_reply")] == [{}, {"reason": "too_many_pages"}]

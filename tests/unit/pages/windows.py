"""Windows of browsers without a browser: what they say to one or several sites of pages, and what they are told."""

import json
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from megaphone.pages.content import page_of
from megaphone.pages.limits import PageLimits
from megaphone.pages.pages import Pages
from megaphone.pages.sites import NOTHING, decode_held, site_subject

ADDRESS = b"\0" * 10 + b"\xff\xff" + bytes([127, 0, 0, 1])
TEXT = "<h1>Hello</h1> ümläut"
PAGE = page_of(TEXT.encode())


class World:
    """Sites that hear each other, and their clock. What they say to each other arrives when `settle` is called."""

    def __init__(self, sites: int = 1, limits: PageLimits | None = None, seed: int = 1) -> None:
        self.now = 100.0
        self.random = random.Random(seed)
        self.waiting: deque[Callable[[], None]] = deque()
        self.interests: dict[str, set[str]] = {}
        self.dead: set[str] = set()
        self.sites: dict[str, Pages] = {}
        for number in range(sites):
            self.start(f"{number:016x}", limits or PageLimits())

    def start(self, site: str, limits: PageLimits, worker: int | None = None) -> None:
        """One more site, of another worker than all others if none is given."""
        self.sites[site] = Pages(
            limits,
            Wire(self, site),
            site=site,
            pick=self.random.randrange,
            clock=lambda: self.now,
            worker=len(self.sites) if worker is None else worker,
        )

    def pages(self, number: int = 0) -> Pages:
        """One of the sites."""
        return self.sites[f"{number:016x}"]

    def settle(self) -> None:
        """Let everything arrive that is under way."""
        while self.waiting:
            self.waiting.popleft()()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        self.settle()
        while (soonest := min(site.next for site in self.sites.values())) <= until:
            self.now = max(self.now, soonest)
            for site in self.sites.values():
                site.sweep(self.now)
            self.settle()
        self.now = until

    def vanish(self, number: int) -> None:
        """A site is gone, and nobody is told."""
        dead = f"{number:016x}"
        self.dead.add(dead)
        self.sites.pop(dead)
        for heard in self.interests.values():
            heard.discard(dead)

    def kill(self, number: int) -> None:
        """A site dies, and the others hear of it."""
        dead = f"{number:016x}"
        self.vanish(number)
        for site in self.sites.values():
            site.lose_sites(lambda lost: lost.site == dead, self.now)


class Wire:
    """What one site says to the others (ports.Elsewhere)."""

    def __init__(self, world: World, site: str) -> None:
        self.world = world
        self.site = site

    def tell(self, subject: str, payload: bytes) -> bool:
        for site in sorted(self.world.interests.get(subject, ())):
            self._later(site, payload)
        return True

    def tell_site(self, site: str, payload: bytes) -> bool:
        assert site_subject(site)
        self._later(site, payload)
        return True

    def _later(self, site: str, payload: bytes) -> None:
        def arrive() -> None:
            if site in self.world.sites and self.site not in self.world.dead:
                self.world.sites[site].take_word(decode_held(payload), self.world.now)

        self.world.waiting.append(arrive)

    def interest(self, subject: str) -> bool:
        self.world.interests.setdefault(subject, set()).add(self.site)
        return True

    def lose_interest(self, subject: str) -> None:
        self.world.interests[subject].discard(self.site)

    def fetch(self, site: str, page: str, answered: Callable[[bytes | None], None]) -> bool:
        def answer(payload: bytes) -> None:
            if site not in self.world.dead:
                self.world.waiting.append(lambda: answered(payload))

        def arrive() -> None:
            if site in self.world.sites:
                self.world.sites[site].take_request(page, answer, self.world.now)
            else:
                self.world.waiting.append(lambda: answered(NOTHING))

        self.world.waiting.append(arrive)
        return True


class Window:
    """One connection, which speaks the second shape of messages."""

    def __init__(self, world: World, site: int = 0, *, honest: bool = True, address: bytes = ADDRESS) -> None:
        self.world = world
        self.pages = world.pages(site)
        self.heard: list[list[Any]] = []
        self.closed: tuple[int, str] | None = None
        self.honest = honest
        self.texts: dict[str, str] = {}
        self._ref = 0
        self.visitor = self.pages.open(self, 2, address, world.now)

    # what the site calls
    def send_text(self, text: bytes) -> bool:
        if self.closed is not None:
            return False
        message = json.loads(text)
        self.heard.append(message)
        if message[3] == "content_request" and self.honest:
            topic = message[2]
            self.world.waiting.append(lambda: self.answer(topic))
        return True

    def close(self, code: int, reason: str = "") -> None:
        if self.closed is None:
            self.closed = (code, reason)
            self.world.waiting.append(self.leave)

    # what the window does
    def push(self, topic: str, event: str, payload: Any, join_ref: str | None = None) -> str:
        self._ref += 1
        message = [join_ref, str(self._ref), topic, event, payload]
        self.pages.take(self.visitor, json.dumps(message).encode(), self.world.now)
        return str(self._ref)

    def answer(self, topic: str) -> None:
        page = topic.removeprefix("have:")
        if self.closed is None:
            self.push(topic, "content", {"content": self.texts.get(page, ""), "hash": page})

    def have(self, text: str = TEXT, **parameters: Any) -> "Window":
        page = page_of(text.encode())
        self.texts[page] = text
        self.push(f"have:{page}", "phx_join", parameters)
        return self

    def want(self, page: str = PAGE, **parameters: Any) -> "Window":
        self.push(f"want:{page}", "phx_join", parameters)
        self.push(f"want:{page}", "content_request", {"hash": page})
        return self

    def leave(self) -> None:
        self.pages.gone(self.visitor, self.world.now)

    def payloads(self, event: str) -> list[Any]:
        return [message[4] for message in self.heard if message[3] == event]

    @property
    def contents(self) -> list[str]:
        return [payload["content"] for payload in self.payloads("content")]

    @property
    def count(self) -> int:
        """What it was told last."""
        return int(self.payloads("visitors_count")[-1]["count"])

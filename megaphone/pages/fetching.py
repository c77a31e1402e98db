"""Brings a page from one of its holders to those who want it.

    content_request ─► one holder, by chance, here or elsewhere ─► content, its hash checked ─► all here who want it
                       └ 300 ms later, if it owes that still: another one
                       └ it leaves, lies, or its site has nothing: the next one, at once

One fetch of a page is under way at a time on a worker; whoever is there when it comes gets it, also who has not asked
yet (the original's windows ask after two seconds). Who asks again when it has been under way for a while has a further
holder asked. Nothing is kept: without a holder nobody is answered, and should
one come within WANT_SECONDS it is asked. Other sites' requests are answered from the holders here.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from megaphone.pages.content import PART_CHARACTERS, page_of, parts_of
from megaphone.pages.page import Channel, Page, Site
from megaphone.pages.phoenix import encode
from megaphone.pages.sites import FOUND, NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.pages.agenda import Agenda
    from megaphone.pages.directory import Directory
    from megaphone.pages.ports import Elsewhere
    from megaphone.pages.visitor import Counts

HEDGE_SECONDS = 0.3
WANT_SECONDS = 10.0
SITE_SECONDS = 5.0  # that another site's request waits for a holder here
REPLIES_LIMIT = 256  # requests of other sites for one page
TURN_BYTES = 8_388_608  # of contents written at once; those who wait longest first
TURN_SECONDS = 0.01


class Delivery:
    """One content on its way to those who want it, rendered once for each shape of messages."""

    __slots__ = ("_content", "_rendered", "page", "waiting")

    def __init__(self, page: Page, content: str, waiting: list[Channel]) -> None:
        self.page = page
        self.waiting = deque(waiting)
        self._content = content
        self._rendered: dict[tuple[int, bool], list[bytes]] = {}

    def messages(self, channel: Channel) -> list[bytes]:
        """Return what this channel is to be sent."""
        parts = channel.parts and len(self._content) > PART_CHARACTERS
        key = (channel.visitor.version, parts)
        if key not in self._rendered:
            if parts:
                texts = parts_of(self._content)
                payloads = [{"index": i, "count": len(texts), "part": text} for i, text in enumerate(texts)]
            else:
                payloads = [{"content": self._content}]
            event = "content_part" if parts else "content"
            self._rendered[key] = [encode(channel.visitor.version, channel.topic, event, each) for each in payloads]
        return self._rendered[key]


class Fetching:
    """The fetches of one worker."""

    def __init__(
        self,
        elsewhere: Elsewhere,
        agenda: Agenda,
        counts: Counts,
        pick: Callable[[int], int],
        clock: Callable[[], float],
    ) -> None:
        self.directory: Directory
        self._elsewhere = elsewhere
        self._agenda = agenda
        self._counts = counts
        self._pick = pick
        self._clock = clock
        self._deliveries: deque[Delivery] = deque()
        self._next_turn = -inf

    # --- who wants it ------------------------------------------------------------

    def request(self, page: Page, channel: Channel, now: float) -> None:
        """One who wants the page asks for it, perhaps not for the first time."""
        channel.waits, channel.served = True, False
        page.wanted_until = now + WANT_SECONDS
        self._counts.requests += 1
        if not page.open or now - page.asked_at >= HEDGE_SECONDS:
            self._ask(page, now)

    def take_site_request(self, page: Page | None, reply: Callable[[bytes], object], now: float) -> None:
        """Another site asks for a page; `reply` takes the answer."""
        if page is None or not page.holders or len(page.replies) >= REPLIES_LIMIT:
            reply(NOTHING)
            return
        page.replies.append((partial(_reply, reply), now + SITE_SECONDS))
        self._agenda.add(now + SITE_SECONDS, page)
        self._ask(page, now, here=True)

    def more(self, page: Page, now: float) -> None:
        """There is another holder: those who were not answered may be now."""
        if self._pending(page, now) and not page.open:
            self._ask(page, now)

    def _pending(self, page: Page, now: float) -> bool:
        return now < page.wanted_until and any(channel.waits for channel in page.wants)

    # --- who is asked ------------------------------------------------------------

    def _ask(self, page: Page, now: float, *, here: bool = False) -> None:
        chosen = page.choose(self._pick, here=here)
        if chosen is None:
            self._end_replies(page)
            if not here:
                self.directory.ask_sites(page, now)
            return
        page.asked_at = now
        page.open += 1
        page.hedge_due = now + HEDGE_SECONDS
        self._agenda.add(page.hedge_due, page)
        self._counts.asks += 1
        if isinstance(chosen, Site):
            self._ask_site(page, chosen)
            return
        asked_before = chosen.asked_at
        chosen.asked_in = page.fetch
        if asked_before is None or now - asked_before >= HEDGE_SECONDS:  # else what it was asked for is on its way
            chosen.asked_at = now
            chosen.visitor.push(chosen, "content_request", {})

    def _ask_site(self, page: Page, site: Site) -> None:
        site.asked += 1
        if not self._elsewhere.fetch(site.site, page.name, partial(self._answered, page, site, page.fetch)):
            site.asked -= 1  # no room: the hedge tries again

    def _answered(self, page: Page, site: Site, fetch: int, answer: bytes | None) -> None:
        now = self._clock()
        site.asked -= 1
        if answer is not None and answer[:1] == FOUND:
            content = answer[1:]
            if page_of(content) == page.name:
                self._deliver(page, content.decode(), now)
                return
            self._counts.bad_hashes += 1
            answer = NOTHING
        if answer is not None:
            self.directory.has_nothing(page, site.site, now)
        self._failed(page, fetch, now)

    def _failed(self, page: Page, fetch: int, now: float) -> None:
        """One that was asked for this fetch will not answer: the next one is."""
        if fetch != page.fetch or not page.open:
            return
        page.open -= 1
        if page.replies and page.holders:
            self._ask(page, now, here=True)
            return
        self._end_replies(page)
        if self._pending(page, now):
            self._ask(page, now)

    def holder_gone(self, page: Page, channel: Channel, now: float) -> None:
        """One holds the page no more; perhaps it was asked for it."""
        if channel.asked_at is not None:
            channel.asked_at = None
            self._failed(page, channel.asked_in, now)

    def look(self, page: Page, now: float) -> None:
        """Do what is due; the agenda says when."""
        if page.hedge_due <= now:
            page.hedge_due = inf
            if page.open and self._pending(page, now):
                self._counts.hedges += 1
                self._ask(page, now)
                page.hedge_due = inf  # a third is asked when somebody asks again
        if page.replies and page.replies[0][1] <= now:
            late = [reply for reply, until in page.replies if until <= now]
            page.replies = [each for each in page.replies if each[1] > now]
            for reply in late:
                reply(None)
        if page.open and now >= page.wanted_until and not page.replies:
            self._end(page)

    # --- what comes ------------------------------------------------------------

    def take_content(self, page: Page, channel: Channel, content: str, now: float) -> bool:
        """Take what a holder says the page is; False if it is not."""
        encoded = content.encode()
        if len(encoded) > self.directory.limits.page_bytes or page_of(encoded) != page.name:
            return False
        channel.asked_at = None
        self._deliver(page, content, now)
        return True

    def _deliver(self, page: Page, content: str, now: float) -> None:
        self._end(page)
        replies, page.replies = page.replies, []
        for reply, _ in replies:
            reply(content)
        waiting = [channel for channel in page.wants if not channel.served]
        if waiting:
            self._deliveries.append(Delivery(page, content, waiting))
            self.work(now)

    def _end(self, page: Page) -> None:
        """The fetch is over; who was asked for it and owes an answer still, owes it."""
        page.fetch += 1
        page.open = 0
        page.hedge_due = inf

    def _end_replies(self, page: Page) -> None:
        replies, page.replies = page.replies, []
        for reply, _ in replies:
            reply(None)

    # --- deliveries ------------------------------------------------------------

    @property
    def next(self) -> float:
        """When there is more to be written; infinity if all is."""
        return self._next_turn if self._deliveries else inf

    def work(self, now: float) -> None:
        """Write a turn's worth of what waits."""
        if now < self._next_turn:
            return
        written = 0
        while self._deliveries and written < TURN_BYTES:
            delivery = self._deliveries[0]
            if not delivery.waiting:
                self._deliveries.popleft()
                continue
            channel = delivery.waiting.popleft()
            if channel.served or channel not in delivery.page.wants:
                continue
            channel.waits, channel.served = False, True
            self._counts.served += 1
            for message in delivery.messages(channel):
                channel.visitor.send(message)
                written += len(message)
        self._next_turn = now + TURN_SECONDS if self._deliveries else now


def _reply(reply: Callable[[bytes], object], content: str | None) -> None:
    reply(NOTHING if content is None else FOUND + content.encode())

"""The directory of one worker: which pages are held or wanted here, and how many holders other sites have.

    holder joins, leaves ─► count ─► visitors_count to the holders here, when it has changed
                                 └─► Held to the other sites with holders or wants of the page

Counts are told at once, then at most every COUNT_SECONDS, and more seldom the more there are to be told
(COUNTS_PER_SECOND): a thousand who come together cost a few thousand messages, not a million.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from megaphone.pages.page import Channel, Page, Site
from megaphone.pages.sites import Held, encode_held, page_subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.pages.agenda import Agenda
    from megaphone.pages.limits import PageLimits
    from megaphone.pages.ports import Elsewhere

COUNT_SECONDS = 0.1
COUNTS_PER_SECOND = 2000  # visitors_count of one page
ASK_SOON_SECONDS = 1.0  # words that crossed each other may have been missed
ASK_AGAIN_SECONDS = 60.0
ASK_LEAST_SECONDS = 0.25
SITES_LIMIT = 4096  # of one page


class Directory:
    """The pages of one worker; `own` is what it says of itself, `on_more` hears where other sites have more holders."""

    def __init__(
        self,
        own: Held,
        limits: PageLimits,
        elsewhere: Elsewhere,
        agenda: Agenda,
        on_more: Callable[[Page, float], None],
    ) -> None:
        self.limits = limits
        self.pages: dict[str, Page] = {}
        self.holders = 0
        self.wants = 0
        self._own = own
        self._serial = own.serial
        self._elsewhere = elsewhere
        self._agenda = agenda
        self._on_more = on_more

    def page(self, name: str, now: float) -> Page | None:
        """Return a page, new if need be; None if there are too many."""
        page = self.pages.get(name)
        if page is None and len(self.pages) < self.limits.pages and self._elsewhere.interest(page_subject(name)):
            page = self.pages[name] = Page(name)
            page.ask_due = now  # together with the first count
            self._agenda.add(now, page)
        return page

    # --- who holds and wants it here ------------------------------------------------------------

    def add_holder(self, page: Page, channel: Channel, now: float) -> None:
        """This channel holds the page from now on."""
        page.add_holder(channel)
        self.holders += 1
        self._changed(page, now)
        if page.count_due > now:
            self._tell(page, channel)

    def remove_holder(self, page: Page, channel: Channel, now: float) -> None:
        """This channel holds it no more."""
        if channel.place >= 0:
            page.remove_holder(channel)
            self.holders -= 1
            self._changed(page, now)
            self._forget_unused(page)

    def add_want(self, page: Page, channel: Channel) -> None:
        """This channel wants the page."""
        page.wants[channel] = None
        self.wants += 1

    def remove_want(self, page: Page, channel: Channel) -> None:
        """It wants it no more."""
        if channel in page.wants:
            del page.wants[channel]
            self.wants -= 1
            self._forget_unused(page)

    def _forget_unused(self, page: Page) -> None:
        if not page.holders and not page.wants and self.pages.get(page.name) is page:
            del self.pages[page.name]
            if page.told_elsewhere:
                self._say(page)
            self._elsewhere.lose_interest(page_subject(page.name))

    # --- counts ------------------------------------------------------------

    def _changed(self, page: Page, now: float) -> None:
        if page.count_due == inf:
            pause = max(COUNT_SECONDS, len(page.holders) / COUNTS_PER_SECOND)
            page.count_due = max(now, page.counted_at + pause)
            self._agenda.add(page.count_due, page)

    def look(self, page: Page, now: float) -> None:
        """Tell what is due; the agenda says when."""
        if self.pages.get(page.name) is not page:
            return
        ask = page.ask_due <= now
        if page.count_due <= now:
            page.count_due = inf
            page.counted_at = now
            for channel in page.holders:
                self._tell(page, channel)
            if page.told_elsewhere != len(page.holders) and not ask:
                self._say(page)
        if ask:
            page.ask_due = now + (ASK_SOON_SECONDS if page.asked_sites_at == -inf else ASK_AGAIN_SECONDS)
            self._agenda.add(page.ask_due, page)
            self._ask(page, now)

    def _tell(self, page: Page, channel: Channel) -> None:
        count = page.count
        if channel.told != count:
            channel.told = count
            channel.visitor.push(channel, "visitors_count", {"count": count})

    # --- other sites ------------------------------------------------------------

    def ask_sites(self, page: Page, now: float) -> None:
        """Ask who has holders: nobody is known."""
        if now - page.asked_sites_at >= ASK_LEAST_SECONDS:
            self._ask(page, now)

    def _ask(self, page: Page, now: float) -> None:
        page.asked_sites_at = now
        self._say(page, ask=True)

    def _say(self, page: Page, *, ask: bool = False) -> None:
        if self._elsewhere.tell(page_subject(page.name), self._word(page, ask=ask)):
            page.told_elsewhere = len(page.holders)
        else:  # some have missed it: it is said anew with the next count, and asked for by them
            page.told_elsewhere = -1

    def _word(self, page: Page, *, ask: bool = False) -> bytes:
        self._serial += 1
        own = self._own
        return encode_held(Held(page.name, own.site, self._serial, len(page.holders), ask, own.node, own.worker))

    def take_word(self, word: Held, now: float) -> None:
        """Take what another site says."""
        page = self.pages.get(word.page)
        if page is None or (word.node, word.worker) == (self._own.node, self._own.worker):
            return
        site = page.sites.get(word.site)
        if site is None:
            # another process goes on in this worker's place, and may be the first sign that the one before has gone
            self._lose(page, lambda before: (before.node, before.worker) == (word.node, word.worker), now)
            if len(page.sites) >= SITES_LIMIT:
                return
            site = page.sites[word.site] = Site(word.site, word.node, word.worker)
        if word.serial <= site.serial:
            return  # it came by two ways
        site.serial = word.serial
        more = word.holders > site.holders
        if word.holders != site.holders:
            site.holders = word.holders
            self._changed(page, now)
        if word.ask and page.holders:
            self._elsewhere.tell_site(word.site, self._word(page))
        if more:
            self._on_more(page, now)

    def has_nothing(self, page: Page, site: str, now: float) -> None:
        """A site has said that it has no holder after all, or is gone."""
        found = page.sites.get(site)
        if found is not None and found.holders:
            found.holders = 0
            self._changed(page, now)

    def lose_sites(self, lost: Callable[[Site], bool], now: float) -> None:
        """These are gone with all their holders."""
        for page in list(self.pages.values()):
            self._lose(page, lost, now)

    def _lose(self, page: Page, lost: Callable[[Site], bool], now: float) -> None:
        for site in [site for site in page.sites.values() if lost(site)]:
            del page.sites[site.site]
            if site.holders:
                self._changed(page, now)

    def ask_all(self, now: float) -> None:
        """Ask for the counts of all pages soon: words may have been lost."""
        for page in self.pages.values():
            page.ask_due = now
            self._agenda.add(now, page)

    def leave(self) -> None:
        """Say that nobody here holds anything any more: this worker ends."""
        for page in self.pages.values():
            page.holders.clear()
            if page.told_elsewhere:
                self._say(page)

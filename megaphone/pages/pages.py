"""The pages of one worker as a whole: visitors come, speak and go; other sites speak; time goes on.

    browser ─► Channels ─► Directory (who holds what, counts) ─► other sites
                       └─► Fetching  (who wants what, whom to ask) ─► other sites

Nothing in here does any I/O: every call says what time it is, and `next` is when `sweep` is to be called at the latest.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from megaphone.pages.agenda import Agenda
from megaphone.pages.channels import Channels
from megaphone.pages.directory import Directory
from megaphone.pages.fetching import Fetching
from megaphone.pages.limits import network_of
from megaphone.pages.sites import Held
from megaphone.pages.visitor import Counts, Visitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.pages.limits import PageLimits
    from megaphone.pages.page import Site
    from megaphone.pages.phoenix import Version
    from megaphone.pages.ports import Connection, Elsewhere


class Pages:
    """All of it. `site` is 16 hexadecimal digits by chance; `pick(n)` gives one of 0 to n - 1 by chance.

    `clock` is asked only when another site answers.
    """

    def __init__(
        self,
        limits: PageLimits,
        elsewhere: Elsewhere,
        *,
        site: str,
        pick: Callable[[int], int],
        clock: Callable[[], float],
        node: str = "",
        worker: int = 0,
    ) -> None:
        self.counts = Counts()
        self.on_next: Callable[[float], None] | None = None
        """Told after every call when something is due, if anything is."""
        self._agenda = Agenda()
        own = Held("", site, 0, 0, False, node, worker)
        self._fetching = Fetching(elsewhere, self._agenda, self.counts, pick, clock)
        self.directory = Directory(own, limits, elsewhere, self._agenda, self._fetching.more)
        self._fetching.directory = self.directory
        self._channels = Channels(limits, self.directory, self._fetching, self.counts)

    def apply(self, limits: PageLimits) -> None:
        """Other limits hold from now on; nobody who is over one is put out."""
        self.directory.limits = limits
        self._channels.limits = limits

    # --- visitors ------------------------------------------------------------

    def is_full(self) -> bool:
        """Whether nobody more can come."""
        return self.counts.visitors >= self._channels.limits.visitors

    def open(self, connection: Connection, version: Version, address: bytes, now: float) -> Visitor:
        """Somebody has come; `address` has 16 bytes (IPv4 mapped into IPv6)."""
        self.counts.visitors += 1
        return Visitor.of(connection, version, network_of(address), self.counts, self._channels.limits, now)

    def take(self, visitor: Visitor, text: bytes, now: float) -> None:
        """A visitor says something (UTF-8)."""
        self.counts.messages_in += 1
        self.counts.bytes_in += len(text)
        self._channels.take(visitor, text, now)
        self.sweep(now)

    def gone(self, visitor: Visitor, now: float) -> None:
        """A visitor's connection has ended; harmless when said twice."""
        if not visitor.gone:
            self.counts.visitors -= 1
            self._channels.gone(visitor, now)
            self.sweep(now)

    # --- other sites ------------------------------------------------------------

    def take_word(self, word: Held, now: float) -> None:
        """Another site says how many holders it has."""
        self.directory.take_word(word, now)
        self.sweep(now)

    def take_request(self, page: str, reply: Callable[[bytes], object], now: float) -> None:
        """Another site asks for a page; `reply` takes the answer, now or later."""
        self._fetching.take_site_request(self.directory.pages.get(page), reply, now)
        self.sweep(now)

    def lose_sites(self, lost: Callable[[Site], bool], now: float) -> None:
        """These sites are gone."""
        self.directory.lose_sites(lost, now)
        self.sweep(now)

    def ask_all(self, now: float) -> None:
        """The other sites are there again after a time of silence."""
        self.directory.ask_all(now)
        self.sweep(now)

    # --- time ------------------------------------------------------------

    @property
    def next(self) -> float:
        """When something is due; infinity if nothing is."""
        return min(self._agenda.next, self._fetching.next)

    def sweep(self, now: float) -> None:
        """Do what is due."""
        self._fetching.work(now)
        while (page := self._agenda.due(now)) is not None:
            self.directory.look(page, now)
            self._fetching.look(page, now)
        if self.on_next is not None and self.next < inf:
            self.on_next(self.next)

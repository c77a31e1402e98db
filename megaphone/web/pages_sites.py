"""What the pages of one worker say to other sites (pages.ports.Elsewhere): over the node's bus, and over the cluster's.

A site that is heard over both is spoken to over the node's. Of a cluster's node that leaves, and of a worker that dies
or begins anew, all sites are gone at once; who lives is asked again.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from megaphone.bus.ports import NobodyThere
from megaphone.errors import SubjectError
from megaphone.pages.content import is_page
from megaphone.pages.sites import NOTHING, decode_held, site_subject

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from megaphone.bus.ports import Answer, Bus, Message, Subscription
    from megaphone.pages.pages import Pages

FETCH_SECONDS = 5.0
_SITES_LIMIT = 65_536


class PagesSites:
    """The other sites; `buses` are asked in this order. `pages` is set before anything is said."""

    pages: Pages

    def __init__(self, buses: Sequence[Bus], site: str, clock: Callable[[], float]) -> None:
        self._buses = buses
        self._clock = clock
        self._way: dict[str, int] = {}  # the bus over which a site is spoken to
        self._interests: dict[str, list[Subscription]] = {}
        for number, bus in enumerate(buses):
            bus.subscribe(site_subject(site), partial(self._take, number))

    # --- pages.ports.Elsewhere ------------------------------------------------------------

    def tell(self, subject: str, payload: bytes) -> bool:
        """Bring this to all who are interested."""
        told = [bus.publish(subject, payload) for bus in self._buses]
        return all(told)

    def tell_site(self, site: str, payload: bytes) -> bool:
        """Bring this to one site."""
        way = self._way.get(site)
        return way is not None and self._buses[way].publish(site_subject(site), payload)

    def interest(self, subject: str) -> bool:
        """Hear what is told about a subject from now on."""
        made: list[Subscription] = []
        try:
            for number, bus in enumerate(self._buses):
                made.append(bus.subscribe(subject, partial(self._take, number)))
        except SubjectError:
            for subscription in made:
                subscription.end()
            return False
        self._interests[subject] = made
        return True

    def lose_interest(self, subject: str) -> None:
        """Hear of it no more."""
        for subscription in self._interests.pop(subject, ()):
            subscription.end()

    def fetch(self, site: str, page: str, answered: Callable[[bytes | None], None]) -> bool:
        """Ask a site for a page."""
        way = self._way.get(site)
        if way is None:
            return False

        def take(answer: Answer) -> None:
            if isinstance(answer, bytes):
                answered(answer)
            else:
                answered(NOTHING if isinstance(answer, NobodyThere) and not answer.asked else None)
            self.pages.sweep(self._clock())

        return self._buses[way].request(site_subject(site), page.encode(), FETCH_SECONDS, take)

    # --- what is heard ------------------------------------------------------------

    def _take(self, number: int, message: Message) -> bytes | None:
        if message.reply is not None:
            page = message.payload.decode("ascii", "replace")
            if not is_page(page):
                return NOTHING
            self.pages.take_request(page, message.reply, self._clock())
            return None
        with contextlib.suppress(ValueError, msgspec.DecodeError):  # nothing that this version understands
            word = decode_held(message.payload)
            if number <= self._way.get(word.site, number):
                self._way[word.site] = number
                if len(self._way) > _SITES_LIMIT:
                    del self._way[next(iter(self._way))]
            self.pages.take_word(word, self._clock())
        return None

    # --- who goes ------------------------------------------------------------

    def lose(self, node: str | None, worker: int | None, own_node: str) -> None:
        """All sites of this node and worker are gone; None: of every worker, of every node but `own_node`."""
        self.pages.lose_sites(
            lambda site: (
                (site.node != own_node if node is None else site.node == node) and worker in (None, site.worker)
            ),
            self._clock(),
        )
        self.ask_all()

    def ask_all(self) -> None:
        """Words may have been missed: ask who holds what."""
        self.pages.ask_all(self._clock())

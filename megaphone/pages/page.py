"""What one worker knows of one page: who holds it, who wants it, and which of its holders answers next."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.pages.content import Assembly
    from megaphone.pages.visitor import Visitor

_TRIES = 4  # picks at random before those who may be picked are listed


class Channel:
    """One topic that a visitor has joined."""

    __slots__ = ("asked_at", "asked_in", "assembly", "join_ref", "page", "parts", "place", "served", "told", "topic",
                 "visitor", "waits")  # fmt: skip

    def __init__(self, visitor: Visitor, topic: str, join_ref: str | None, page: Page | None, parts: bool) -> None:
        self.visitor = visitor
        self.topic = topic
        self.join_ref = join_ref
        self.page = page
        self.parts = parts
        self.place = -1  # among the holders of its page
        self.told = 0  # the count of visitors it was told last
        self.asked_at: float | None = None  # a holder: since when it owes us the content
        self.asked_in = 0  # ... and for which fetch
        self.assembly: Assembly | None = None  # a holder: the parts that have come
        self.waits = False  # one who wants: it has asked, and has got nothing since
        self.served = False  # ... it has got the content since it has asked last, or without asking


@dataclass(slots=True, eq=False)
class Site:
    """Another worker, of this node or another, that has holders of the page."""

    site: str
    node: str
    worker: int
    serial: int = 0
    holders: int = 0
    asked: int = 0  # requests under way to it


@dataclass(slots=True, eq=False)
class Page:
    """One page that is held or wanted here."""

    name: str
    holders: list[Channel] = field(default_factory=list)
    wants: dict[Channel, None] = field(default_factory=dict)
    sites: dict[str, Site] = field(default_factory=dict)
    # what is told of it
    counted_at: float = -inf  # when its count was told last, here and elsewhere
    count_due: float = inf
    told_elsewhere: int = 0
    ask_due: float = inf  # when the other sites are asked for their counts
    asked_sites_at: float = -inf
    # the fetch under way
    fetch: int = 1
    open: int = 0  # asks without an answer
    asked_at: float = -inf
    hedge_due: float = inf
    wanted_until: float = -inf
    replies: list[tuple[Callable[[str | None], None], float]] = field(
        default_factory=list
    )  # of other sites, until when

    @property
    def elsewhere(self) -> int:
        """How many holders other sites have."""
        return sum(site.holders for site in self.sites.values())

    @property
    def count(self) -> int:
        """How many holders there are."""
        return len(self.holders) + self.elsewhere

    def add_holder(self, channel: Channel) -> None:
        """Another one holds it here."""
        channel.place = len(self.holders)
        self.holders.append(channel)

    def remove_holder(self, channel: Channel) -> None:
        """One holds it no more; harmless when said twice."""
        if channel.place >= 0:
            last = self.holders.pop()
            if last is not channel:
                self.holders[channel.place] = last
                last.place = channel.place
            channel.place = -1

    def choose(self, pick: Callable[[int], int], *, here: bool = False) -> Channel | Site | None:
        """Return one holder, each as likely as any other; `here`: of this site only. `pick(n)` is one of 0 to n - 1.

        One that owes an answer already is chosen only if there is no other.
        """
        chosen = self._any(pick, here)
        for _ in range(_TRIES):
            if chosen is None or not _owes(chosen):
                return chosen
            chosen = self._any(pick, here)
        free = [channel for channel in self.holders if channel.asked_at is None]
        sites = [] if here else [site for site in self.sites.values() if site.holders > site.asked]
        number = len(free) + sum(site.holders - site.asked for site in sites)
        if not number:
            return chosen
        at = pick(number)
        if at < len(free):
            return free[at]
        return _site_at(sites, at - len(free), lambda site: site.holders - site.asked)

    def _any(self, pick: Callable[[int], int], here: bool) -> Channel | Site | None:
        number = len(self.holders) if here else self.count
        if not number:
            return None
        at = pick(number)
        if at < len(self.holders):
            return self.holders[at]
        return _site_at(list(self.sites.values()), at - len(self.holders), lambda site: site.holders)


def _owes(chosen: Channel | Site) -> bool:
    return chosen.asked_at is not None if isinstance(chosen, Channel) else chosen.asked > 0


def _site_at(sites: list[Site], at: int, weight: Callable[[Site], int]) -> Site | None:
    for site in sites:
        at -= weight(site)
        if at < 0:
            return site
    return None

"""When which page is to be looked at again."""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from megaphone.pages.page import Page


class Agenda:
    """Times of pages, in seconds of any steady clock; a page may be in it for several, or for none that matters."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Page]] = []
        self._number = 0

    def add(self, when: float, page: Page) -> None:
        """Look at the page then."""
        if when < inf:
            self._number += 1
            heappush(self._heap, (when, self._number, page))

    @property
    def next(self) -> float:
        """The first time; infinity if there is none."""
        return self._heap[0][0] if self._heap else inf

    def due(self, now: float) -> Page | None:
        """Take the first page whose time has come; None if there is none."""
        return heappop(self._heap)[2] if self._heap and self._heap[0][0] <= now else None

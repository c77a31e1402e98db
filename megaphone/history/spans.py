"""Which entries of a feed are here: runs in order, apart by at least one entry, merged when they join."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from megaphone.history.ports import Span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAX_SPANS: Final = 256
"""Of one feed; whoever has more gaps than that waits until some are filled."""


def touching(spans: Sequence[Span], first: int, last: int) -> Sequence[Span]:
    """Return the spans that know the id of an entry from `first - 1` to `last`, as entry or as previous id."""
    start = bisect_left(spans, first - 1, key=lambda span: span.last)
    end = start
    while end < len(spans) and spans[end].first - 1 <= last:
        end += 1
    return spans[start:end]


def gaps(spans: Sequence[Span], first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield what of `first` to `last` is in no span: first and last seq of each run."""
    for span in touching(spans, first, last):
        if first < span.first:
            yield first, min(last, span.first - 1)
        first = max(first, span.last + 1)
    if first <= last:
        yield first, last


def add(spans: list[Span], new: Span) -> None:
    """Put a run that is in no span in its place, and join it with its neighbours, whose ids fit."""
    at = bisect_left(spans, new.first, key=lambda span: span.first)
    start, end = at, at
    if at and spans[at - 1].last + 1 == new.first:
        start = at - 1
        new = Span(spans[start].first, new.last, spans[start].before, new.head)
    if at < len(spans) and new.last + 1 == spans[at].first:
        end = at + 1
        new = Span(new.first, spans[at].last, new.before, spans[at].head)
    spans[start:end] = [new]

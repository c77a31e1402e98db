"""Walks through a log, from a place in it, in either direction; also past all entries that do not mention something.

A whole log may be walked through for one question, so that what is not wanted must cost little: the store says which
entries have certain bytes in them, a window of each feed at a time, and only these are read.
"""

from __future__ import annotations

from heapq import merge
from typing import TYPE_CHECKING, Final

from megaphone.history.order import place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from megaphone.history.entry import Origin
    from megaphone.history.log import Log
    from megaphone.history.order import Place
    from megaphone.history.ports import EntryStore, Placed, Span

CHUNK: Final = 128  # entries read at once
WINDOW: Final = 4_096  # entries of a feed that are looked through at once
_NEAR: Final = 8  # entries that may be read for each one that is wanted


def backwards(store: EntryStore, log: Log, before: Place | None, mention: bytes = b"") -> Iterator[Placed]:
    """Yield the entries before a place (None: all), the last one first."""
    if mention:
        feeds = [_feed_backwards(store, log, origin, before, mention) for origin in list(log.spans)]
        yield from merge(*feeds, key=place, reverse=True)
        return
    while True:
        found = log.page(CHUNK, before)
        yield from reversed(found)
        if len(found) < CHUNK:
            return
        before = place(found[0])


def forwards(store: EntryStore, log: Log, after: Place, mention: bytes = b"") -> Iterator[Placed]:
    """Yield the entries behind a place, the first one first."""
    return merge(*(_feed_forwards(store, log, origin, after, mention) for origin in list(log.spans)), key=place)


def _feed_forwards(store: EntryStore, log: Log, origin: Origin, after: Place, mention: bytes) -> Iterator[Placed]:
    for span in list(log.spans[origin]):
        first = _cut(store, log, origin, span, lambda at: at <= after)
        if not mention:
            for start in range(first, span.last + 1, CHUNK):
                yield from store.feed(log.room, origin, start, min(start + CHUNK - 1, span.last))
            continue
        for start in range(first, span.last + 1, WINDOW):
            seqs = store.mentions(log.room, origin, start, min(start + WINDOW - 1, span.last), mention)
            for run in _runs(seqs):
                yield from _read(store, log, origin, run)


def _feed_backwards(
    store: EntryStore, log: Log, origin: Origin, before: Place | None, mention: bytes
) -> Iterator[Placed]:
    for span in reversed(list(log.spans[origin])):
        end = span.last + 1 if before is None else _cut(store, log, origin, span, lambda at: at < before)
        while end > span.first:
            start = max(span.first, end - WINDOW)
            seqs = store.mentions(log.room, origin, start, end - 1, mention)
            for run in reversed(_runs(seqs)):
                yield from reversed(_read(store, log, origin, run))
            end = start


def _cut(store: EntryStore, log: Log, origin: Origin, span: Span, is_left: Callable[[Place], bool]) -> int:
    """Return the seq of the first entry of a span that is not left of a place; one more than the last if all are."""
    low, high = span.first, span.last + 1
    while low < high:
        middle = (low + high) // 2
        probe = store.feed(log.room, origin, middle, middle)
        if probe and is_left(place(probe[0])):
            low = middle + 1
        else:
            high = middle
    return low


def _runs(seqs: list[int]) -> list[list[int]]:
    """Divide seqs, which rise, into runs that are read at once."""
    runs: list[list[int]] = []
    for seq in seqs:
        if runs and seq - runs[-1][-1] <= _NEAR and seq - runs[-1][0] < CHUNK:
            runs[-1].append(seq)
        else:
            runs.append([seq])
    return runs


def _read(store: EntryStore, log: Log, origin: Origin, run: list[int]) -> list[Placed]:
    wanted = set(run)
    return [placed for placed in store.feed(log.room, origin, run[0], run[-1]) if placed.seq in wanted]

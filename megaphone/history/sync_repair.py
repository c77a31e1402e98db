"""What two sets differ in, where heads do not tell: tables of symbols (riblt.pyx) about a room, some days, or a sample.

differences   │ what is said
──────────────┼──────────────────────────────────────────────────────────────────────────────────
up to ~200    │ 360 symbols, at once
up to ~5,000  │ twice as many each time, up to 8,192
more          │ the same about one id in 16, in 256, …: what that shows leaves fewer for the next time
more than two million entries: first the digests of the days, then the symbols of those that differ
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

from megaphone.history.digest import NOTHING, Digest
from megaphone.history.messages import (
    MAX_CHOSEN_DAYS,
    MAX_DAYS,
    MAX_SAMPLE,
    SYMBOLS_KEY_BYTES,
    Days,
    More,
    Scope,
    Symbols,
)
from megaphone.history.octets import malformed
from megaphone.history.riblt import Decoder, Encoder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from megaphone.history.batch import Batch
    from megaphone.history.entry import EntryID, Origin
    from megaphone.history.sync_topic import Topic

FIRST_SYMBOLS: Final = 360
MAX_TABLE: Final = 8192
"""Symbols of one table."""
SAMPLE_STEP: Final = 4
"""Bits by which a sample gets smaller."""
MAX_SET: Final = 2_097_152
"""Ids in one table; of more there is a sample."""
_NEAR: Final = 32
"""Entries between two that are sent along, rather than cut the run."""


class Giver:
    """Makes the symbols of our set."""

    __slots__ = ("_encoder", "_key", "scope")

    def __init__(self, topic: Topic, scope: Scope) -> None:
        """Read the set; MAX_SET and the time it takes bound it, not this."""
        ours = topic.replica.digest(topic.room, scope.from_day)
        seed = b"%b%b%d %d %r" % (topic.room, topic.replica.origin, *ours, scope)
        self.scope = scope
        self._key = sha256(seed).digest()[:SYMBOLS_KEY_BYTES]
        ids = topic.replica.ids(topic.room, scope.from_day, scope.days)
        self._encoder = Encoder(ids, self._key, scope.sample)

    @property
    def made(self) -> int:
        """How many symbols have been given."""
        return self._encoder.made

    def symbols(self, topic: Topic, count: int) -> Symbols | None:
        """Return the next symbols; None if there are no more of this table."""
        first = self._encoder.made
        count = min(count, MAX_TABLE - first)
        if count <= 0:
            return None
        data = self._encoder.next(count)
        return Symbols(topic.ref, self.scope, self._key, self._encoder.size, first, data)


class Finder:
    """Finds what our set and the peer's differ in."""

    __slots__ = ("_decoder", "_key", "scope")

    def __init__(self, topic: Topic, message: Symbols) -> None:
        self.scope = message.scope
        self._key = message.key
        ids = topic.replica.ids(topic.room, self.scope.from_day, self.scope.days)
        self._decoder = Decoder(ids, message.key, message.size, self.scope.sample, MAX_TABLE)

    def expects(self, message: Symbols) -> bool:
        """Tell whether these are the symbols that come next."""
        return (message.scope, message.key, message.first) == (self.scope, self._key, self._decoder.symbols_read)

    def hear(self, message: Symbols) -> None:
        """Read symbols; HistoryError("malformed") if they are none."""
        try:
            self._decoder.feed(message.symbols)
        except ValueError as error:
            raise malformed(str(error)) from None

    @property
    def is_complete(self) -> bool:
        """Whether all has been found."""
        return self._decoder.is_complete

    def differences(self) -> tuple[list[bytes], list[bytes]]:
        """Return how the ids begin that only the peer has, and those that only we have."""
        return self._decoder.differences()

    def next(self, topic: Topic) -> More | None:
        """Return what to ask for: as many symbols again, or a smaller sample; None if there is no smaller one."""
        read = self._decoder.symbols_read
        if read < MAX_TABLE:
            return More(topic.ref, self.scope, read, min(read, MAX_TABLE - read))
        sample = self.scope.sample + SAMPLE_STEP
        if sample > MAX_SAMPLE:
            return None
        return More(topic.ref, self.scope._replace(sample=sample), 0, FIRST_SYMBOLS)


def scope_of(from_day: int, ours: Digest, theirs: Digest, days: Sequence[int] = ()) -> Scope:
    """Return what a table of so many entries is about: all of them, or a sample."""
    sample = 0
    while max(ours.entries, theirs.entries) >> sample > MAX_SET:
        sample += 1
    return Scope(from_day, tuple(days), sample)


def first_count(ours: Digest, theirs: Digest) -> int:
    """Return how many symbols to begin with, of what digests tell: how much they differ at least, and at most."""
    least = 2 * abs(ours.entries - theirs.entries) + FIRST_SYMBOLS
    return max(1, min(least, 2 * (ours.entries + theirs.entries), MAX_TABLE))


def days_of(topic: Topic) -> Days:
    """Return the digests of our days, or of the last of them if there are very many."""
    window = topic.window
    days = sorted((day, Digest(*each)) for day, each in topic.log.digests.items() if day >= window)
    return Days(topic.ref, window, tuple(days[-MAX_DAYS:]))


def differing(topic: Topic, message: Days) -> More | None:
    """Return the question for the symbols of the first days that differ; None if none does."""
    theirs = dict(message.days)
    oldest = message.days[0][0] if len(message.days) == MAX_DAYS else 0
    ours = {day: Digest(*each) for day, each in topic.log.digests.items() if day >= max(message.from_day, oldest)}
    days = sorted(day for day in theirs.keys() | ours.keys() if theirs.get(day) != ours.get(day))[:MAX_CHOSEN_DAYS]
    if not days:
        return None
    here, there = NOTHING, NOTHING
    for day in days:
        here, there = here.plus(ours.get(day, NOTHING)), there.plus(theirs.get(day, NOTHING))
    return More(topic.ref, scope_of(message.from_day, here, there, days), 0, first_count(here, there))


def batches_of(topic: Topic, prefixes: Sequence[bytes], scope: Scope | None) -> Iterator[Batch]:
    """Yield the entries whose ids begin so, in runs up to the seal after each."""
    chosen = frozenset(prefixes)
    size = len(prefixes[0]) if prefixes else 0
    from_day, days = (scope.from_day, scope.days) if scope is not None else (0, ())
    found: list[EntryID] = [id_ for id_ in topic.replica.ids(topic.room, from_day, days) if id_[:size] in chosen]
    places: dict[Origin, list[int]] = {}
    for id_ in found:
        placed = topic.replica.store.find(topic.room, id_)
        if placed is not None:
            places.setdefault(placed.origin, []).append(placed.seq)
    vault = topic.vault()
    for origin, seqs in places.items():
        seqs.sort()
        start = 0
        for index in range(1, len(seqs) + 1):
            if index == len(seqs) or seqs[index] - seqs[index - 1] > _NEAR:
                yield from vault.backwards(origin, seqs[start], seqs[index - 1])
                start = index

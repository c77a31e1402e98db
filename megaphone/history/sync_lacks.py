"""What one replica lacks of a room, and asks a certain peer for: newest first, and nothing twice that it cannot send.

A gap is named by its feed and its upper end, which stays where it is while the gap is filled from there:

    here   1 ───── 40          ask for the newer end; what comes           81 ──── 120
    gap            41 ──────── 80   goes on down from the pinned end ──►
                                     (its id is what 81 goes on from)
    above the head: 121 ──── up to the peer's head, which its seal vouches for
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from megaphone.history import clock as clocks
from megaphone.history.batch import MAX_ENTRIES
from megaphone.history.messages import KEY_BYTES, MAX_RANGES, REF_BYTES, Get, Range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from megaphone.history.digest import Digest
    from megaphone.history.entry import Origin
    from megaphone.history.log import Log
    from megaphone.history.messages import Head
    from megaphone.history.ports import EntryStore

ASKED_AT_ONCE: Final = 4 * MAX_ENTRIES
"""Entries that one `Get` asks for, over all its ranges."""
FEWEST_ASKED: Final = 64
"""Of one range."""
MAX_FUTILE: Final = 4096
"""Gaps remembered that the peer cannot fill; with more, it is not asked any more."""


class Gap(NamedTuple):
    """Entries of a feed that are not here, or have no content here."""

    origin: bytes
    """Whole key; the first 8 bytes if we know no more of it."""
    first: int
    last: int
    """0: up to the peer's head."""


class Lacks:
    """Of one room, and for one peer."""

    __slots__ = ("_asked", "_futile", "_log", "_peer_digest", "_store", "_whole", "from_day", "peer_heads")

    def __init__(self, log: Log, store: EntryStore, from_day: int) -> None:
        self._log = log
        self._store = store
        self.from_day = from_day
        """What is older is not asked for."""
        self.peer_heads: dict[bytes, int] = {}
        """How far the peer is in the feeds in which it is further than we are, as far as it has told."""
        self._whole = False
        self._asked: list[tuple[Gap, Range]] = []
        self._futile: dict[tuple[bytes, int], int] = {}
        self._peer_digest: Digest | None = None
        """When it last had nothing to help with."""

    def hear(self, heads: Iterable[Head], digest: Digest) -> None:
        """Note how far the peer is; one that has something else by now is asked again for what it did not have."""
        if digest != self._peer_digest:
            self._futile.clear()
        known, ours = known_by(self._log), self._log.heads()
        self.peer_heads = {}
        self._whole = False
        for ref, seq in heads:
            origin = known.get(ref)
            self._whole = self._whole or len(ref) == KEY_BYTES
            if origin is None or seq > ours.get(origin, 0):
                self.peer_heads[origin or ref] = seq

    @property
    def has_gaps(self) -> bool:
        """Whether entries are lacking that may be asked for, and that no head of the peer has shown."""
        return len(self._futile) < MAX_FUTILE and any(
            (gap.origin, gap.last) not in self._futile for gap in self._between()
        )

    def wanted(self, *, only_contents: bool = False) -> list[tuple[Gap, Range]]:
        """Return what to ask the peer for."""
        if len(self._futile) >= MAX_FUTILE:
            return []
        found = []
        for gap in self._contents() if only_contents else self._gaps():
            floor = self._futile.get((gap.origin, gap.last))
            if floor is None or (not gap.last and floor < self.peer_heads[gap.origin]):
                found.append((gap, Range(*gap, is_pinned=gap.last > 0)))
            elif gap.last and floor > gap.first:
                found.append((gap, Range(gap.origin, gap.first, floor - 1)))
        return found[:MAX_RANGES]

    def ask(self, ref: bytes, *, only_contents: bool = False) -> Get | None:
        """Return the question for what is lacking, of each gap the newer end; None if the peer cannot help."""
        wanted = self.wanted(only_contents=only_contents)
        whole = self._whole or ambiguous(self._log)
        if whole:
            wanted = [each for each in wanted if len(each[0].origin) == KEY_BYTES]
        if not wanted:
            return None
        most = max(FEWEST_ASKED, ASKED_AT_ONCE // len(wanted))
        self._asked = []
        for gap, asked in wanted:
            last = asked.last or self.peer_heads[gap.origin]
            self._asked.append((gap, asked._replace(first=max(asked.first, last - most + 1))))
        size = KEY_BYTES if whole else REF_BYTES
        return Get(ref, self.from_day, tuple(asked._replace(origin=asked.origin[:size]) for _, asked in self._asked))

    def conclude(self, digest: Digest) -> None:
        """Note that the peer has sent all it has of what was asked for: what is still lacking it cannot send."""
        left = {(gap.origin, gap.last) for gap in self._gaps()}
        for gap, asked in self._asked:
            if (gap.origin, gap.last) in left:
                floor = asked.first if gap.last else self.peer_heads[gap.origin]
                self._futile[gap.origin, gap.last] = floor
        self._asked = []
        self._peer_digest = digest

    def _gaps(self) -> list[Gap]:
        """Return all gaps, those above the heads first, then those whose upper end is newest."""
        return [*self._above(), *self._between(), *self._contents()]

    def _above(self) -> Iterator[Gap]:
        known, ours = known_by(self._log), self._log.heads()
        for name, head in self.peer_heads.items():
            origin = known.get(name)
            if origin is None:
                yield Gap(name, 1, 0)
                continue
            mine = ours.get(origin, 0)
            cut = self._log.exclusions[origin][0] if origin in self._log.exclusions else head + 1
            if mine < min(head, cut - 1):
                yield Gap(name, mine + 1, cut - 1 if head >= cut else 0)

    def _between(self) -> list[Gap]:
        found: list[tuple[clocks.Clock, Gap]] = []
        for lack in self._log.missing():
            if not lack.content and len(found) < MAX_RANGES:
                clock = self._clock(lack.origin, lack.last + 1)
                if clock is not None and clocks.day(clock) >= self.from_day:
                    found.append((clock, Gap(lack.origin, lack.first, lack.last)))
        found.sort(key=lambda each: each[0], reverse=True)
        return [gap for _, gap in found]

    def _contents(self) -> list[Gap]:
        found: list[Gap] = []
        for lack in sorted(lack for lack in self._log.missing() if lack.content):
            if found and found[-1].origin == lack.origin and found[-1].last + 1 == lack.first:
                found[-1] = found[-1]._replace(last=lack.last)
            else:
                found.append(Gap(lack.origin, lack.first, lack.last))
        return found

    def _clock(self, origin: Origin, seq: int) -> clocks.Clock | None:
        found = self._store.feed(self._log.room, origin, seq, seq)
        return found[0].entry.clock if found else None


def known_by(log: Log) -> dict[bytes, Origin]:
    """Return whom somebody may mean: by whole key, and by its first 8 bytes where these are one's alone."""
    known: dict[bytes, Origin] = {}
    shared = set()
    for origin in {**log.spans, **log.exclusions}:
        known[origin] = origin
        if known.setdefault(origin[:REF_BYTES], origin) != origin:
            shared.add(origin[:REF_BYTES])
    for ref in shared:
        del known[ref]
    return known


def ambiguous(log: Log) -> bool:
    """Tell whether two origins begin with the same 8 bytes."""
    origins = {**log.spans, **log.exclusions}
    return len({origin[:REF_BYTES] for origin in origins}) < len(origins)

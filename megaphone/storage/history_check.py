"""Checks one feed on disk: what is damaged, by name, and what is good, as the repair puts it down.

full     every entry is hashed again, the chain followed, every digest summed, every seal and proof verified
quick    runs and digests have as many entries as each other, the last entry is the one that came last, and the
         newest page is hashed again
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from megaphone.errors import HistoryError, StorageError
from megaphone.history import forks
from megaphone.history.batch import sealed
from megaphone.history.clock import day
from megaphone.history.ports import Tip
from megaphone.storage.history_rows import Chain, Day, Run, target_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from megaphone.history.entry import EntryID, Origin
    from megaphone.history.ports import Placed, Verifier
    from megaphone.storage.history_reading import Reader
    from megaphone.storage.history_rows import EntryRow, FeedRow, RoomRow

QUICK_PAGE: Final = 64  # entries
MOST_DAMAGES: Final = 10_000  # of one feed that are listed
_MODULUS: Final = 1 << 128

ALTERED: Final = "the entry is not what was written"
LOST: Final = "the entry is gone"
PREVIOUS: Final = "the note of the entry before is wrong"
LAPPED: Final = "two rows say that they are this entry"
BAD_SEAL: Final = "only a broken seal vouches for it"
LATER_SEAL: Final = "the seal is broken, but a later one vouches for the entry"
SEAL_OF_NOTHING: Final = "a seal of an entry that is not here"
DIGEST: Final = "the digest of a day is not that of its entries"
TIP: Final = "the note of the last entry is not that of the last entry"
RUNS: Final = "there are not as many entries as the digests say"
PROOF: Final = "the proof of a fork proves nothing"
UNREADABLE: Final = "cannot be read"


class Damage(NamedTuple):
    """Something that is wrong. `room` is a name, or the id in hexadecimal if that is lost; `seq` 0: no entry."""

    room: str
    origin: Origin | None
    seq: int
    last: int
    what: str


@dataclass(slots=True)
class Found:
    """What a full check has found of one feed."""

    runs: list[Run] = field(default_factory=list)
    """Of what is good."""
    heads: list[EntryID] = field(default_factory=list)
    """Id of the last entry of each run."""
    days: dict[int, Day] = field(default_factory=dict)
    seals: list[int] = field(default_factory=list)
    tombstones: list[tuple[bytes, int]] = field(default_factory=list)
    """Target and row of each."""
    damages: list[Damage] = field(default_factory=list)
    entries: int = 0
    tip: Tip | None = None
    """The last good entry."""
    error: StorageError | None = None
    """Why not all of it could be read: then nothing may be thrown away."""
    keeps_exclusion: bool = True


class FeedCheck:
    """A full check of one feed."""

    def __init__(self, reader: Reader, room: RoomRow, row: FeedRow, verifier: Verifier | None = None) -> None:
        """Without a verifier, seals and proofs are not looked at."""
        self.found = Found()
        self._reader = reader
        self._room = room
        self._row = row
        self._verifier = verifier
        self._seals: dict[int, bytes] = {}
        self._broken: list[int] = []  # seqs of bad seals since the last good one
        self._vouched = 0  # seq of the last good seal, or the one before the span

    def run(self) -> Found:
        """Check."""
        found = self.found
        try:
            self._seals = dict(self._reader.seals(self._row.number))
            self._follow()
            kept_days = self._reader.days(self._row.number)
        except StorageError as error:
            found.error = error
            self._damage(0, 0, f"{UNREADABLE}: {error.reason}")
            return found
        of_entries = bool(found.damages)
        good = set(found.seals)
        for seq in sorted(self._seals.keys() - good):
            if not any(each.seq <= seq <= each.last for each in found.damages):
                self._damage(seq, seq, SEAL_OF_NOTHING)
        if self._is_tip_wrong():
            self._damage(0, 0, TIP)
        if kept_days != found.days and not of_entries:
            self._damage(0, 0, DIGEST)
        if self._row.excluded is not None or self._row.proof:
            self._check_exclusion()
        return found

    def _is_tip_wrong(self) -> bool:
        """Tell whether there is no note of the last entry, or a wrong one; later entries may have been dropped."""
        last, tip = self.found.tip, self._row.tip
        if tip is None:
            return self._row.has_tip or last is not None
        return last is not None and (last.seq > tip.seq or (last.seq == tip.seq and last != tip))

    def _check_exclusion(self) -> None:
        if self._verifier is None:
            return
        try:
            proof = forks.decode(self._row.proof, self._verifier)
        except HistoryError:
            proof = None
        if proof is None or (proof.room, proof.origin, proof.seq) != (
            self._room.id,
            self._row.origin,
            self._row.excluded,
        ):
            self.found.keeps_exclusion = False
            self._damage(0, 0, PROOF)

    def _follow(self) -> None:
        chain = Chain(self._room.id, self._row.origin)
        claimed = _Claimed(self._reader.runs(self._row.number), self._row.tip.seq if self._row.tip else None)
        before = 0  # seq of the last good entry
        for rows in _by_seq(self._reader.all_rows(self._row.number)):
            seq = rows[0].seq
            for first, last in claimed.until(seq):
                self._damage(first, last, LOST)
            if before != seq - 1:
                self._end_span(before, seq - 1)
            row, placed = _best(chain, rows)
            if placed is None:
                self._damage(seq, seq, ALTERED)
            else:
                if len(rows) > 1:
                    self._damage(seq, seq, LAPPED)
                self._keep(row, placed)
                before = seq
        for first, last in claimed.until(None):
            self._damage(first, last, LOST)
        self._end_span(before, 0)

    def _keep(self, row: EntryRow, placed: Placed) -> None:
        found, seq = self.found, placed.seq
        found.entries += 1
        found.tip = Tip(seq, placed.id, placed.entry.clock)
        last = found.runs[-1] if found.runs else None
        if last is not None and last.last + 1 == seq and last.n + last.length == row.n:
            found.runs[-1] = last._replace(length=last.length + 1)
            found.heads[-1] = placed.id
        else:
            follows = last is not None and last.last + 1 == seq
            found.runs.append(Run(row.n, seq, 1, None if follows else placed.previous))
            found.heads.append(placed.id)
        if row.previous is not None and row.previous != placed.previous:
            self._damage(seq, seq, PREVIOUS)
        at = day(placed.entry.clock)
        count, total, size = found.days[at][1:] if at in found.days else (0, 0, 0)
        total = (total + int.from_bytes(placed.id[:16])) % _MODULUS
        found.days[at] = Day(at, count + 1, total, size + len(placed.entry.content or b""))
        if (target := target_of(placed.entry)) is not None:
            found.tombstones.append((target, row.n))
        signature = self._seals.get(seq)
        if signature is None:
            return
        if self._verifier is not None and not self._verifier(self._row.origin, signature, sealed(placed.id)):
            self._broken.append(seq)
            return
        for broken in self._broken:
            self._damage(broken, broken, LATER_SEAL)
        self._broken = []
        self._vouched = seq
        found.seals.append(seq)

    def _end_span(self, last: int, next_: int) -> None:
        """Drop what only a broken seal vouches for, at the end of a span."""
        if self._broken:
            self._drop(self._vouched + 1)
            self._damage(self._vouched + 1, last, BAD_SEAL)
        self._broken = []
        self._vouched = next_

    def _drop(self, first: int) -> None:
        """Take everything from a seq on out of what is good."""
        found = self.found
        for seq, clock, id_, size in self._reader.sizes(self._row.number, first, found.runs[-1].last):
            if any(run.seq <= seq <= run.last for run in found.runs):
                before = found.days[day(clock)]
                total = (before.sum - int.from_bytes(id_[:16])) % _MODULUS
                found.days[before.day] = Day(before.day, before.entries - 1, total, before.bytes - size)
                found.entries -= 1
        found.days = {at: each for at, each in found.days.items() if each.entries}
        found.runs = [run._replace(length=min(run.length, first - run.seq)) for run in found.runs if run.seq < first]
        found.heads = found.heads[: len(found.runs)]
        if found.runs and found.runs[-1].last == first - 1:  # it may have been longer
            found.heads[-1] = self._reader.row_id(self._row.number, first - 1) or found.heads[-1]
        rows = [range(run.n, run.n + run.length) for run in found.runs]
        found.tombstones = [each for each in found.tombstones if any(each[1] in some for some in rows)]
        found.tip = None

    def _damage(self, seq: int, last: int, what: str) -> None:
        damages = self.found.damages
        if damages and damages[-1].what == what and damages[-1].last == seq - 1:
            damages[-1] = damages[-1]._replace(last=last)
        elif len(damages) < MOST_DAMAGES:
            damages.append(Damage(self._room.title, self._row.origin, seq, last, what))


class _Claimed:
    """Which seqs runs say to be here, to find those that have no row. Runs may lap over each other."""

    def __init__(self, runs: Iterable[Run], most: int | None) -> None:
        self._runs = iter(runs)
        self._most = most  # a run may say anything: beyond the last entry that ever came there is none
        self._run = next(self._runs, None)
        self._at = 0  # everything up to here has been looked at

    def until(self, seq: int | None) -> Iterator[tuple[int, int]]:
        """Yield the runs of seqs before `seq` (None: all that are left) that have no row; `seq` itself has one."""
        while (run := self._run) is not None and (seq is None or max(run.seq, self._at + 1) < seq):
            first = max(run.seq, self._at + 1)
            last = run.last if self._most is None else min(run.last, self._most)
            end = last if seq is None else min(last, seq - 1)
            if first <= end:
                yield first, end
                self._at = end
            if seq is not None and run.last >= seq:
                break
            self._run = next(self._runs, None)
        if seq is not None:
            self._at = max(self._at, seq)


def quick(reader: Reader, room: RoomRow, row: FeedRow) -> str:
    """Check a feed quickly; returns what seems wrong, "" if nothing does. Then only a full check knows."""
    if row.suspect:
        return ALTERED
    count, recent = 0, list[Run]()
    for run in reader.runs(row.number):
        if recent and run.seq <= recent[-1].last:
            return LAPPED
        count += run.length
        recent = [*(each for each in recent if each.last > run.last - QUICK_PAGE), run]
    if count != sum(each.entries for each in reader.days(row.number).values()):
        return RUNS
    if not recent:
        return TIP if row.has_tip and row.tip is None else ""
    last = recent[-1].last
    first = max(1, last - QUICK_PAGE + 1)
    rows = reader.rows(row.number, first, last)
    if len(rows) != sum(run.last - max(run.seq, first) + 1 for run in recent):
        return LOST
    chain = Chain(room.id, row.origin)
    placed = None
    for at, each in enumerate(rows):
        placed = chain.follow(each)
        if placed is None and (at or first == 1):  # of the first one the id of the entry before may not be known
            return ALTERED
    if row.tip is None or last > row.tip.seq or (last == row.tip.seq and rows[-1].id != row.tip.id):
        return TIP
    return ""


def _by_seq(rows: Iterable[EntryRow]) -> Iterator[list[EntryRow]]:
    """Bring together the rows that say that they are one entry."""
    waiting: list[EntryRow] = []
    for row in rows:
        if waiting and row.seq != waiting[0].seq:
            yield waiting
            waiting = []
        waiting.append(row)
    if waiting:
        yield waiting


def _best(chain: Chain, rows: Sequence[EntryRow]) -> tuple[EntryRow, Placed | None]:
    """Return the good one of the rows that say that they are one entry."""
    for row in rows[:-1]:
        if chain.copy().follow(row) is not None:
            return row, chain.follow(row)
    return rows[-1], chain.follow(rows[-1])

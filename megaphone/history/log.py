"""The log of one room: the feeds of all origins, and the answer to every batch that comes.

    append ─► flush ─► sealed batch ─────────────────────────────► others
    others ─► accept ─┬─ known, or vouched for by seal or chain ─► store
                      ├─ contradicts what is known, and sealed  ─► proof; its origin is excluded from there on
                      └─ else                                   ─► refused, with a word for it

All that is stored is vouched for: each span ends at a sealed entry, or where a fork begins that is proven. What is
not in this file's memory is asked from the store; a log that is made anew from the same store goes on the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from megaphone.errors import HistoryError
from megaphone.history import batch as batches
from megaphone.history import content as contents
from megaphone.history import forks, spans
from megaphone.history.answers import Accepted, Missing, Refusal
from megaphone.history.batch import Batch, sealed
from megaphone.history.clock import COUNTER_BITS, Clock
from megaphone.history.entry import FIRST, MAX_NUMBER
from megaphone.history.evidence import Evidence
from megaphone.history.feed import Feed, batch_of
from megaphone.history.holding import Holding
from megaphone.history.ports import Tip
from megaphone.history.tombstones import CONTENTS, TOMBSTONES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from megaphone.history.content import Content
    from megaphone.history.entry import Entry, EntryID, Origin
    from megaphone.history.forks import Proof
    from megaphone.history.manifest import Manifest
    from megaphone.history.order import Place
    from megaphone.history.ports import EntryStore, Placed, Signer, Span, Verifier

AHEAD_MS: Final = 60_000
"""How far an entry's clock may be ahead of ours."""


class Log:
    """One room's log in a store. HistoryError for what we append ourselves; what others send gets an answer.

    Our feed goes on behind the store's `tip`, our furthest entry: if that is lost, what we say next is a span of its
    own, and what lies before it comes back from others like anything that is missing. A store that does not know what
    we have said (its file is gone, an old copy, or was put aside and could not be read) cannot tell us: then nothing
    may be appended until somebody who keeps the room has told us our own entries, or without a new key. See `Replica`.

    `own`: our own key, without which nothing can be appended. `trusted`: whose entries are taken; `moderates`: whose
    moderations count (without it: of all who are trusted). StorageError comes from the store as it is, and then
    nothing has changed here but what the store has taken.
    """

    def __init__(
        self,
        manifest: Manifest,
        store: EntryStore,
        verifier: Verifier,
        trusted: Callable[[Origin], bool],
        *,
        own: Origin | None = None,
        moderates: Callable[[Origin], bool] | None = None,
    ) -> None:
        self.manifest = manifest
        self.room: Final = manifest.id
        self._store = store
        self._verifier = verifier
        self._trusted = trusted
        self._own = own
        self._holding = Holding(manifest, store, moderates or trusted)
        self._feed: Feed | None = None

    def reload(self) -> None:
        """Read from the store what is here: when entries have gone otherwise than by this log (retention, damage)."""
        self._holding.reload()

    # --- what is here ------------------------------------------------------------------

    @property
    def written(self) -> int:
        """Position of the last write. A batch of ours must not leave before it is durable: see `flush`."""
        return self._holding.written

    @property
    def spans(self) -> Mapping[Origin, Sequence[Span]]:
        """Which entries of each feed are here."""
        return self._holding.spans

    @property
    def exclusions(self) -> Mapping[Origin, tuple[int, bytes]]:
        """Which origins are excluded, from which seq on, and the encoded proof (`convict` takes it)."""
        return self._holding.exclusions

    @property
    def digests(self) -> dict[int, tuple[int, int]]:
        """By day: how many entries, and the sum of the first 16 bytes of their ids modulo 2^128."""
        return self._store.digests(self.room)

    def heads(self) -> dict[Origin, int]:
        """Return the greatest seq that is here of each feed."""
        return {origin: found[-1].last for origin, found in self.spans.items() if found}

    def missing(self) -> list[Missing]:
        """Return what lies between and before the entries that are here, and which contents are missing."""
        found = [
            Missing(origin, first, last)
            for origin, here in self.spans.items()
            for first, last in spans.gaps(here, 1, here[-1].last if here else 0)
        ]
        return found + [Missing(origin, seq, seq, content=True) for origin, seq in self._holding.bare.values()]

    def page(self, count: int, before: Place | None = None) -> list[Placed]:
        """Return the last `count` entries (before a place in the log), oldest first."""
        found = self._store.newest(self.room, count, before)
        for placed in found:
            if placed.entry.content is None:
                self._holding.note_bare(placed)
        return found

    def content(self, placed: Placed) -> Content | None:
        """Return what an entry says; None if it is erased or lost, or of a kind that is not read here."""
        if placed.entry.content is None or placed.entry.kind not in CONTENTS:
            return None
        return contents.decode(placed.entry.content)

    # --- our own -----------------------------------------------------------------------

    @property
    def own_clock(self) -> Clock:
        """The clock of our last entry, -1 if there is none; HistoryError("excluded")."""
        return self._own_feed().clock

    def append(self, kind: int, content: Content, clock: Clock) -> Placed:
        """Add an entry to our feed, to be sealed and stored by `flush`; its id stands already.

        HistoryError: "too-large", "clock-order" (not above our last one), "malformed", "forged-author", "excluded".
        """
        if content.target is not None or content.author_key is not None or kind in TOMBSTONES:
            contents.check(content, self.room, self._verifier, tombstone=kind in TOMBSTONES)
        return self._own_feed().append(kind, content.encode(), clock)

    def flush(self, signer: Signer) -> Batch | None:
        """Seal and store what was appended, at most 1,024 entries and about 1 MiB; None if nothing waits.

        Only when the store says that `written` is durable may the batch be told to anybody: a node that forgets what it
        has said will say something else at the same seq, and be excluded.
        """
        if self._feed is None or not self._feed.pending:
            return None
        feed = self._own_feed()
        entries = feed.next()
        if signer.origin != feed.origin:
            raise ValueError("another key than the log's own")
        batch = batch_of(self.room, entries, signer.sign(sealed(entries[-1].id)))
        self._holding.put(batch, entries)
        feed.written(len(entries))
        return batch

    def _own_feed(self) -> Feed:
        """Return our feed, where it has got to."""
        if self._feed is None:
            if self._own is None:
                raise ValueError("a log without a key of its own")
            # not behind what is here: two entries at one seq are a fork, also if the first one is lost
            tip = self._store.tip(self.room, self._own) or Tip(0, FIRST, Clock(-1))
            self._feed = Feed(self.room, self._own, tip.seq, tip.id, tip.clock)
        if self._feed.origin in self.exclusions:
            raise HistoryError(Refusal.EXCLUDED, "this node has forked its feed; it needs a new key")
        return self._feed

    # --- what others send --------------------------------------------------------------

    def accept(self, batch: Batch, now_ms: int) -> Accepted:
        """Take what is new of a batch. `now_ms`: time of day, milliseconds since 1970."""
        cut = self._holding.cut(batch.origin)
        refusal = self._refusal(batch, now_ms, cut)
        if refusal is not None:
            return Accepted(refusal=refusal)
        last = min(batch.last, cut - 1)  # what is behind it is excluded
        here = self.spans.get(batch.origin, ())
        ids = batches.ids(batch)
        known, against = self._compare(batch, ids, here, cut)
        runs = list(spans.gaps(here, batch.seq, last))
        if not runs and against is None:
            restored = self._holding.restore(batch, ids, last, self._check_content)
            duplicate = Refusal.DUPLICATE if not restored else None
            return Accepted(restored=restored, refusal=duplicate if last == batch.last else Refusal.EXCLUDED)
        if batch.seal and not self._verifier(batch.origin, batch.seal, sealed(ids[-1])):
            return Accepted(refusal=Refusal.BAD_SEAL)
        if not batch.seal and known < last:
            return Accepted(refusal=Refusal.BAD_SEAL if against is None else Refusal.BAD_CHAIN)
        evidence = Evidence(self._store, self._verifier, batch, ids, self._proof(batch.origin))
        if against is not None:
            return self._punish(evidence.of_fork(against), Refusal.FORK, Refusal.BAD_CHAIN, batch, now_ms)
        earlier = evidence.of_earlier_fork()
        if earlier is not None:
            return self._punish(earlier, Refusal.FORK, Refusal.BAD_CHAIN, batch, now_ms)
        if len(here) >= spans.MAX_SPANS and not spans.touching(here, batch.seq, last):
            return Accepted(refusal=Refusal.TOO_MANY_GAPS, missing=self._holding.gap_before(batch))
        for span in spans.touching(here, batch.seq, last):
            falls, proof = self._clock_falls(span, batch, evidence)
            if falls:
                return self._punish(proof, Refusal.CLOCK_ORDER, Refusal.CLOCK_ORDER, batch, now_ms)
        try:
            for first, end in runs:
                for each in batch.entries[first - batch.seq : end - batch.seq + 1]:
                    self._check_content(each)
        except HistoryError as error:
            return Accepted(refusal=Refusal(error.reason))
        missing = self._holding.gap_before(batch)
        new: list[Placed] = []
        for first, end in runs:
            new += self._holding.put_run(batch, ids, first, end)
        if batch.origin == self._own:
            self._follow(batch.origin)
        restored = self._holding.restore(batch, ids, last, self._check_content) if len(new) < len(batch.entries) else ()
        lost = tuple(
            Missing(each.origin, each.seq, each.seq, content=True) for each in new if each.id in self._holding.bare
        )
        return Accepted(tuple(new), None if last == batch.last else Refusal.EXCLUDED, missing + lost, None, restored)

    def convict(self, data: bytes) -> Origin | None:
        """Take a proof from somebody; returns whom it excludes (from an earlier seq than before), None if it is known.

        HistoryError if it proves nothing, or is about another room or an origin that nobody trusts here.
        """
        proof = forks.decode(data, self._verifier)
        if proof.room != self.room:
            raise HistoryError(Refusal.UNKNOWN_ROOM, "a proof for another room")
        if not self._trusted(proof.origin):
            raise HistoryError(Refusal.UNKNOWN_ORIGIN, "a proof against an unknown origin")
        return proof.origin if self._exclude(proof) else None

    def _refusal(self, batch: Batch, now_ms: int, cut: int) -> Refusal | None:
        """Return why a batch is refused before anything is compared."""
        if batch.room != self.room:
            return Refusal.UNKNOWN_ROOM
        if not self._trusted(batch.origin):
            return Refusal.UNKNOWN_ORIGIN
        fault = batches.faults(batch)
        if fault is not None:
            return fault
        if batch.seq >= cut:
            return Refusal.EXCLUDED
        ahead = batch.entries[-1].clock > (now_ms + AHEAD_MS) << COUNTER_BITS
        return Refusal.CLOCK_AHEAD if ahead else None

    def _compare(self, batch: Batch, ids: Sequence[EntryID], here: Sequence[Span], cut: int) -> tuple[int, Span | None]:
        """Return up to which seq the batch's entries are known or fixed by known ones, and a span that it contradicts.

        Ids are chained: if the last ids that both say are the same, so are all before.
        """
        known, against = 0, None
        for span in spans.touching(here, batch.seq, batch.last):
            at = min(batch.last, span.last)
            theirs = ids[at - batch.seq] if at >= batch.seq else batch.previous
            ours = self._holding.id(batch.origin, span, at)
            if ours == theirs:
                known = max(known, at)
            elif ours is not None and against is None:
                against = span
        proof = self._proof(batch.origin) if batch.last >= cut - 1 else None
        if proof is not None and ids[cut - 1 - batch.seq] in proof.knows(cut - 1):
            known = max(known, cut - 1)
        return known, against

    def _clock_falls(self, span: Span, batch: Batch, evidence: Evidence) -> tuple[bool, Proof | None]:
        """Return whether the clock does not rise where a batch joins a span, and the proof of it."""
        clock = self._holding.clock
        if span.last == batch.seq - 1 and clock(batch.origin, span.last, -1) >= batch.entries[0].clock:
            return True, evidence.of_clock_before(span.last)
        if span.first == batch.last + 1 and clock(batch.origin, span.first, MAX_NUMBER) <= batch.entries[-1].clock:
            return True, evidence.of_clock_after()
        return False, None

    def _check_content(self, each: Entry) -> None:
        """Raise HistoryError if an entry has a content that may not be."""
        if each.content is not None and each.kind in CONTENTS:
            content = contents.decode(each.content)
            contents.check(content, self.room, self._verifier, tombstone=each.kind in TOMBSTONES)

    def _punish(self, proof: Proof | None, proven: Refusal, unproven: Refusal, batch: Batch, now_ms: int) -> Accepted:
        """Exclude the batch's origin from where the proof says, and take what of the batch lies before that."""
        if proof is None or not self._exclude(proof):
            return Accepted(refusal=unproven)
        again = self.accept(batch, now_ms)
        return again._replace(refusal=proven, fork=self._proof(batch.origin))

    def _exclude(self, proof: Proof) -> bool:
        """Exclude an origin from where a proof says, or from before that, if what is here contradicts the proof."""
        lowest: Proof | None = proof
        for run in (proof.one, proof.other):
            ids = batches.ids(run)
            evidence = Evidence(self._store, self._verifier, run, ids, self._proof(proof.origin))
            _, against = self._compare(run, ids, self.spans.get(proof.origin, ()), MAX_NUMBER + 1)
            lowest = forks.merged(lowest, evidence.of_fork(against) if against is not None else None)
        return lowest is not None and self._holding.exclude(lowest)

    def _proof(self, origin: Origin) -> Proof | None:
        """Return the proof for which an origin is excluded."""
        exclusion = self._holding.exclusions.get(origin)
        return forks.decode(exclusion[1], self._verifier) if exclusion is not None else None

    def _follow(self, own: Origin) -> None:
        """Let our feed go on behind entries of ours that somebody else has kept for us."""
        last = self.spans[own][-1]
        if self._feed is not None and last.last > self._feed.seq - self._feed.pending:
            self._feed.move(last.last, last.head, self._holding.clock(own, last.last, -1))

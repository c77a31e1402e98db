"""Evidence of a fork: what a store and a batch that contradicts it have to show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.history.batch import Batch
from megaphone.history.entry import bare
from megaphone.history.feed import batch_of
from megaphone.history.forks import MAX_RUN, Proof, prove

if TYPE_CHECKING:
    from collections.abc import Sequence

    from megaphone.history.entry import EntryID
    from megaphone.history.ports import EntryStore, Span, Verifier


class Evidence:
    """What can be shown against the origin of a batch; `before` is the proof for which it is excluded already."""

    def __init__(
        self, store: EntryStore, verifier: Verifier, batch: Batch, ids: Sequence[EntryID], before: Proof | None
    ) -> None:
        self._store = store
        self._verifier = verifier
        self._batch = batch
        self._ids = ids
        self._before = before

    def of_fork(self, span: Span) -> Proof | None:
        """Return the proof that batch and span contradict each other, which they do; None without the seals for it."""
        batch = self._batch
        first, last = max(batch.seq, span.first) - 1, min(batch.last, span.last)
        theirs = dict(enumerate((batch.previous, *self._ids), batch.seq - 1))
        ours = {span.first - 1: span.before}
        for placed in self._store.feed(batch.room, batch.origin, max(first, 1), last):
            ours[placed.seq] = placed.id
        seq = next((at for at in range(first, last + 1) if at in ours and ours[at] != theirs[at]), last)
        return self._of(self._stored(max(seq, span.first)), self._said(max(seq, batch.seq)))

    def of_earlier_fork(self) -> Proof | None:
        """Return the proof that the batch contradicts the proof that is known, from an earlier seq on; None if not."""
        before = self._before
        if before is None:
            return None
        found = [prove(self._batch, run, self._verifier) for run in (before.one, before.other)]
        lowest = min((proof for proof in found if proof is not None), key=lambda proof: proof.seq, default=None)
        return lowest if lowest is not None and lowest.seq < before.seq else None

    def of_clock_before(self, seq: int) -> Proof | None:
        """Return the proof that the clock has not risen from the stored entry at `seq` to the batch's first."""
        return self._of(self._single(seq), self._said(self._batch.seq))

    def of_clock_after(self) -> Proof | None:
        """Return the proof that the clock has not risen from the batch's last entry to the stored one after it."""
        batch = self._batch
        previous = self._ids[-2] if len(self._ids) > 1 else batch.previous
        last = Batch(batch.room, batch.origin, batch.last, previous, (bare(batch.entries[-1]),), b"")
        return self._of(last, self._stored(batch.last + 1))

    def _of(self, one: Batch | None, other: Batch | None) -> Proof | None:
        return prove(one, other, self._verifier) if one is not None and other is not None else None

    def _single(self, seq: int) -> Batch | None:
        """Return one stored entry, without a seal."""
        found = self._store.feed(self._batch.room, self._batch.origin, seq, seq)
        return batch_of(self._batch.room, found, b"") if found else None

    def _said(self, first: int) -> Batch | None:
        """Return the batch from a seq on, with what is stored behind it if that has the seal."""
        batch = self._batch
        at = first - batch.seq
        previous = self._ids[at - 1] if at else batch.previous
        run = batch._replace(seq=first, previous=previous, entries=batch.entries[at:])
        return run if run.seal else _joined(run, self._stored(batch.last + 1))

    def _stored(self, first: int) -> Batch | None:
        """Return stored entries from a seq on to the next seal, or to where the proof that is known begins."""
        room, origin, before = self._batch.room, self._batch.origin, self._before
        sealed = self._store.seal(room, origin, first)
        last = sealed[0] if sealed is not None else before.seq - 1 if before is not None else 0
        start = max(first, last - MAX_RUN + 1)
        found = self._store.feed(room, origin, start, last) if start <= last else []
        if not found or len(found) != last - start + 1:
            return None
        run = batch_of(room, found, sealed[1] if sealed is not None else b"")
        if sealed is not None or before is None:
            return run if sealed is not None else None
        return next(
            (joined for side in (before.one, before.other) if (joined := _joined(run, side, found[-1].id))), None
        )


def _joined(run: Batch, behind: Batch | None, head: EntryID | None = None) -> Batch | None:
    """Return two runs as one, with the seal of the one behind; None if there is no such, or it does not fit."""
    if behind is None or behind.seq != run.last + 1 or (head is not None and behind.previous != head):
        return None
    entries = (*run.entries, *behind.entries)
    return run._replace(entries=entries, seal=behind.seal) if len(entries) <= MAX_RUN else None

"""Forks: an origin that has signed two things that cannot both be, and the proof, which anybody can check.

A proof is two runs of bare entries of one feed (batches, as `batch.encode` writes them), each with the seal that
vouches for it. A run of entries says the ids of all of them, and of the one before its first. So two runs contradict
each other at the lowest seq of which both say an id, and not the same:

    one      … 41 ─► 42 ─► 43 ─► 44  seal            forked at 42
    other         41 ─► 42'─► 43' seal               (or, without 42': its first entry is 43', after another 42)

or where one goes on from the other's last entry with a clock that has not risen. In that case the lower run
needs no seal, as the upper one says its last id.

From that seq on nothing of this origin counts. Of two proofs the one with the lower seq is kept, then the one with the
smaller bytes: in whatever order proofs come to whomever, all end with the same one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from megaphone.errors import HistoryError
from megaphone.history import batch as batches
from megaphone.history.answers import Refusal
from megaphone.history.batch import Batch, sealed
from megaphone.history.entry import bare

if TYPE_CHECKING:
    from megaphone.history.entry import EntryID, Origin
    from megaphone.history.manifest import RoomID
    from megaphone.history.ports import Verifier

MAX_RUN: Final = 3072
"""Entries in each run of a proof: both together stay below 256 KiB."""
_LENGTH_BYTES: Final = 4


class Proof(NamedTuple):
    """What shows that an origin has forked its feed, checked: only `prove` and `decode` make one."""

    room: RoomID
    origin: Origin
    seq: int
    """From here on this origin is excluded."""
    one: Batch
    """That with the smaller bytes."""
    other: Batch

    def encode(self) -> bytes:
        """Return the bytes: length of the first run (4, big endian), first run, second run; the smaller run first."""
        one, other = batches.encode(self.one), batches.encode(self.other)
        return len(one).to_bytes(_LENGTH_BYTES, "big") + one + other

    def knows(self, seq: int) -> set[EntryID]:
        """Return the ids that the runs say of the entry at `seq`: of one before the fork it is at most one."""
        return {id_ for run in (self.one, self.other) if (id_ := _knows(run).get(seq)) is not None}


def prove(one: Batch, other: Batch, verifier: Verifier) -> Proof | None:
    """Return the proof that two runs are of a forked feed; None if nothing contradicts, or is not sealed."""
    one, other = _shorn(one), _shorn(other)
    if (one.room, one.origin) != (other.room, other.origin):
        return None
    if any(batches.faults(run, MAX_RUN) is not None for run in (one, other)):
        return None
    first, second = _knows(one), _knows(other)
    unsealed_may_be: Batch | None = None
    seq = next((at for at in sorted(first.keys() & second.keys()) if first[at] != second[at]), 0)
    if not seq:
        if other.last + 1 == one.seq:
            one, other, first = other, one, second
        if not (one.last + 1 == other.seq and first[one.last] == other.previous):
            return None
        if one.entries[-1].clock < other.entries[0].clock:
            return None
        seq, unsealed_may_be = other.seq, one
    for run in (one, other):
        if run is not unsealed_may_be and not is_sealed(run, verifier):
            return None
    one, other = sorted((one, other), key=batches.encode)
    return Proof(one.room, one.origin, seq, one, other)


def decode(data: bytes, verifier: Verifier) -> Proof:
    """Read and check a proof; HistoryError("malformed", …) if it is none, and "bad-seal" if it proves nothing."""
    length = int.from_bytes(data[:_LENGTH_BYTES], "big")
    end = _LENGTH_BYTES + length
    runs = batches.decode(data[_LENGTH_BYTES:end], MAX_RUN), batches.decode(data[end:], MAX_RUN)
    if any(each.content is not None for run in runs for each in run.entries):
        raise HistoryError(Refusal.MALFORMED, "a proof with contents")
    proof = prove(*runs, verifier)
    if proof is None:
        raise HistoryError(Refusal.BAD_SEAL, "a proof that proves nothing")
    if proof.encode() != data:
        raise HistoryError(Refusal.MALFORMED, "not the canonical form")
    return proof


def merged(one: Proof | None, other: Proof | None) -> Proof | None:
    """Return the proof that is kept of two for the same feed."""
    if one is None or other is None:
        return one or other
    return min(one, other, key=lambda proof: (proof.seq, proof.encode()))


def is_sealed(run: Batch, verifier: Verifier) -> bool:
    """Tell whether a batch has a seal, and it is right."""
    return bool(run.seal) and verifier(run.origin, run.seal, sealed(batches.ids(run)[-1]))


def _knows(run: Batch) -> dict[int, EntryID]:
    """Return the ids that a run says, by seq."""
    return dict(enumerate((run.previous, *batches.ids(run)), run.seq - 1))


def _shorn(run: Batch) -> Batch:
    """Return a run without contents."""
    return run._replace(entries=tuple(map(bare, run.entries)))

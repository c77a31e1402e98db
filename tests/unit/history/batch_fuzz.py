"""What the fuzz target history_batch checks: any bytes as a batch and as a proof, and histories that end the same.

    0 │ a batch      1 │ a proof      2 │ script: origins write, fork, erase and lose; what they made comes to two logs

The fuzzer cannot sign, so a signature is a hash here. In a script each byte makes something of the last batch or writes
another one; the two logs get all batches in opposite orders, and again until nothing changes, and tell each other
their proofs. Then they hold the same entries and the same exclusions.
"""

from __future__ import annotations

from hashlib import sha512

from megaphone.errors import HistoryError
from megaphone.history import forks
from megaphone.history.answers import Refusal
from megaphone.history.batch import Batch, decode, encode, faults, ids, sealed
from megaphone.history.clock import Clock
from megaphone.history.content import Content
from megaphone.history.entry import FIRST, EntryID, Kind, Origin, bare, entry
from megaphone.history.log import Log
from megaphone.history.manifest import Manifest
from megaphone.history.memory import MemoryStore

ROOM = Manifest("lan", "fuzz")
NOW_MS = 1_790_000_000_000
SCRIPT_LIMIT = 40  # bytes; longer ones take too long
OTHER_REASONS = {"malformed", "too-large", "clock-order"}


def signature(key: bytes, data: bytes) -> bytes:
    return sha512(key + data).digest()


def verify(key: bytes, seal: bytes, data: bytes) -> bool:
    return seal == signature(key, data)


def log() -> Log:
    return Log(ROOM, MemoryStore(), verify, lambda _: True)


class Feed:
    """Where an origin has got to; a copy is a liar."""

    def __init__(self, origin: bytes, seq: int = 0, id_: EntryID = FIRST, ms: int = NOW_MS) -> None:
        self.origin, self.seq, self.id, self.ms = Origin(origin * 32), seq, id_, ms

    def copy(self) -> Feed:
        return Feed(self.origin[:1], self.seq, self.id, self.ms)

    def write(self, kind: int, *contents: Content) -> Batch:
        entries = []
        for content in contents:
            self.ms += 1
            entries.append(entry(Clock(self.ms << 16), kind, content.encode()))
        batch = Batch(ROOM.id, self.origin, self.seq + 1, self.id, tuple(entries), b"")
        self.seq += len(entries)
        self.id = ids(batch)[-1]
        return seal(batch)


def seal(batch: Batch) -> Batch:
    return batch._replace(seal=signature(batch.origin, sealed(ids(batch)[-1])))


def play(script: bytes) -> list[Batch]:
    """What is written in a script: low 3 bits what, others how."""
    feeds = [Feed(b"a"), Feed(b"b")]
    written: list[Batch] = []
    feed = feeds[0]
    for byte in script:
        what, how = byte & 7, byte >> 3
        if what == 0 or not written:
            written.append(feed.write(Kind.MESSAGE, *(Content("a", bytes([byte, at])) for at in range(1 + how % 4))))
        elif what == 1:
            feed = feeds[how % len(feeds)]
        elif what == 2 and len(feeds) < 6:
            feeds.append(feed.copy())
        elif what == 3:
            targets = ids(written[how % len(written)])
            kind = Kind.MODERATION if how & 16 else Kind.RETRACTION
            written.append(feed.write(kind, Content("a", b"x", targets[0])))
        elif what == 4:
            written += halves(written.pop(), how)
        elif what == 5:
            last = written[-1]
            written.append(last._replace(entries=tuple(map(bare, last.entries))))
        elif what == 6:
            feed.ms += how - 16
        elif what == 7:
            written.append(joined(written, how))
    return written


def halves(batch: Batch, how: int) -> list[Batch]:
    """A batch as two, of which the first has a seal or none."""
    at = how % len(batch.entries)
    if not at:
        return [batch]
    first = batch._replace(entries=batch.entries[:at], seal=b"")
    second = batch._replace(seq=batch.seq + at, previous=ids(first)[-1], entries=batch.entries[at:])
    return [seal(first) if how & 16 else first, second]


def joined(written: list[Batch], how: int) -> Batch:
    """A batch with the one before it, if there is one that it goes on from; without a seal it stays without one."""
    last = written[-1]
    for batch in written:
        if batch.origin == last.origin and batch.last + 1 == last.seq and ids(batch)[-1] == last.previous:
            both = batch._replace(entries=(*batch.entries, *last.entries), seal=last.seal)
            return both if faults(both) is None else last
    return last._replace(seal=b"") if how & 16 else last


def state(here: Log) -> tuple[object, ...]:
    """What replicas agree on, whatever came when; contents that were lost on the way aside."""
    spans = {origin: list(found) for origin, found in here.spans.items() if found}
    return [each.id for each in here.page(10_000)], spans, dict(here.exclusions), here.digests


def deliver(here: Log, written: list[Batch]) -> None:
    """Until nothing changes."""
    for _ in range(len(written) + 2):
        before = state(here)
        for batch in written:
            accepted = here.accept(decode(encode(batch)), NOW_MS + 1000)
            if accepted.fork is not None:
                assert forks.decode(accepted.fork.encode(), verify) == accepted.fork
        if state(here) == before:
            return
    raise AssertionError("it goes on changing")


def check_script(script: bytes) -> None:
    written = play(script[:SCRIPT_LIMIT])
    one, other = log(), log()
    for _ in range(4):
        deliver(one, written)
        deliver(other, written[::-1])
        for here, there in ((one, other), (other, one)):
            for _, proof in list(there.exclusions.values()):
                here.convict(proof)
    assert state(one) == state(other), "two logs differ"


def check_batch(data: bytes) -> None:
    batch, reason = None, ""
    try:
        batch = decode(data)
    except HistoryError as error:
        reason = error.reason
    if batch is None:
        assert reason in OTHER_REASONS, reason
        return
    assert encode(batch) == data, "two ways to write a batch"
    assert faults(batch) is None
    here = log()
    for each in (batch, seal(batch), batch):
        assert here.accept(each, NOW_MS).refusal in (None, *Refusal)
    assert here.digests or here.accept(seal(batch), NOW_MS).refusal is not None


def check_proof(data: bytes) -> None:
    proof, reason = None, ""
    try:
        proof = forks.decode(data, verify)
    except HistoryError as error:
        reason = error.reason
    if proof is None:
        assert reason in {*OTHER_REASONS, "bad-seal"}, reason
        return
    assert proof.encode() == data, "two ways to write a proof"


def check_input(data: bytes) -> None:
    """Check one input; AssertionError if something is wrong with the answer."""
    if data:
        (check_batch, check_proof, check_script)[data[0] % 3](data[1:])

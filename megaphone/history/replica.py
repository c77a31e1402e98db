"""The rooms of one node: their logs on one store, with one clock and one key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.errors import HistoryError
from megaphone.history import digest as digests
from megaphone.history import forks
from megaphone.history.answers import Accepted, Refusal
from megaphone.history.clock import COUNTER_BITS, Clock
from megaphone.history.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from megaphone.history.batch import Batch
    from megaphone.history.clock import HybridClock
    from megaphone.history.content import Content
    from megaphone.history.digest import Digest
    from megaphone.history.entry import EntryID, Origin
    from megaphone.history.forks import Proof
    from megaphone.history.manifest import Manifest, RoomID
    from megaphone.history.ports import EntryStore, Placed, Signer, Verifier

FAULTLESS = frozenset({Refusal.DUPLICATE, Refusal.EXCLUDED, Refusal.UNKNOWN_ROOM})
"""Answers that nobody need hear of: `on_refusal` is not told."""


class Replica:
    """What one node keeps. Times are milliseconds since 1970; errors of the store pass through.

    Whoever talks with other nodes gives each a `Conversation` (sync.py), pushes to all of them what `flush` returns,
    and to all but the one it came from what `on_batch` is told.

    Whoever opens the store must know that it has all that this key has ever said: only then does it know how far our
    feeds have got (`EntryStore.tip`). If it may lack some (the file is gone while the key is there, it is an old copy,
    it was put aside as damaged, or power was lost and it does not sync every write), one of these must be done, or we
    fork our own feeds and are excluded everywhere:

    * append to a room only when a `Conversation` with somebody who keeps it has brought back what is missing
      (`is_settled`); who has heard all that we said is enough, and of several who have heard parts, all are needed;
    * or take a new key;
    * or do not start, as `megaphone chat --lan` does if there is a key without a database.
    """

    def __init__(
        self,
        store: EntryStore,
        clock: HybridClock,
        signer: Signer,
        verifier: Verifier,
        trusted: Callable[[Origin], bool],
        moderates: Callable[[Origin], bool] | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.on_entries: Callable[[RoomID, Sequence[Placed]], None] = lambda room, entries: None
        """Called with what others have written and is new here, or has its content back; in the order of each feed."""
        self.on_refusal: Callable[[RoomID, Origin, Refusal], None] = lambda room, origin, refusal: None
        """Called with whose entries were refused in a room, and why; with `FORK` when an origin is excluded."""
        self.on_batch: Callable[[Batch, Origin | None], None] = lambda batch, peer: None
        """Called with a batch that others may lack, new or with contents that were lost, and the peer it came from."""
        self.on_faultless: Callable[[RoomID, Origin, Refusal], None] = lambda room, origin, refusal: None
        """Called in place of `on_refusal` with answers that nobody need hear of: what was known, or is not wanted."""
        self.on_asked: Callable[[RoomID], None] = lambda room: None
        """Called when a peer speaks of a room that is not open: it may be opened."""
        self._signer = signer
        self._verifier = verifier
        self._trusted = trusted
        self._moderates = moderates
        self._logs: dict[RoomID, Log] = {}
        self._from_day: dict[RoomID, int] = {}
        self._versions: dict[RoomID, int] = {}
        self._sought: dict[RoomID, int] = {}
        self._unsealed: dict[RoomID, None] = {}

    @property
    def origin(self) -> Origin:
        """The key of this node."""
        return self._signer.origin

    @property
    def logs(self) -> Mapping[RoomID, Log]:
        """The rooms that are open."""
        return self._logs

    @property
    def sought(self) -> Mapping[RoomID, int]:
        """Rooms whose manifest is looked for, and from which day on they will be kept."""
        return self._sought

    def open(self, manifest: Manifest, from_day: int = 0) -> Log:
        """Keep a room, and return its log; one that is open stays as it is.

        `from_day`: what is older is not asked for, but kept if it is here.
        """
        room = manifest.id
        self._sought.pop(room, None)
        if room not in self._logs:
            self._from_day[room] = from_day
            log = Log(manifest, self.store, self._verifier, self._trusted, own=self.origin, moderates=self._moderates)
            self.store.put_room(manifest)
            self._logs[room] = log
            self._versions[room] = 0
            for last in log.page(1):
                self.clock.observe(last.entry.clock)
            tip = self.store.tip(room, self.origin)
            if tip is not None:  # the entry itself may be lost
                self.clock.observe(tip.clock)
        return self._logs[room]

    def seek(self, room: RoomID, from_day: int = 0) -> None:
        """Keep a room of which only the id is known, as soon as somebody tells its manifest."""
        if room not in self._logs:
            self._sought[room] = from_day

    def close(self, room: RoomID) -> None:
        """Take no more part in a room; what is stored stays. What was not flushed is lost."""
        self._logs.pop(room, None)
        self._from_day.pop(room, None)
        self._versions.pop(room, None)
        self._sought.pop(room, None)
        self._unsealed.pop(room, None)

    def reload(self, room: RoomID) -> None:
        """Read anew what the store has of an open room, from which entries have gone (retention, damage)."""
        if room in self._logs:
            self._logs[room].reload()
            self._versions[room] += 1

    def keep_from(self, room: RoomID, from_day: int) -> None:
        """Ask for nothing more of an open room that is older than a day."""
        self._from_day[room] = from_day

    def from_day(self, room: RoomID) -> int:
        """Return from which day on an open room is kept."""
        return self._from_day[room]

    def version(self, room: RoomID) -> int:
        """Return a number that changes whenever an open room's entries do."""
        return self._versions[room]

    def digest(self, room: RoomID, from_day: int = 0) -> Digest:
        """Return the digest of an open room's entries from a day on."""
        return digests.since(self._logs[room].digests, from_day)

    def trusts(self, origin: Origin) -> bool:
        """Tell whether entries of an origin are taken."""
        return self._trusted(origin)

    @property
    def unsealed(self) -> bool:
        """Whether anything was appended that was not flushed."""
        return bool(self._unsealed)

    def append(self, room: RoomID, kind: int, content: Content, now_ms: int, *, keeps_time: bool = False) -> Placed:
        """Add an entry of our own to an open room; it leaves with `flush`. HistoryError as of `Log.append`.

        `keeps_time`: it was said at `now_ms`, which may be long ago; for rooms to which nobody else has written.
        """
        log = self._logs.get(room)
        if log is None:
            raise HistoryError(Refusal.UNKNOWN_ROOM, room.hex())
        if keeps_time:
            clock = Clock(max(log.own_clock + 1, now_ms << COUNTER_BITS))
            self.clock.observe(clock)
        else:
            clock = self.clock.tick(now_ms)
        placed = log.append(kind, content, clock)
        self._unsealed[room] = None
        return placed

    def flush(self, now_ms: int) -> list[Batch]:
        """Seal and store all that was appended; returns the batches, to be pushed when the store has them safe."""
        del now_ms  # nothing of it depends on the time, so far
        flushed = []
        while self._unsealed:
            room = next(iter(self._unsealed))
            while (batch := self._logs[room].flush(self._signer)) is not None:
                self._versions[room] += 1
                flushed.append(batch)
            del self._unsealed[room]
        return flushed

    def forsake(self) -> None:
        """Let go of what waits to be sealed in rooms from which we are excluded, as `flush` has said: it is lost."""
        for room in [room for room in self._unsealed if self.origin in self._logs[room].exclusions]:
            del self._unsealed[room]

    def accept(self, batch: Batch, now_ms: int) -> Accepted:
        """Take what is new of somebody's batch, and tell those who listen."""
        log = self._logs.get(batch.room)
        if log is None:
            return Accepted(refusal=Refusal.UNKNOWN_ROOM)
        accepted = log.accept(batch, now_ms)
        if accepted.new or accepted.fork is not None:
            self._versions[batch.room] += 1
        if accepted.new:
            self.clock.observe(Clock(max(placed.entry.clock for placed in accepted.new)))
        if accepted.refusal is not None:
            told = self.on_faultless if accepted.refusal in FAULTLESS else self.on_refusal
            told(batch.room, batch.origin, accepted.refusal)
        if accepted.new or accepted.restored:
            self.on_entries(batch.room, (*accepted.new, *accepted.restored))
        return accepted

    def convict(self, room: RoomID, data: bytes) -> tuple[Proof, bool]:
        """Take a proof that an origin has forked its feed; returns it, and whether it says more than is known.

        HistoryError as of `Log.convict`.
        """
        proof = forks.decode(data, self._verifier)
        if self._logs[room].convict(data) is None:
            return proof, False
        self._versions[room] += 1
        self.on_refusal(room, proof.origin, Refusal.FORK)
        return proof, True

    def ids(self, room: RoomID, from_day: int = 0, days: Sequence[int] = ()) -> list[EntryID]:
        """Return the ids of an open room's entries: of these days, or of all from a day on."""
        if not days and not from_day:
            return list(self.store.ids(room))
        chosen = days or [day for day in self._logs[room].digests if day >= from_day]
        return [id_ for day in chosen for id_ in self.store.ids(room, day)]

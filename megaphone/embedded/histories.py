"""The logs whose home is one worker: of its rooms and users, signed with the node's key, on the node's database.

    rooms, service ─► LogArchives ─► Replica ─► flush, 10 ms after a turn ─► SQLiteHistory ─► committed ─► other nodes
                                                  └─ at once, if somebody asks for it, or is promised that it is safe

A signature costs as much as ten messages: whatever is said in a log meanwhile is sealed together. Each log has one
writer in a node, its home worker: nobody else appends to it, or takes others' entries into it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from megaphone import log as logs
from megaphone.embedded.archives import LogArchives
from megaphone.embedded.old_archives import OldArchives
from megaphone.embedded.retention import Retention
from megaphone.errors import HistoryError, StorageError
from megaphone.history.clock import HybridClock
from megaphone.history.manifest import MUC, USER
from megaphone.history.replica import Replica
from megaphone.history.tombstones import TOMBSTONES, target_of
from megaphone.storage.history import SQLiteHistory
from megaphone.storage.history_upkeep import HistoryUpkeep
from megaphone.storage.node_key import verify
from megaphone.storage.own_key import own_key
from megaphone.stream.jid import JID

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from megaphone.embedded.retention import RetentionSettings
    from megaphone.history.answers import Refusal
    from megaphone.history.batch import Batch
    from megaphone.history.entry import Origin
    from megaphone.history.log import Log
    from megaphone.history.manifest import RoomID
    from megaphone.history.ports import Placed
    from megaphone.storage.history_check import Damage
    from megaphone.storage.storage import Storage
    from megaphone.storage.writer import Writer
    from megaphone.stream.archive import Archived

WAITING_LIMIT: Final = 4_096  # batches that wait for their commit to be told to others; the rest they get by sync
UNWRITTEN: Final = "histories"
GATHER_SECONDS: Final = 0.01


class Histories:
    """The histories of one worker.

    `began(kind, owner)` says since when there is a room or user of a name (Unix seconds; 0 if unknown, infinity if
    there is none); `is_home` whether a bare JID is at home here. `hold` (`Promises.hold`), `later` (`Router.later`) and
    `wait` (`loop.call_later`) are set before the first stanza.
    """

    hold: Callable[[bool, str], None]
    later: Callable[[Callable[[], None]], None]
    wait: Callable[[float, Callable[[], None]], object]

    def __init__(
        self,
        storage: Storage,
        data: str,
        *,
        is_home: Callable[[JID], bool],
        now: Callable[[], float],
        began: Callable[[str, JID], float],
        settings: RetentionSettings,
    ) -> None:
        self.now = now
        self.is_home = is_home
        self.key = own_key(data)
        self.upkeep = HistoryUpkeep(storage)
        self.on_heard: Callable[[str, JID, Sequence[Archived]], None] = lambda kind, owner, entries: None
        """Called with entries of other nodes that are new here, of a room ("muc") or user ("user"), in the order of
        each feed. Before one that erases another comes that one as it is from now on, `erased`."""
        self.on_flushed: Callable[[Log, Batch], None] | None = None
        """Called with what was said here when it is durable; None while there is nobody to tell."""
        self.on_opened: Callable[[Log], None] = lambda log: None
        self.on_refused: Callable[[RoomID, Origin, Refusal], None] = lambda room, origin, refusal: None
        self.trusted: set[Origin] = {self.key.origin}
        self.flushed = 0
        """Batches of ours so far."""
        self.heard = 0
        """Entries of others that were new here."""
        self._writer = storage.writer
        self.writes = Writes(self, storage.writer)
        self._log = logs.get_logger("history")
        self._damaged: set[RoomID] = set()
        self._stuck = False
        self._gathering = False
        self._waiting: deque[tuple[int, Log, Batch]] = deque()
        self.store = SQLiteHistory(storage, verifier=verify, on_damage=self._note_damage)
        self.replica = Replica(self.store, HybridClock(), self.key, verify, self.trusted.__contains__)
        self.replica.on_entries = self._hear
        self.replica.on_refusal = lambda room, origin, refusal: self.on_refused(room, origin, refusal)
        self.archives = {kind: self._archives(kind, began) for kind in (MUC, USER)}
        self.rooms, self.users = self.archives[MUC], self.archives[USER]
        self._old = OldArchives(self.upkeep, self.replica, self.flush, storage.writer)
        self.retention = Retention(self, began, settings)

    def _archives(self, kind: str, began: Callable[[str, JID], float]) -> LogArchives:
        return LogArchives(
            self.replica,
            kind,
            self.flush,
            check_room=self._writer.check_room,
            began=lambda owner: began(kind, owner),
            opened=lambda owner, log: self._take_up(kind, owner, log),
            appended=lambda log: self.retention.appended(log),
            dropped=lambda owner, room: self.drop(kind, owner, room),
        )

    def close(self) -> None:
        """Close what is open; whoever made the storage closes that."""
        self.flush()
        self.store.close_reader()

    # --- writing ------------------------------------------------------------

    def turn_ended(self) -> None:
        """See to it that what was said in a turn is written soon."""
        if self.replica.unsealed and not self._gathering:
            self._gathering = True
            self.wait(GATHER_SECONDS, self._gathered)

    def _gathered(self) -> None:
        self._gathering = False
        self.flush()

    def flush(self) -> None:
        """Seal and store what was appended. What cannot be stored now waits, and nobody is told that it is safe."""
        if self._damaged:
            self._reload()
        if not self.replica.unsealed:
            self._go_on()
            return
        try:
            batches = self.replica.flush(int(self.now() * 1000))
        except StorageError as error:
            if not self._stuck:
                self._log.error("not written", reason=error.reason)
            self._stuck = True
            self.hold(True, UNWRITTEN)
            return
        except HistoryError as error:  # we have forked our own feed: an old copy of a database was started
            self._log.error("not sealed", reason=str(error))
            self.replica.forsake()
            return
        self.flushed += len(batches)
        if self.on_flushed is not None:
            position = self._writer.position
            for batch in batches:
                if len(self._waiting) < WAITING_LIMIT:
                    self._waiting.append((position, self.replica.logs[batch.room], batch))
        self._go_on()

    def _go_on(self) -> None:
        if self._stuck:
            self._stuck = False
            self.hold(False, UNWRITTEN)

    def committed(self) -> None:
        """The store has committed: tell others what is durable now."""
        while self._waiting and self._waiting[0][0] <= self._writer.committed:
            _, log, batch = self._waiting.popleft()
            if self.on_flushed is not None:
                self.on_flushed(log, batch)

    def sweep(self, now: float) -> None:
        """Do what is due; called 8 times a second, `now` in seconds of a steady clock."""
        self.flush()
        self.retention.sweep(now)

    def _take_up(self, kind: str, owner: JID, log: Log) -> None:
        """A log is open: it gets what was said before archives were logs, and no more than what is kept."""
        self._old.move(kind, owner, log)
        self.retention.opened(kind, owner, log)
        self.on_opened(log)

    def drop(self, kind: str, owner: JID, room: RoomID) -> None:
        """Drop all entries of a log that is closed; StorageFullError if that cannot be now."""
        self._old.forget(kind, owner)
        for origin, found in self.store.spans(room).items():
            if found:
                self.store.drop(room, origin, 1, found[-1].last)

    # --- what comes ------------------------------------------------------------

    def owner(self, log: Log) -> JID | None:
        """Return the room or user that a log is of; None if its name is no bare JID."""
        try:
            jid = JID.parse(log.manifest.name)
        except ValueError:
            return None
        return jid if not jid.resource and jid.local else None

    def _hear(self, room: RoomID, entries: Sequence[Placed]) -> None:
        """Tell of what others have said; it is in the store."""
        log = self.replica.logs[room]
        owner, archives = self.owner(log), self.archives.get(log.manifest.kind)
        self.heard += len(entries)
        self.retention.appended(log, len(entries))
        if owner is None or archives is None:
            return
        heard: list[Archived] = []
        for placed in entries:
            if placed.origin == self.key.origin or not archives.shows(owner, placed):
                continue
            if placed.entry.kind in TOMBSTONES and placed.entry.content is not None:
                target = self.store.find(room, target_of(placed))
                erased = None if target is None else archives.archived(owner, log, target)
                if erased is not None and erased.erased:
                    heard.append(erased)
            entry = archives.archived(owner, log, placed)
            if entry is not None:
                heard.append(entry)
        if heard:
            self.on_heard(log.manifest.kind, owner, heard)

    def _note_damage(self, room: RoomID, damages: Sequence[Damage]) -> None:
        """Something was altered on disk, and is dropped: what is in memory of the log is wrong from now on."""
        self._damaged.add(room)

    def _reload(self) -> None:
        damaged, self._damaged = self._damaged, set()
        for room in damaged:
            self.replica.reload(room)
            log = self.replica.logs.get(room)
            if log is not None:
                self.on_opened(log)  # others may have what is lost


class Writes:
    """`embedded.promises.Writes`: what was appended to a log counts as written when it is sealed and stored."""

    def __init__(self, histories: Histories, writer: Writer) -> None:
        self._histories = histories
        self._writer = writer

    @property
    def position(self) -> int:
        """The number of the last write that was queued."""
        self._histories.flush()
        return self._writer.position

    @property
    def committed(self) -> int:
        """The number up to which all writes are durable."""
        return self._writer.committed

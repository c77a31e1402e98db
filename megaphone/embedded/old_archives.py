"""What was archived before archives were logs moves into them, archive by archive, when a log is opened.

Entries keep their times and their order, and get other ids; a client that goes on from an old id is understood
(`LogArchives`). While a node is upgraded, processes of the version before go on writing old rows of their own rooms and
users: those move when their home is a process of this version. A node that goes back to an earlier version finds old
archives empty; what that writes then moves as soon as this version is there again.

What a killed process has moved, and not removed yet, is recognised by its content and not moved twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from megaphone import log as logs
from megaphone.errors import HistoryError, StorageError, StorageFullError
from megaphone.history.content import Content, content_hash
from megaphone.history.entry import Kind
from megaphone.history.tombstones import TOMBSTONES

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.history.log import Log
    from megaphone.history.replica import Replica
    from megaphone.storage.history_upkeep import HistoryUpkeep, OldEntry
    from megaphone.storage.writer import Writer
    from megaphone.stream.jid import JID

AT_ONCE: Final = 1_024


class OldArchives:
    """The archives of one database that are in no log yet."""

    def __init__(self, upkeep: HistoryUpkeep, replica: Replica, flush: Callable[[], None], writer: Writer) -> None:
        self._upkeep = upkeep
        self._replica = replica
        self._flush = flush
        self._writer = writer
        self._may_be: dict[str, bool] = {}  # by kind: whether there are any

    def move(self, kind: str, owner: JID, log: Log) -> None:
        """Move what there is of one archive. StorageError if it cannot be read or written: the rest moves later."""
        if not self._there_are(kind):
            return
        entries = self._upkeep.old(kind, owner.local, 0, AT_ONCE)
        if not entries:
            return
        known = {
            placed.entry.hash
            for span in log.spans.get(self._replica.origin, ())
            for placed in self._replica.store.feed(log.room, self._replica.origin, span.first, span.last)
        }
        moved = 0
        while entries:
            moved += sum(self._append(log, entry, known) for entry in entries)
            last = entries[-1].id
            self._flush()
            if self._replica.unsealed:  # the rows stay until what they say is in the log
                raise StorageFullError(self._writer.path, self._writer.trouble or "nothing can be written")
            self._upkeep.remove_old(kind, owner.local, last)
            self._writer.settle_all()  # however much there is, little waits
            entries = self._upkeep.old(kind, owner.local, last, AT_ONCE)
        logs.get_logger("history").info("moved into a log", room=str(owner), entries=moved)

    def _append(self, log: Log, entry: OldEntry, known: set[bytes]) -> bool:
        """Move one entry; False if it is there already, or cannot be in a log."""
        said = entry.said
        kind = Kind.NOTE if entry.erased or said.kind in TOMBSTONES else said.kind
        content = Content(said.author, said.stanza)
        if content_hash(content.encode()) in known:
            return False
        try:
            self._replica.append(log.room, int(kind), content, int(said.time * 1000), keeps_time=True)
        except HistoryError as error:
            logs.get_logger("history").error("not moved", room=log.manifest.name, id=entry.id, reason=str(error))
            return False
        return True

    def forget(self, kind: str, owner: JID) -> None:
        """Remove what there is of one archive."""
        if self._there_are(kind):
            self._upkeep.remove_old(kind, owner.local)

    def _there_are(self, kind: str) -> bool:
        if kind not in self._may_be:
            try:
                self._may_be[kind] = self._upkeep.has_old(kind)
            except StorageError:
                return True
        return self._may_be[kind]

"""How much of each log is kept: so many entries, so many days, so many bytes, and nothing of owners that are no more.

Days are whole days (UTC), the newest stays: all nodes drop the same, whenever they look, and ask nobody for it again. A
log that nobody else writes to, and that has too many entries of one day, is cut within the day.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from megaphone.errors import HistoryError, StorageError, StorageFullError
from megaphone.history.clock import MILLISECONDS_A_DAY
from megaphone.history.manifest import USER
from megaphone.stream.jid import JID

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.embedded.histories import Histories
    from megaphone.history.log import Log
    from megaphone.history.manifest import RoomID
    from megaphone.storage.history_upkeep import FeedAge

LOOK_SECONDS: Final = 3_600.0  # between two looks at all logs
FEEDS_AT_ONCE: Final = 256
ROOM_BYTES: Final = 1_073_741_824
_COUNTED: Final = 16_384  # logs of which it is known how many entries have come since they were trimmed


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """What is kept: entries of each room and of each user (1 or more), days (0: all), bytes of each log."""

    of_rooms: int = 10_000
    of_users: int = 10_000
    days: int = 0
    bytes: int = ROOM_BYTES


class Retention:
    """Trims the logs of one worker: one that grows now and then, all others by and by."""

    def __init__(self, histories: Histories, began: Callable[[str, JID], float], settings: RetentionSettings) -> None:
        self.settings = settings
        self._histories = histories
        self._began = began
        self._since: dict[RoomID, int] = {}
        self._look_at = 0.0
        self._at = 0  # number of the feed that was looked at last
        self._looking = False

    def kept(self, kind: str) -> int:
        """Return how many entries of a log are kept."""
        return self.settings.of_users if kind == USER else self.settings.of_rooms

    def from_day(self, kind: str, owner: JID) -> int:
        """Return before which day (days since 1970) nothing of a log is kept."""
        began = self._began(kind, owner)
        if began == float("inf"):
            return self._day(self._histories.now()) + 1
        days = self.settings.days
        oldest = self._day(self._histories.now()) - days if days else 0
        return max(oldest, self._day(began), 0)

    @staticmethod
    def _day(time: float) -> int:
        return int(time * 1000) // MILLISECONDS_A_DAY

    # --- one log ------------------------------------------------------------

    def opened(self, kind: str, owner: JID, log: Log) -> None:
        """Take note of a log: what is older than what it is to keep is not asked for."""
        counts, kept = log.digests, self.kept(kind)
        from_day = self.from_day(kind, owner)
        total = sum(count for count, _ in counts.values())
        if total >= kept:
            from_day = max(from_day, min(counts))
        if len(self._since) >= _COUNTED:
            self._since.clear()
        self._since.setdefault(log.room, kept if total >= kept else 0)
        self._histories.replica.keep_from(log.room, from_day)

    def appended(self, log: Log, count: int = 1) -> None:
        """Trim a log after every eighth of what is kept."""
        kept = self.kept(log.manifest.kind)
        since = self._since.get(log.room, kept) + count
        self._since[log.room] = since
        if since * 8 <= kept:
            return
        self._since[log.room] = 0
        owner = self._histories.owner(log)
        if owner is not None:
            self._histories.later(lambda: self.trim(log, owner))

    def trim(self, log: Log, owner: JID) -> None:
        """Drop what a log need not keep; not now, if nothing can be written."""
        histories = self._histories
        if histories.replica.logs.get(log.room) is not log:
            return
        histories.flush()
        kind = log.manifest.kind
        kept, from_day = self.kept(kind), self.from_day(kind, owner)
        counts = log.digests
        total = sum(count for count, _ in counts.values())
        for day in sorted(counts)[:-1]:
            if day >= from_day and total - counts[day][0] < kept:
                break
            total -= counts[day][0]
            from_day = max(from_day, day + 1)
        try:
            dropped = histories.store.retain(log.room, from_day=from_day, max_bytes=self.settings.bytes)
            dropped += self._cut_within_day(log, kept)
        except (StorageFullError, HistoryError):
            return
        if dropped:
            histories.replica.reload(log.room)
        if log.digests:
            self.opened(kind, owner, log)

    def _cut_within_day(self, log: Log, kept: int) -> int:
        store = self._histories.store
        feeds = [(origin, found) for origin, found in store.spans(log.room).items() if found]
        if len(feeds) != 1 or self._histories.on_flushed is not None:
            return 0
        ((origin, spans),) = feeds
        surplus = sum(span.last - span.first + 1 for span in spans) - kept
        if surplus <= 0:
            return 0
        left = surplus
        for span in spans:
            length = span.last - span.first + 1
            if left <= length:
                store.drop(log.room, origin, 1, span.first + left - 1)
                break
            left -= length
        return surplus

    # --- all logs ------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Look at some feeds, if it is time; `now` in seconds of a steady clock."""
        if not self._looking:
            if now < self._look_at:
                return
            self._looking, self._at = True, 0
        try:
            feeds = self._histories.upkeep.feeds(self._at, FEEDS_AT_ONCE)
            for feed in feeds:
                self._look(feed)
        except StorageError:
            feeds = []
        if feeds:
            self._at = feeds[-1].number
        if len(feeds) < FEEDS_AT_ONCE:
            self._looking = False
            self._look_at = now + LOOK_SECONDS

    def _is_gone(self, kind: str, owner: JID) -> bool:
        """Whether a log has no owner; one that other nodes know of may only be on its way here, for a day."""
        return self._began(kind, owner) in (0.0, float("inf"))

    def _look(self, feed: FeedAge) -> None:
        histories = self._histories
        archives = histories.archives.get(feed.kind)
        if feed.oldest_day is None or archives is None:
            return
        try:
            owner = JID.parse(feed.name)
        except ValueError:
            return
        if not histories.is_home(owner):
            return
        if self._is_gone(feed.kind, owner):
            if feed.newest_day is not None and feed.newest_day < self._day(histories.now()) - 1:
                with contextlib.suppress(StorageFullError):
                    histories.drop(feed.kind, owner, archives.close(owner))
        elif feed.oldest_day < self.from_day(feed.kind, owner):
            self.trim(archives.log(owner), owner)

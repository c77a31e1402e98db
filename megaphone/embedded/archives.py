"""Archives that are logs: what rooms and users say becomes entries of this node's feeds, and pages come of the logs.

    append ─► Replica.append: the id stands at once ─► flush, once for all that a turn has brought ─► others
    page   ─► what the store has, of every origin, in the log's order

An entry's stanza-id is its id, the same on every node. A tombstone's stanza is three elements: the message that says
what it does, the one that stands in the place of its target from then on, and `<author/>` with whose that was: so all
nodes show, and find, the same.

A log begins when its owner did: what was said in a room, or to a user, that had the name before is not shown.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from megaphone.embedded import log_walk
from megaphone.embedded.log_walk import CHUNK
from megaphone.errors import ArchiveError, HistoryError, StorageFullError
from megaphone.history.answers import Refusal
from megaphone.history.clock import COUNTER_BITS, Clock, milliseconds
from megaphone.history.content import Content, decode
from megaphone.history.entry import Kind, Origin, from_stanza_id, stanza_id
from megaphone.history.manifest import USER, Manifest
from megaphone.history.order import FIRST_PLACE, place
from megaphone.history.tombstones import TOMBSTONES, counts
from megaphone.stream.archive import UNKNOWN_ID, Archived, Page, Said, Wanted, cut
from megaphone.stream.jid import JID
from megaphone.stream.stanza import Stanza, children, parse
from megaphone.wire.stamp import stamp
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from megaphone.history.log import Log
    from megaphone.history.manifest import RoomID
    from megaphone.history.order import Place
    from megaphone.history.ports import Placed
    from megaphone.history.replica import Replica
    from megaphone.stream.archive import Erasure

ENTRY_COST_BYTES: Final = 256  # beside the stanza, of one that waits to be written
SEARCHED: Final = 2_000  # entries that are looked at for one message, from the last one back
LARGE_BYTES: Final = 200_000  # of a stanza that may be what makes an entry too large
OPEN_LIMIT: Final = 4_096  # logs open at a time; one more closes the one that was needed longest ago

_SHOWN: Final = frozenset(map(int, Kind))
_FAR: Final = float("inf")
_OLD_ID_DIGITS: Final = 16  # of the numbers that were ids before archives were logs: microseconds since 1970
_BEHIND_ALL: Final = Origin(b"\xff" * 33)


class LogArchives:
    """`stream.archive.Archive` of the rooms (`kind` "muc") or of the users ("user") of one node.

    `flush` seals and stores what was appended: the host's, who tells others of it when it is durable. It is called
    before each read; the host calls it when a turn ends, and before it counts on anything being written.
    `check_room` raises StorageFullError if so many bytes cannot be written now. `began` says since when, in Unix
    seconds, there is an owner of this name, 0 if that is not known. `opened`, `appended` and `dropped` are told of
    logs.
    """

    def __init__(
        self,
        replica: Replica,
        kind: str,
        flush: Callable[[], None],
        *,
        check_room: Callable[[int], None] = lambda _: None,
        began: Callable[[JID], float] = lambda _: 0.0,
        opened: Callable[[JID, Log], None] = lambda owner, log: None,
        appended: Callable[[Log], None] = lambda _: None,
        dropped: Callable[[JID, RoomID], None] = lambda owner, room: None,
        trusts_moderation: Callable[[Origin], bool] = lambda _: True,
        open_limit: int = OPEN_LIMIT,
    ) -> None:
        self._replica = replica
        self._kind = kind
        self._flush = flush
        self._check_room = check_room
        self._began = began
        self._opened = opened
        self._appended = appended
        self._dropped = dropped
        self._moderates = trusts_moderation
        self._open: OrderedDict[JID, tuple[Log, float]] = OrderedDict()  # and since when there is an owner
        self._open_limit = open_limit

    def __len__(self) -> int:
        """How many logs are open."""
        return len(self._open)

    def log(self, owner: JID) -> Log:
        """Return the log of a room or user, open; the one that was needed longest ago may be closed for it."""
        return self._log(owner)[0]

    def _log(self, owner: JID) -> tuple[Log, float]:
        found = self._open.get(owner)
        if found is not None:
            self._open.move_to_end(owner)
            return found
        if len(self._open) >= self._open_limit:
            self._flush()
            _, (oldest, _) = self._open.popitem(last=False)
            self._replica.close(oldest.room)
        log = self._replica.open(Manifest(self._kind, str(owner)))
        began = self._began(owner)
        if began < _FAR:
            self._replica.clock.observe(_clock(began))  # so that whatever is said from now on is behind it
        found = self._open[owner] = log, began
        try:
            self._opened(owner, log)
        except BaseException:
            del self._open[owner]
            self._replica.close(log.room)
            raise
        return found

    # --- writing ------------------------------------------------------------

    def append(self, owner: JID, said: Said, *, erases: Erasure | None = None, erased: bool = False) -> Archived:
        """Keep an entry, and return it: its time is that of the hybrid clock."""
        self._check_room(len(said.stanza) + ENTRY_COST_BYTES)
        log, began = self._log(owner)
        kind, stanza, target = said.kind, said.stanza, None
        if self._kind == USER and escape(said.peer) not in stanza:  # somebody has written the address otherwise
            stanza = stamp(stanza, to=f"{said.peer}/{said.resource}" if said.resource else said.peer)
        if erases is not None:
            target = from_stanza_id(erases.id)
            self._flush()  # it may have been said in this turn
            found = self._find(log, erases.id)
            author = "" if found is None or found.entry.content is None else decode(found.entry.content).author
            stanza += erases.placeholder + b"<author>%b</author>" % escape(author)
            if kind == Kind.RETRACTION and found is not None and found.origin != self._replica.origin:
                # What was said at another node its author takes back here: we know that it is the author, and vouch.
                kind = Kind.MODERATION
        if target is None and (kind in TOMBSTONES or erased):
            kind = Kind.NOTE  # erases nothing that is here, or is a placeholder already
        try:
            placed = self._replica.append(
                log.room,
                int(kind),
                Content(said.author, stanza, target),
                int(max(said.time, began if began < _FAR else 0.0) * 1000),
                keeps_time=all(origin == self._replica.origin for origin in log.spans),
            )
        except HistoryError as error:
            if error.reason == Refusal.TOO_LARGE and len(stanza) > LARGE_BYTES:
                raise ArchiveError("policy-violation", "this message is too large to be archived") from None
            if error.reason in (Refusal.TOO_LARGE, Refusal.EXCLUDED):
                raise ArchiveError("resource-constraint", f"nothing can be archived here: {error}") from None
            raise
        self._appended(log)
        return Archived(stanza_id(placed.id), said._replace(kind=int(kind), time=_seconds(placed)), erased)

    # --- reading ------------------------------------------------------------

    def find(self, owner: JID, id_: str) -> Archived | None:
        """Return the entry with an id."""
        log = self._read(owner)
        placed = self._find(log, id_)
        if placed is None or not self.shows(owner, placed):
            return None
        return self.archived(owner, log, placed)

    def find_message(self, owner: JID, peer: str, author: str, message: str) -> Archived | None:
        """Return the newest entry that is not erased by who said it, to or from whom, and its client's id."""
        walk = self._backwards(owner, self._read(owner), None, mention=self._mention(peer, None))
        for entry in islice(walk, SEARCHED):
            said = entry.said
            known = (said.peer, said.author, said.message, said.kind)
            if known == (peer, author, message, Kind.MESSAGE) and not entry.erased:
                return entry
        return None

    def tail(self, owner: JID, count: int) -> Sequence[Archived]:
        """Return the last `count` entries (1 or more), oldest first."""
        return list(islice(self._backwards(owner, self._read(owner), None), count))[::-1]

    def ends(self, owner: JID) -> tuple[Archived, Archived] | None:
        """Return the first and the last entry; None if there is none."""
        log = self._read(owner)
        last = next(self._backwards(owner, log, None), None)
        first = next(self._forwards(owner, log, self._floor(owner)), None)
        return None if first is None or last is None else (first, last)

    def page(self, owner: JID, wanted: Wanted) -> Page:
        """Return a page; ArchiveError("item-not-found") if an id that is named in it is not in the log."""
        log = self._read(owner)
        floor = self._floor(owner)
        named: dict[str, Placed] = {}
        for id_ in wanted.named:
            found = self._find(log, id_)
            if found is None or place(found) <= floor:
                raise ArchiveError("item-not-found", UNKNOWN_ID)
            named[id_] = found
        after = max([place(named[id_]) for id_ in wanted.after] + [_at(wanted.start, -1), floor])
        before = min([place(named[id_]) for id_ in wanted.before] + [_at(wanted.end, 1)])
        stable = self._is_stable(log)
        if wanted.ids is not None:
            chosen = sorted((named[id_] for id_ in set(wanted.ids)), key=place)
            inside = [each for each in chosen if after < place(each) < before]
            found_entries = [self.archived(owner, log, each) for each in inside]
            entries = [each for each in found_entries if each is not None and wanted.matches(each)]
            return cut(entries, wanted, total=len(entries) if wanted.max == 0 else None)._replace(stable=stable)
        mention = self._mention(wanted.peer, wanted.resource)
        if wanted.backwards:
            walk = self._backwards(owner, log, before, until=after, mention=mention)
        else:
            walk = self._forwards(owner, log, after, until=before, mention=mention)
        matching = (each for each in walk if wanted.matches(each))
        if wanted.max == 0:
            known = self._total(owner, log, wanted)
            total = sum(1 for _ in matching) if known is None else known
            return Page((), complete=total == 0, total=total, stable=stable)
        entries = list(islice(matching, wanted.max + 1))
        return cut(entries[::-1] if wanted.backwards else entries, wanted)._replace(stable=stable)

    def forget(self, owner: JID) -> None:
        """Drop all of a log, whose owner is no more; what cannot be dropped now is not shown, and goes later."""
        with contextlib.suppress(StorageFullError):
            self._dropped(owner, self.close(owner))

    def close(self, owner: JID) -> RoomID:
        """Take no part in a log until it is needed again; returns its id."""
        room = Manifest(self._kind, str(owner)).id
        self._flush()
        self._open.pop(owner, None)
        self._replica.close(room)
        return room

    def _read(self, owner: JID) -> Log:
        """Return a log of which everything that was appended is in the store."""
        log = self.log(owner)
        self._flush()
        return log

    def _floor(self, owner: JID) -> Place:
        """Return the place behind which the log of this owner begins, and not that of one who had the name before."""
        began = self._began(owner)
        return FIRST_PLACE if began <= 0 else _at(began, -1)

    def shows(self, owner: JID, placed: Placed) -> bool:
        """Whether an entry was written since there is this owner."""
        return place(placed) > self._floor(owner)

    def _find(self, log: Log, id_: str) -> Placed | None:
        entry = from_stanza_id(id_)
        return self._find_old(log, id_) if entry is None else self._replica.store.find(log.room, entry)

    def _find_old(self, log: Log, id_: str) -> Placed | None:
        """Return the entry that a client knows by the number that was its id before archives were logs."""
        if len(id_) != _OLD_ID_DIGITS or not (id_.isascii() and id_.isdecimal()):
            return None
        time = int(id_) // 1000
        here = [
            each
            for each in log.page(CHUNK, (Clock((time + 1) << COUNTER_BITS), Origin(b""), 0))
            if milliseconds(each.entry.clock) == time and each.origin == self._replica.origin
        ]
        return here[0] if here else None

    def _is_stable(self, log: Log) -> bool:
        """Whether nothing more is to come into the middle of a log; what was dropped at its beginning does not."""
        firsts = {origin: found[0].first for origin, found in log.spans.items() if found}
        return all(not lack.content and lack.last < firsts[lack.origin] for lack in log.missing())

    def _backwards(
        self, owner: JID, log: Log, before: Place | None, *, until: Place = FIRST_PLACE, mention: bytes = b""
    ) -> Iterator[Archived]:
        until = max(until, self._floor(owner))
        for placed in log_walk.backwards(self._replica.store, log, before, mention):
            if place(placed) <= until:
                return
            entry = self.archived(owner, log, placed)
            if entry is not None:
                yield entry

    def _forwards(
        self, owner: JID, log: Log, after: Place, *, until: Place | None = None, mention: bytes = b""
    ) -> Iterator[Archived]:
        for placed in log_walk.forwards(self._replica.store, log, after, mention):
            if until is not None and place(placed) >= until:
                return
            entry = self.archived(owner, log, placed)
            if entry is not None:
                yield entry

    def _mention(self, peer: str | None, resource: str | None) -> bytes:
        """Return what is in every entry with somebody, or with this nick."""
        if self._kind == USER:
            return b"" if peer is None else escape(peer)
        return peer.encode() if peer is not None else b"" if resource is None else escape(resource)

    def _total(self, owner: JID, log: Log, wanted: Wanted) -> int | None:
        """Return how many entries there are, if all are wanted; None if they must be looked at."""
        if replace(wanted, max=0, backwards=False) != Wanted(0):
            return None
        first = next(log_walk.forwards(self._replica.store, log, FIRST_PLACE), None)
        if first is None or place(first) <= self._floor(owner):
            return None
        return sum(count for count, _ in log.digests.values())

    def archived(self, owner: JID, log: Log, placed: Placed) -> Archived | None:
        """Return an entry as its readers know it; None for one that is not shown."""
        kind = placed.entry.kind
        if kind not in _SHOWN:
            return None
        if placed.entry.content is not None:
            content = decode(placed.entry.content)
            stanza = content.stanza if kind not in TOMBSTONES else _parts(content.stanza)[0]
            return Archived(stanza_id(placed.id), self._said(owner, placed, kind, content.author, stanza))
        for tombstone in self._replica.store.tombstones(log.room, placed.id):
            if counts(tombstone, placed, self._moderates):
                _, stanza, author = _parts(decode(tombstone.entry.content or b"").stanza)
                said = self._said(owner, placed, kind, parse(author).text or "", stanza)
                return Archived(stanza_id(placed.id), said, erased=True)
        return None  # damaged, or its content is still to come

    def _said(self, owner: JID, placed: Placed, kind: int, author: str, stanza: bytes) -> Said:
        read = Stanza.read(stanza)
        sender, to = read.from_, read.to
        if self._kind == USER:
            is_own = sender is not None and sender.bare == owner
            other = to if is_own else sender
            peer, resource = ("", "") if other is None else (str(other.bare), other.resource)
        else:
            peer, resource = author, "" if sender is None else sender.resource
        return Said(_seconds(placed), kind, author, peer, resource, stanza, read.id or "")


def _seconds(placed: Placed) -> float:
    return milliseconds(placed.entry.clock) / 1000


def _at(time: float, side: int) -> Place:
    """Return the place directly before (-1) or behind (1) everything that was said in that millisecond."""
    if time == float("-inf"):
        return FIRST_PLACE
    if time == float("inf"):
        return Clock((1 << 64) - 1), _BEHIND_ALL, 0
    if side < 0:
        return Clock(_clock(time) - 1), _BEHIND_ALL, 0
    return Clock((int(time * 1000) + 1) << COUNTER_BITS), Origin(b""), 0


def _clock(time: float) -> Clock:
    return Clock(int(time * 1000) << COUNTER_BITS)


def _parts(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return what a tombstone is made of; one that others have made otherwise says nothing in its target's place."""
    whole = b"<all>%b</all>" % data
    found = [whole[each.begin : each.end] for each in children(whole)]
    return (found[0], found[1], found[2]) if len(found) == 3 else (found[0], b"<message/>", b"<author/>")

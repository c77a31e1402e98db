"""Histories of one worker in a cluster: each log is kept by some nodes, and by those where people are in the room.

    said here, durable ─┬─ keepers of the log, others who have said that they hold it ─► Talk(Push) on a line
                        └─ a keeper that has not heard of the log yet               ─► Told, with its name
    what comes          ─► Conversation, Log ─► on_heard
    a node has come or gone, NATS is there again: new conversations, and one after the other all logs

Keepers are those of the alive nodes that rendezvous hashing gives (history/keepers.py): whoever opens a log tells them
its name. A node that is none and opens a log, because somebody is in the room, says so to all. Whose entries are taken
is remembered on disk: all nodes that were ever seen in the cluster, and nobody else.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from megaphone import log as logs
from megaphone.embedded import history_frames as frames
from megaphone.embedded.history_line import HISTORY, Line
from megaphone.errors import HistoryError, StorageError
from megaphone.history import batch as batches
from megaphone.history.answers import Refusal
from megaphone.history.entry import Origin
from megaphone.history.keepers import keepers
from megaphone.history.manifest import MUC, USER, Manifest
from megaphone.history.messages import Push
from megaphone.history.messages_codec import encode
from megaphone.history.sync_answers import parts
from megaphone.stream.jid import JID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from megaphone.bus.members import Member
    from megaphone.bus.ports import Message
    from megaphone.embedded.histories import Histories
    from megaphone.embedded.nodes import Nodes
    from megaphone.history.batch import Batch
    from megaphone.history.log import Log
    from megaphone.history.manifest import RoomID

WALK_ROWS: Final = 64
WALK_OPEN: Final = 32  # logs that the walk has opened, and of which an answer is waited for
WALK_SECONDS: Final = 0.01  # of each eighth of a second
WALK_WAIT_SECONDS: Final = 15.0
REPEAT_SECONDS: Final = 60.0  # between two lines in the log about the same origin and refusal
KEPT_LIMIT: Final = 16_384  # logs of which it is remembered who keeps them
KINDS: Final = (MUC, USER)


class HistoryNodes:
    """What a worker says to others, and hears from them, about histories. `keepers` nodes keep each log.

    `now` gives a steady clock's seconds.
    """

    def __init__(
        self,
        nodes: Nodes,
        histories: Histories,
        *,
        keepers: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.refused: dict[Refusal, int] = {}
        """How many batches of others were refused, by reason."""
        self.lost = 0
        """Conversations that were given up."""
        self.told = 0
        """Batches that were told to another node."""
        self._nodes = nodes
        self._histories = histories
        self._keepers = keepers
        self._now = now
        self._log = logs.get_logger("history")
        self._lines: dict[tuple[str, int], Line] = {}
        self._opening_for: Line | None = None
        self._walk: Iterator[Manifest] | None = None
        self._walked: dict[RoomID, float] = {}
        self._walk_wanted = True
        self._said: dict[tuple[Origin, Refusal], float] = {}
        self._kept_by: dict[RoomID, list[Origin]] = {}
        histories.trusted.update(histories.upkeep.origins())
        histories.on_flushed = self._tell
        histories.on_opened = self._opened
        histories.on_refused = self._refused
        histories.replica.on_asked = self._asked
        histories.replica.on_faultless = lambda room, origin, refusal: self._count(refusal)
        nodes.subscribe(nodes.own_subject(HISTORY), self._take)
        nodes.on_joined.append(self._joined)
        nodes.on_left.append(self._left)
        nodes.on_up.append(self._changed)
        nodes.on_worker.append(self._began_anew)
        # the first write of this process: with it everything is on the disk that was written before without a sync
        histories.upkeep.put_origin(histories.key.origin, nodes.own.name, histories.now())
        for member in nodes.members.values():
            if member.key != nodes.own.key:
                self._joined(member)

    # --- who there is ------------------------------------------------------------

    def _joined(self, member: Member) -> None:
        origin = Origin(member.node_key)
        self._kept_by.clear()
        self._histories.trusted.add(origin)
        try:
            self._histories.upkeep.put_origin(origin, member.name, self._histories.now())
        except StorageError as error:
            self._log.warning("node not remembered", node=member.name, reason=error.reason)
        self._walk_wanted = True

    def _left(self, member: Member) -> None:
        self._kept_by.clear()
        for key in [key for key in self._lines if key[0] == member.key]:
            del self._lines[key]
        self._walk_wanted = True  # others are keepers now

    def _changed(self, up: bool) -> None:
        self._lines.clear()
        self._walk_wanted = up

    def _began_anew(self, node: str, worker: int, _epoch: bytes) -> None:
        line = self._lines.pop((node, worker), None)
        if line is not None:
            line.lose()

    def _line(self, node: str, worker: int) -> Line | None:
        """Return the line to a worker of a node that is alive."""
        line = self._lines.get((node, worker))
        if line is None:
            member = self._nodes.members.get(node)
            if member is None or node == self._nodes.own.key or not 0 <= worker < self._nodes.workers(node):
                return None
            line = self._lines[node, worker] = Line(
                self._nodes,
                self._histories.replica,
                Origin(member.node_key),
                worker,
                now=self._now,
                now_ms=lambda: int(self._histories.now() * 1000),
                offers=lambda log: self._offers(log, node, worker),
                begun=self._begun,
                lost=self._count_lost,
            )
        return line

    def _count_lost(self) -> None:
        self.lost += 1

    def _all_lines(self) -> Iterator[Line]:
        """Yield the lines to all workers that may be the home of something that is at home here."""
        own_workers = self._nodes.workers(self._nodes.own.key)
        for node in list(self._nodes.members):
            workers = self._nodes.workers(node)
            same = workers == own_workers  # then everything has the same home there
            for worker in (self._nodes.worker,) if same else range(workers):
                line = self._line(node, worker)
                if line is not None:
                    yield line

    def _lines_of(self, log: Log) -> Iterator[Line]:
        """Yield the lines to the homes of a log on all other nodes."""
        owner = self._histories.owner(log)
        if owner is None:
            return
        for node in list(self._nodes.members):
            line = None if node == self._nodes.own.key else self._line(node, self._nodes.home(owner, node))
            if line is not None:
                yield line

    def _keep(self, room: RoomID) -> list[Origin]:
        """Return the nodes that keep a log."""
        found = self._kept_by.get(room)
        if found is None:
            if len(self._kept_by) >= KEPT_LIMIT:
                self._kept_by.clear()
            nodes = [Origin(each.node_key) for each in self._nodes.members.values()]
            found = self._kept_by[room] = keepers(room, nodes, self._keepers)
        return found

    def _offers(self, log: Log, node: str, worker: int) -> bool:
        """Whether we speak of a log to a worker of another node."""
        owner = self._histories.owner(log)
        if owner is None or log.manifest.kind not in KINDS or self._nodes.home(owner, node) != worker:
            return False
        kept_by = self._keep(log.room)
        return bytes.fromhex(node) in kept_by or self._histories.key.origin not in kept_by

    # --- what is said ------------------------------------------------------------

    def _tell(self, log: Log, batch: Batch) -> None:
        """Tell others of what is durable here."""
        kept_by = self._keep(batch.room)
        for line in self._lines_of(log):
            if line.push(lambda conversation: conversation.push(batch)):
                self.told += 1
            elif line.node in kept_by and line.conversation is not None:
                self.told += 1
                sender, worker, _ = self._nodes.sender
                for part in parts(batch):
                    line.say(frames.Told(sender, worker, _name(log), batches.encode(part)))

    def _opened(self, log: Log) -> None:
        """A log has been opened here: its keepers are told, or all, by who is none."""
        if log.manifest.kind not in KINDS:
            return
        kept_by = self._keep(log.room)
        is_keeper = self._histories.key.origin in kept_by
        now_ms = int(self._histories.now() * 1000)
        sender, worker, _ = self._nodes.sender
        for line in self._lines_of(log):
            if line is self._opening_for or line.conversation is None:
                continue
            if line.node in kept_by:
                line.say(frames.Kept(sender, worker, (_name(log),)))
            if line.node in kept_by or not is_keeper:
                line.push(lambda conversation: conversation.offer(log.room, now_ms))

    def _begun(self, line: Line) -> None:
        """A conversation begins: the other side gets to know the names of what it keeps."""
        sender, worker, _ = self._nodes.sender
        named = [
            _name(log)
            for log in self._histories.replica.logs.values()
            if line.node in self._keep(log.room) and self._offers(log, line.node.hex(), line.worker)
        ]
        for start in range(0, len(named), frames.NAMED_AT_ONCE):
            line.say(frames.Kept(sender, worker, tuple(named[start : start + frames.NAMED_AT_ONCE])))

    # --- what is heard ------------------------------------------------------------

    def _take(self, message: Message) -> bytes:
        """Take a frame; the answer says that it has been taken."""
        frame = frames.decode(message.payload)
        if frame is None:
            return b""
        member = self._nodes.member(frame.sender)
        line = None if member is None else self._line(member.key, frame.worker)
        if line is None:
            if isinstance(frame, frames.Told | frames.Talk):
                self._count(Refusal.UNKNOWN_ORIGIN)
            return b""
        before, self._opening_for = self._opening_for, line
        try:
            if isinstance(frame, frames.Talk):
                line.take(frame)
            elif isinstance(frame, frames.Again):
                line.take_again()
            elif isinstance(frame, frames.Kept):
                for kind, name in frame.rooms:
                    self._open(Manifest(kind, name))
            else:
                self._take_told(line, frame)
        except StorageError as error:  # what could not be read or kept is missing, and asked for later
            self._log.warning("not kept", reason=error.reason)
        finally:
            self._opening_for = before
        return b""

    def _take_told(self, line: Line, frame: frames.Told) -> None:
        """Take a batch of a log that may be new to us."""
        try:
            batch = batches.decode(frame.batch)
        except HistoryError as error:
            self._refused(Manifest(*frame.room).id, line.node, Refusal(error.reason))
            return
        if self._open(Manifest(*frame.room)) is None:
            return
        pushed = encode(Push(frame.batch))
        now_ms = int(self._histories.now() * 1000)
        if line.conversation is None:
            self._histories.replica.accept(batch, now_ms)
        else:
            line.push(lambda conversation: conversation.receive(pushed, now_ms))

    def _open(self, manifest: Manifest) -> Log | None:
        """Open a log that somebody else has, if it is at home here and we keep it."""
        room = manifest.id
        known = self._histories.replica.logs.get(room)
        if known is not None:
            return known
        archives = self._histories.archives.get(manifest.kind)
        owner = _owner(manifest)
        if archives is None or owner is None or not self._histories.is_home(owner):
            return None
        is_here = self._histories.key.origin in self._keep(room) or self._histories.store.manifest(room) is not None
        return archives.log(owner) if is_here else None

    def _asked(self, room: RoomID) -> None:
        """A peer speaks of a log that is not open: open it, if we have something of it."""
        manifest = self._histories.store.manifest(room)
        if manifest is not None:
            self._open(manifest)

    def _refused(self, room: RoomID, origin: Origin, refusal: Refusal) -> None:
        """Name whose entries were refused, and why, in the log, but not every time."""
        self._count(refusal)
        now = self._now()
        last = self._said.get((origin, refusal))
        if last is not None and now - last < REPEAT_SECONDS:
            return
        if len(self._said) >= 1024:
            self._said.clear()
        self._said[origin, refusal] = now
        log = self._histories.replica.logs.get(room)
        names = {each.node_key: each.name for each in self._nodes.members.values()}
        self._log.warning(
            "refused",
            origin=origin.hex(),
            node=names.get(origin, "-"),
            room=room.hex() if log is None else log.manifest.name,
            reason=str(refusal),
        )

    def _count(self, refusal: Refusal) -> None:
        self.refused[refusal] = self.refused.get(refusal, 0) + 1

    # --- time ------------------------------------------------------------

    def sweep(self) -> None:
        """Do what is due; called 8 times a second."""
        if not self._nodes.up:
            return
        lines = list(self._all_lines())
        for line in lines:
            line.sweep()
        try:
            self._walk_on(lines)
        except StorageError as error:
            self._log.warning("histories not read", reason=error.reason)
            self._walk, self._walk_wanted = None, True

    def _walk_on(self, lines: list[Line]) -> None:
        """Speak of some more of all logs; those that are not open are opened for it."""
        if any(line.conversation is None for line in lines):
            return
        now = self._now()
        for room, deadline in list(self._walked.items()):
            busy = any(line.conversation is not None and line.conversation.is_busy(room) for line in lines)
            if now >= deadline or not busy:
                del self._walked[room]
        if self._walk is None:
            if not self._walk_wanted or not lines:
                return
            self._walk_wanted = False
            self._walk = self._everything()
        end = now + WALK_SECONDS
        while len(self._walked) < WALK_OPEN and self._now() < end:
            manifest = next(self._walk, None)
            if manifest is None:
                self._walk = None
                return
            owner = _owner(manifest)
            if owner is None or not self._histories.is_home(owner):
                continue
            log = self._histories.replica.logs.get(manifest.id)
            if log is None:
                self._histories.archives[manifest.kind].log(owner)
            else:
                self._opened(log)  # others may be its keepers now
            self._walked[manifest.id] = now + WALK_WAIT_SECONDS

    def _everything(self) -> Iterator[Manifest]:
        """Yield all logs of the database: those of rooms first."""
        for kind in KINDS:
            after = 0
            while rows := self._histories.upkeep.rooms(kind, after, WALK_ROWS):
                yield from (manifest for _, manifest in rows)
                after = rows[-1][0]


def _name(log: Log) -> tuple[str, str]:
    return log.manifest.kind, log.manifest.name


def _owner(manifest: Manifest) -> JID | None:
    try:
        jid = JID.parse(manifest.name)
    except ValueError:
        return None
    return jid if jid.local and not jid.resource and str(jid) == manifest.name else None

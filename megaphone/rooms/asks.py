"""Asks other nodes what they claim of rooms, and answers them: a bounded number at a time, again until it is answered.

ask ─► due ─► send ─► asked, until when ─┬─► answered
        ▲                                └─► overdue
        └────────────────────────────────────┘
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from megaphone.rooms.events import About, Ask, Whole

if TYPE_CHECKING:
    from megaphone.rooms.events import Claim, Event, Origin
    from megaphone.rooms.mirror import Mirror
    from megaphone.rooms.room import Room
    from megaphone.rooms.rooms import Rooms
    from megaphone.rooms.wire import Wire
    from megaphone.stream.jid import JID

ASKED_AT_ONCE: Final = 512  # rooms in one Ask, and per node and `send`
ANSWER_SECONDS: Final = 5.0  # then an Ask is said again
PART_BYTES: Final = 262_144  # of the claims in one Whole


class Asks:
    """What one worker's rooms have asked. `now` is Unix seconds, set before each call."""

    def __init__(self, rooms: Rooms, wire: Wire) -> None:
        self.now = 0.0
        self.lives: dict[tuple[str, int], bytes] = {}
        """The epoch of each worker of other nodes that has said anything: node, worker."""
        self._rooms = rooms
        self._wire = wire
        self._due: dict[str, dict[JID, None]] = {}  # by node
        self._asked: dict[tuple[JID, str], float] = {}  # when an answer should have come, of those that were sent

    def ask(self, room: JID, node: str) -> None:
        """Ask a node for a room, soon; once is enough until it answers."""
        if (room, node) not in self._asked and node in self._wire.nodes:
            self._asked[room, node] = float("inf")
            self._due.setdefault(node, {})[room] = None

    def ask_again(self, room: JID, node: str) -> None:
        """Ask a node that has come again: what was asked before does not count."""
        self._asked.pop((room, node), None)
        self.ask(room, node)

    def unanswered(self, room: JID) -> list[str]:
        """Return the nodes that have not said yet what they claim of a room."""
        return [node for node in self._wire.nodes if (room, node) in self._asked]

    def answered(self, room: JID, node: str) -> bool:
        """A node has answered; returns whether it was the last one."""
        if self._asked.pop((room, node), None) is None:
            return False
        self._due.get(node, {}).pop(room, None)
        return not self.unanswered(room)

    def forget(self, room: JID) -> None:
        """Nobody wants to know of a room any more."""
        for node in self._wire.nodes:
            self._asked.pop((room, node), None)
            self._due.get(node, {}).pop(room, None)

    def lose(self, node: str) -> list[JID]:
        """A node will not answer; return the rooms of which nobody else is to say anything."""
        self._due.pop(node, None)
        rooms = [room for room, asked in self._asked if asked == node]
        for room in rooms:
            del self._asked[room, node]
        return [room for room in rooms if not self.unanswered(room)]

    def clear(self) -> None:
        """Nobody will answer."""
        self._due.clear()
        self._asked.clear()

    def repeat(self) -> None:
        """Let be asked again what should have been answered."""
        for room, node in self._overdue(self.now):
            del self._asked[room, node]
            if self._rooms.room(room) is not None:
                self.ask(room, node)

    def _overdue(self, now: float) -> list[tuple[JID, str]]:
        found = []
        for key, deadline in self._asked.items():
            if deadline != float("inf"):
                if deadline > now:
                    break
                found.append(key)
        return found

    def send(self) -> None:
        """Ask for what is to be asked for, a bounded number of rooms."""
        for node in list(self._due):
            due = self._due[node]
            rooms = [jid for jid, _ in zip(list(due), range(ASKED_AT_ONCE), strict=False)]
            for jid in rooms:
                del due[jid]
            if not due:
                del self._due[node]
            by_worker: dict[int, list[JID]] = {}
            for jid in rooms:
                by_worker.setdefault(self._wire.home(jid, node), []).append(jid)
            for worker, its in by_worker.items():
                self.send_now(node, worker, its, about=False)

    def send_now(self, node: str, worker: int, rooms: list[JID], *, about: bool) -> None:
        """Ask one worker of a node for some rooms."""
        for jid in rooms:
            self._due.get(node, {}).pop(jid, None)
        epoch = self.lives.get((node, worker), b"")
        its = self._wire.origin._replace(node=node, worker=worker, epoch=epoch)
        known: list[tuple[JID, int]] = []
        for jid in rooms:
            self._asked.pop((jid, node), None)
            self._asked[jid, node] = self.now + ANSWER_SECONDS
            room = self._rooms.room(jid)
            known.append((jid, 0 if room is None or room.mirror is None else room.mirror.known(its)))
        self._wire.tell(node, worker, [Ask(self._wire.origin, epoch, tuple(known), about)])

    # --- answering ------------------------------------------------------------

    def answer(self, ask: Ask) -> None:
        """Say what we claim of the rooms that somebody asks for."""
        events: list[Event] = []
        origin = self._wire.origin
        for jid, known in ask.rooms:
            room = self._rooms.room(jid)
            if ask.about and room is not None:
                events.append(_about(origin, room))
            mirror = None if room is None else room.mirror
            if mirror is None or not mirror.own:
                events.append(Whole(origin, jid, 0))
            elif known == mirror.seq and ask.epoch == origin.epoch:
                events.append(Whole(origin, jid, known, same=True))
            else:
                events += _parts(origin, jid, mirror)
        self._wire.tell(ask.origin.node, ask.origin.worker, events)


def _about(origin: Origin, room: Room) -> About:
    subject = None if room.subject is None else (room.subject.message, room.subject.time)
    affiliations = tuple((each.jid, str(each.affiliation), each.reason) for each in room.affiliations)
    return About(
        *(origin, room.jid, room.locked, room.config.values(), room.creator, room.created, room.secret, subject),
        affiliations,
    )


def _parts(origin: Origin, jid: JID, mirror: Mirror) -> list[Event]:
    parts: list[list[Claim]] = [[]]
    size = 0
    for claim in mirror.own.values():
        size += len(claim.presence) + 100
        if size > PART_BYTES and parts[-1]:
            parts.append([])
            size = len(claim.presence) + 100
        parts[-1].append(claim)
    last = len(parts) - 1
    return [
        Whole(origin, jid, mirror.seq, tuple(part), first=number == 0, last=number == last)
        for number, part in enumerate(parts)
    ]

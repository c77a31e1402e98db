"""The other nodes of a cluster, for the rooms of one worker: tells them of its occupants, and mirrors theirs.

    the room has changed ─► Telling ─► Wire ─► the same room on other nodes
    Wire ─► take ─► Mirror ─► mirroring ─► the room has changed, for its occupants here

A room that is new here is asked for at every node, and whoever enters waits for the answers, a second at most. A node
that has gone has its occupants here for as long as a lost connection may be resumed. Asks go out a bounded number at a
time, and again until they are answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from megaphone.errors import RoomError
from megaphone.rooms import leaving, mirroring, presence, refreshing
from megaphone.rooms.administration import change_role
from megaphone.rooms.asks import Asks
from megaphone.rooms.events import (
    About,
    Act,
    Ask,
    Closed,
    Destroyed,
    Forwarded,
    Gone,
    Shown,
    Still,
    Told,
    Whole,
)
from megaphone.rooms.holding import Holding
from megaphone.rooms.moved_sessions import MovedSessions
from megaphone.rooms.names import Status
from megaphone.rooms.ports import Affiliated, Affiliation, Audience, Role, RoomConfig, RoomRecord, Subject
from megaphone.rooms.reminding import Reminding
from megaphone.rooms.room import Room
from megaphone.rooms.telling import Telling
from megaphone.stream.stanza import Stanza

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.destroyed import DestroyedRooms
    from megaphone.rooms.events import Event, Origin, Reason
    from megaphone.rooms.mirror import Mirror
    from megaphone.rooms.rooms import Rooms
    from megaphone.rooms.wire import Wire
    from megaphone.stream.jid import JID

ORPHAN_SECONDS: Final = 2.0  # in which what was said of a room surely comes, if its row has gone first


class OtherNodes:
    """What the rooms of one worker know of the other nodes. `resume_seconds`: how long a lost node's occupants stay."""

    def __init__(self, rooms: Rooms, wire: Wire, resume_seconds: float) -> None:
        self.resume_seconds = resume_seconds
        self._rooms = rooms
        self._wire = wire
        self._lost: dict[Origin, float] = {}  # when its occupants leave
        self._found = False  # which other nodes there are
        self._orphans: dict[JID, float] = {}  # rooms without a row, and until when they wait for the reason
        self.holding = Holding()
        self._asks = Asks(rooms, wire)
        self._reminding = Reminding(rooms, wire, self._asks)
        self.telling = Telling(wire, self._reminding)
        self.moved = MovedSessions(rooms, self.telling)

    @property
    def now(self) -> float:
        """Unix seconds, of what is under way."""
        return self.telling.now

    @now.setter
    def now(self, now: float) -> None:
        self.telling.now = self._asks.now = now

    @property
    def origin(self) -> Origin:
        """Who we are."""
        return self._wire.origin

    @property
    def destroyed(self) -> DestroyedRooms:
        """Which rooms were destroyed a moment ago, here or elsewhere."""
        return self.telling.destroyed_rooms

    # --- what happens here ------------------------------------------------------------

    def opened(self, room: Room) -> None:
        """There is a room here: it is heard of from now on, and the other nodes are asked for it."""
        self._wire.hear(room.jid)
        if room.mirror is not None:  # one that comes from another process knows of claims already
            self._lost |= {origin: 0.0 for origin, peer in room.mirror.peers.items() if peer.lost}
        if room.jid not in self.holding:
            for node in self._wire.nodes:
                self._asks.ask(room.jid, node)

    def closed(self, room: Room) -> None:
        """There is no such room here any more."""
        self.telling.tell_changes(room)
        if room.jid not in self.holding:
            self._wire.hear_no_more(room.jid)
        self._asks.forget(room.jid)

    def ends(self, room: Room) -> bool:
        """Whether we are to end an empty temporary room: ours was the last in it, or we are the first node."""
        if room.locked:
            return True
        if self._asks.unanswered(room.jid):
            return False  # somebody may be in it elsewhere
        had_last = room.mirror is not None and bool(room.mirror.own)
        return had_last or self.origin.node < min(self._wire.nodes, default="g")

    # --- what others say ------------------------------------------------------------

    def take(self, event: Event, now: float) -> None:
        """Take an event of another node's."""
        if event.origin.node == self.origin.node:
            return
        self.now = now
        self.lives(event.origin)
        if isinstance(event, Ask):
            self._asks.answer(event)
            return
        if isinstance(event, About):
            self._take_about(event)
            return
        room = self._rooms.room(event.room)
        if isinstance(event, Destroyed):
            self.destroyed.note(event.room, event.at or now)
        if room is not None and room.mirror is not None:
            self._rooms.touch(room.jid)
            self._take(room, room.mirror, event)
            peer = room.mirror.peers.get(event.origin)
            if peer is not None:
                peer.heard = now
            self.telling.tell_changes(room)
        if isinstance(event, Whole) and event.last:
            self._answered(event.room, event.origin.node)

    def _take(self, room: Room, mirror: Mirror, event: Event) -> None:
        if isinstance(event, Shown | Gone | Closed):
            changed = mirror.take(event)
            if changed is None:
                self._asks.ask(room.jid, event.origin.node)
                return
            content = event.presence if isinstance(event, Gone) else presence.EMPTY
            why = _why(event.reason)
            for session in changed:
                own = not isinstance(event, Shown) or session == event.claim.session
                mirroring.settle(room, mirror, session, content, why if own else presence.PLAINLY)
        elif isinstance(event, Still):
            if mirror.known(event.origin) != event.seq:
                self._asks.ask(room.jid, event.origin.node)
        elif isinstance(event, Whole):
            for session in mirror.take_whole(event):
                mirroring.settle(room, mirror, session)
        elif isinstance(event, Told):
            room.outlet.fan_out(room.jid, event.stanza, audience=Audience(event.audience))
        elif isinstance(event, Act):
            _act(room, event)
        elif isinstance(event, Forwarded):
            self.telling.forwarding = True
            try:
                self._rooms.receive(Stanza.read(event.stanza), self.now)
            finally:
                self.telling.forwarding = False
        elif isinstance(event, Destroyed) and room.made <= (event.at or self.now):
            mirror.own.clear()
            self._reminding.unheard[room.jid] = None  # the next of its name may have heard of our occupants
            refreshing.destroyed(self._rooms, room, event.content, event.at or self.now, self.now)

    def _take_about(self, about: About) -> None:
        """Have a room that another node has, and our rows not yet."""
        if about.room not in self.holding or self._rooms.room(about.room) is not None:
            return
        if about.created <= self.destroyed.at(about.room):
            return  # it was destroyed since
        if about.locked:
            self.holding.lock(about.room)
            return
        subject = None if about.subject is None else Subject(*about.subject)
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in about.config.items()}
        record = RoomRecord(about.room, RoomConfig.of(values), about.creator, about.created, about.secret, subject)
        affiliations = [Affiliated(jid, Affiliation(what), reason) for jid, what, reason in about.affiliations]
        room = Room(record, self._rooms.surroundings, affiliations)
        self._rooms.add(room)
        room.announce()

    def lives(self, origin: Origin) -> None:
        """A worker of another node lives, in this life: what it said in a former one is over."""
        place = (origin.node, origin.worker)
        if self._asks.lives.get(place) == origin.epoch:
            return
        self._asks.lives[place] = origin.epoch
        self._lose(lambda each: (each.node, each.worker) == place and each.epoch != origin.epoch)

    def _answered(self, jid: JID, node: str) -> None:
        if self._asks.answered(jid, node):
            self._release(jid)
            room = self._rooms.room(jid)
            if room is not None and not (room.occupants or room.locked or room.config.persistent):
                room.forget()  # a temporary one that nobody is in, anywhere
                room.close()

    # --- whoever enters waits for the answers ------------------------------------------------------------

    def holds(self, stanza: Addressed, now: float) -> bool:
        """Keep a stanza until the other nodes have said who is in its room, if that is not known; RoomError if full."""
        jid = stanza.to.bare
        if jid in self.holding:
            self.holding.hold(stanza)
            return True
        if stanza.kind != "presence" or stanza.type is not None or not stanza.to.resource:
            return False
        room = self._rooms.room(jid)
        if room is not None and stanza.from_ in room.occupants.by_session:
            return False
        unknown = list(self._wire.nodes) if room is None else self._asks.unanswered(jid)
        if self._wire.found and not unknown:
            return False
        self.now = now
        self.holding.begin(jid, stanza, now)
        self._wire.hear(jid)
        if self._wire.found:
            self._ask_for_held(jid, unknown)
        return True

    def _ask_for_held(self, jid: JID, nodes: Iterable[str]) -> None:
        is_new = self._rooms.room(jid) is None
        for node in nodes:
            self._asks.send_now(node, self._wire.home(jid, node), [jid], about=is_new)

    def _have_found(self) -> None:
        """It is known now which nodes there are: ask them for the rooms that have waited for that."""
        self._found = True
        nodes = list(self._wire.nodes)
        for jid in self.holding.rooms():
            self._ask_for_held(jid, nodes)
            if not nodes:
                self._release(jid)

    def _release(self, jid: JID) -> None:
        held = self.holding.end(jid)
        if held is None:
            return
        if self._rooms.room(jid) is None:
            self._wire.hear_no_more(jid)
            self._asks.forget(jid)
        for stanza in held.stanzas:
            if held.locked and self._rooms.room(jid) is None:
                self._rooms.refuse(stanza, RoomError("item-not-found", "the room is being made"))
            else:
                self._rooms.receive(stanza, self.now, held=True)

    # --- nodes come and go ------------------------------------------------------------

    def joined(self, node: str, now: float) -> None:
        """A node is there, or there again: it is asked for all rooms."""
        self.now = now
        for room in self._rooms:
            self._asks.ask_again(room.jid, node)

    def left(self, node: str, now: float) -> None:
        """A node is not there any more; its occupants leave when their connections could not be resumed any more."""
        self.now = now
        for jid in self._asks.lose(node):
            self._release(jid)
        self._lose(lambda origin: origin.node == node)

    def up(self, up: bool, now: float) -> None:
        """The wire is there, or has gone: then nobody can say who is in a room elsewhere."""
        self.now = now
        if up:
            self._reminding.came_back()
            for node in self._wire.nodes:
                self.joined(node, now)
        else:
            self._asks.clear()
            self.hold_no_more(now)
            self._lose(lambda _: True)

    def hold_no_more(self, now: float) -> None:
        """Take all that waits for answers."""
        self.now = now
        for jid in self.holding.rooms():
            self._release(jid)

    def _lose(self, is_lost: Callable[[Origin], bool]) -> None:
        until = self.now + self.resume_seconds
        for room in self._rooms:
            if room.mirror is None:
                continue
            for origin, peer in room.mirror.peers.items():
                if not peer.lost and is_lost(origin):
                    peer.lost = True
                    self._lost[origin] = until
                    self._rooms.touch(room.jid)

    def _drop(self, origin: Origin) -> None:
        """The occupants of an origin that is lost leave (XEP-0045 section 7.14, status 333)."""
        for room in list(self._rooms):
            mirror = room.mirror
            peer = None if mirror is None else mirror.peers.get(origin)
            if mirror is not None and peer is not None and peer.lost:
                self._rooms.touch(room.jid)
                del mirror.peers[origin]
                for session in peer.claims:
                    mirroring.settle(room, mirror, session, why=presence.Why((Status.ERROR,)))
                self.telling.tell_changes(room)

    # --- a session goes on at another node ------------------------------------------------------------

    def session_moved(self, session: JID, now: float) -> None:
        """A session of ours goes on at another node, which will claim it in all its rooms."""
        self.now = now
        self.moved.leave(session, now, self.resume_seconds)

    def session_came(self, session: JID, now: float) -> None:
        """A session of another node's goes on here, in all its rooms; nobody sees a difference."""
        self.now = now
        self.moved.come(session, now)

    # --- what is due ------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Do what is due; called several times a second."""
        self.now = now
        if not self._found and self._wire.found:
            self._have_found()
        self.destroyed.sweep(now)
        self.keep_orphans(until=now)
        self._asks.repeat()
        self._asks.send()
        for jid in self.holding.overdue(now):
            self._release(jid)
        for origin, until in list(self._lost.items()):
            if until == 0.0:
                self._lost[origin] = now + self.resume_seconds
            elif until <= now:
                del self._lost[origin]
                self._drop(origin)
        self.moved.sweep(now)
        self._reminding.sweep(now)

    def orphaned(self, room: Room) -> None:
        """The row of a temporary room has gone, and people are in it here.

        Either the room ended at another node while they entered, and is kept, or it was destroyed: that we are about
        to hear.
        """
        self._orphans.setdefault(room.jid, self.now + ORPHAN_SECONDS)

    def keep_orphans(self, until: float = float("inf")) -> None:
        """Keep the rooms again that have waited for a reason until this time; all of them if none is given."""
        for jid, due in list(self._orphans.items()):
            if due > until:
                return
            del self._orphans[jid]
            room = self._rooms.room(jid)
            if room is not None and room.surroundings.store.room(jid) is None:
                self._rooms.touch(jid)
                refreshing.keep(room, self.now)


def _why(reason: Reason) -> presence.Why:
    known = {int(status) for status in Status}
    return presence.Why(tuple(Status(each) for each in reason[0] if each in known), reason[1], reason[2])


def _act(room: Room, act: Act) -> None:
    occupant = room.occupants.by_nick.get(act.nick)
    if occupant is None or occupant.bare != act.bare:
        return
    role, why = Role(act.role), _why(act.reason)
    if role is Role.NONE:
        if Status.BANNED in why.statuses:  # until the row comes, which is kept
            room.affiliations.put(Affiliated(act.bare, Affiliation.OUTCAST, why.reason))
        leaving.remove(room, [occupant], why)
        room.close_if_empty()
    elif room.owns(occupant) and role is not occupant.role:
        change_role(room, occupant, role, why)

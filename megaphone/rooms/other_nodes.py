"""The other nodes of a cluster, for the rooms of one worker: tells them of its occupants, and mirrors theirs.

    a stanza, a sweep ─► the room has changed ─► tell_changes ─► Shown, Gone ─► Wire ─► the same room on other nodes
    Wire ─► take ─► Mirror ─► mirroring ─► the room has changed, for its occupants here

A room that is new here is asked for at every node, and whoever enters waits for the answers, a second at most. A node
that has gone has its occupants here for as long as a lost connection may be resumed. Asks go out a bounded number at a
time, and again until they are answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from megaphone.errors import RoomError
from megaphone.rooms import leaving, mirroring, ownership, presence
from megaphone.rooms.administration import change_role
from megaphone.rooms.events import (
    About,
    Act,
    Ask,
    Claim,
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
from megaphone.rooms.names import Status
from megaphone.rooms.ports import Affiliated, Affiliation, Audience, Role, RoomConfig, RoomRecord, Subject
from megaphone.rooms.room import Room
from megaphone.stream.stanza import Stanza

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.events import Event, Origin, Reason
    from megaphone.rooms.mirror import Mirror, Peer
    from megaphone.rooms.occupants import Occupant
    from megaphone.rooms.rooms import Rooms
    from megaphone.stream.jid import JID

ASKED_AT_ONCE: Final = 512  # rooms in one Ask, and per node and sweep
ANSWER_SECONDS: Final = 5.0  # then an Ask is said again
PART_BYTES: Final = 262_144  # of the claims in one Whole
ROUND_SECONDS: Final = 60.0  # in which every room with occupants here says `Still` once
SILENCE_SECONDS: Final = 150.0  # after which a peer that has said nothing is asked


class Wire(Protocol):
    """What carries events to the other nodes; in order from one origin, or not at all."""

    @property
    def origin(self) -> Origin:
        """Who we are, in this life."""

    @property
    def name(self) -> str:
        """Our node's name, for people."""

    @property
    def nodes(self) -> Collection[str]:
        """The other nodes that can be reached: 16 hexadecimal digits of each key."""

    def home(self, room: JID, node: str) -> int:
        """Which worker of a node a room is at home in."""

    def hear(self, room: JID) -> None:
        """Take what is published about a room from now on; harmless when said twice."""

    def hear_no_more(self, room: JID) -> None:
        """Take it no longer."""

    def publish(self, room: JID, event: Event) -> bool:
        """Say it to all nodes that have this room; False if it is lost."""

    def tell(self, node: str, worker: int, events: list[Event]) -> bool:
        """Say it to one worker of a node; False if it is lost."""


class OtherNodes:
    """What the rooms of one worker know of the other nodes. `resume_seconds`: how long a lost node's occupants stay."""

    def __init__(self, rooms: Rooms, wire: Wire, resume_seconds: float) -> None:
        self.resume_seconds = resume_seconds
        self.now = 0.0
        self._rooms = rooms
        self._wire = wire
        self._seq = 0
        self._spoke = 0
        self._lives: dict[tuple[str, int], bytes] = {}
        self._asks: dict[str, dict[JID, None]] = {}  # by node, to be asked
        self._asked: dict[tuple[JID, str], float] = {}  # when an answer should have come; the oldest first
        self._lost: dict[Origin, float] = {}  # when its occupants leave
        self._moved: dict[tuple[JID, JID], float] = {}  # rooms' sessions that other nodes may claim, and until when
        self._round: list[JID] = []  # rooms whose turn to say Still has not come yet
        self._round_share = 0.0  # of them in a second
        self._round_due = 0.0
        self._swept_at: float | None = None
        self._forwarding = False
        self.holding = Holding()

    @property
    def origin(self) -> Origin:
        """Who we are."""
        return self._wire.origin

    # --- what happens here ------------------------------------------------------------

    def opened(self, room: Room) -> None:
        """There is a room here: it is heard of from now on, and the other nodes are asked for it."""
        self._wire.hear(room.jid)
        if room.mirror is not None:  # one that comes from another process knows of claims already
            self._lost |= {origin: 0.0 for origin, peer in room.mirror.peers.items() if peer.lost}
        if room.jid not in self.holding:
            for node in self._wire.nodes:
                self._ask(room.jid, node)

    def closed(self, room: Room) -> None:
        """There is no such room here any more."""
        self.tell_changes(room)
        if room.jid not in self.holding:
            self._wire.hear_no_more(room.jid)
        for node in self._wire.nodes:
            self._asked.pop((room.jid, node), None)
            self._asks.get(node, {}).pop(room.jid, None)

    def destroyed(self, room: Room, content: bytes) -> None:
        """An owner has destroyed a room here."""
        self._wire.publish(room.jid, Destroyed(self.origin, room.jid, content))
        if room.mirror is not None:
            room.mirror.own.clear()

    def shut_down(self, room: Room) -> None:
        """All who are connected to this node have left, because it goes down (status 332)."""
        mirror = room.mirror
        if mirror is not None and mirror.own:
            mirror.own.clear()
            reason: Reason = ((int(Status.SHUT_DOWN),), "", "")
            self._wire.publish(room.jid, Closed(self.origin, room.jid, mirror.seq, self._next(), reason))
        self._wire.hear_no_more(room.jid)

    def ends(self, room: Room) -> bool:
        """Whether we are to end an empty temporary room: ours was the last in it, or we are the first node."""
        if room.locked:
            return True
        if any((room.jid, node) in self._asked for node in self._wire.nodes):
            return False  # somebody may be in it elsewhere
        had_last = room.mirror is not None and bool(room.mirror.own)
        return had_last or self.origin.node < min(self._wire.nodes, default="g")

    def tell_changes(self, room: Room) -> None:
        """Tell the other nodes what has changed in a room, and let clashes of nicks end."""
        mirror, occupants = room.mirror, room.occupants
        if mirror is None or occupants.touched is None:
            return
        mirror.origin = self.origin
        while True:
            touched, occupants.touched = occupants.touched, {}
            for session, said in touched.items():
                self._tell_change(room, mirror, session, said)
            if touched and any(peer.lost for peer in mirror.peers.values()):
                self._forget_returned(room, mirror, touched)
            if not (mirror.clashing and mirroring.resolve(room, mirror, self._wire.name)) and not occupants.touched:
                return

    def _tell_change(self, room: Room, mirror: Mirror, session: JID, said: tuple[bytes, presence.Why] | None) -> None:
        was = mirror.own.get(session)
        content, why = (presence.EMPTY, presence.PLAINLY) if said is None else said
        reason = (tuple(map(int, why.statuses)), why.actor, why.reason)
        occupant = None if session in room.occupants.remote else room.occupants.by_session.get(session)
        if occupant is None:
            if was is not None:
                del mirror.own[session]
                before, mirror.seq = mirror.seq, self._next()
                self._wire.publish(room.jid, Gone(self.origin, room.jid, before, mirror.seq, session, content, reason))
                if not mirror.own:
                    mirror.seq = 0
            return
        now_ms = int(self.now * 1000)
        current = occupant.sessions[session]
        last = mirror.spoke(occupant)
        shown_anew = session == occupant.session and session != mirror.shown(occupant)
        if was is None or was.presence != current or shown_anew:
            self._spoke = spoke = max(now_ms, self._spoke + 1, last + 1)
        else:
            spoke = was.spoke
        entered = was.entered if was is not None else mirror.entered(occupant.sessions, now_ms)
        claim = Claim(session, occupant.nick, str(occupant.role), entered, spoke, current)
        if claim != was:
            mirror.own[session] = claim
            before, mirror.seq = mirror.seq, self._next()
            self._wire.publish(room.jid, Shown(self.origin, room.jid, before, mirror.seq, claim, reason))

    def _forget_returned(self, room: Room, mirror: Mirror, sessions: Iterable[JID]) -> None:
        """Forget the lost sessions of users who have come back under the same nick."""
        for session in sessions:
            occupant = room.occupants.by_session.get(session)
            if occupant is None or len(occupant.sessions) == 1:
                continue
            lost = [each for each in occupant.sessions if self._lost_peer(mirror, each) is not None]
            if len(lost) < len(occupant.sessions):
                for each in lost:
                    peer = self._lost_peer(mirror, each)
                    if peer is not None:
                        del peer.claims[each]
                        peer.seq = 0  # if its origin is there after all, it says everything anew
                    mirroring.settle(room, mirror, each)

    def _lost_peer(self, mirror: Mirror, session: JID) -> Peer | None:
        found = mirror.holder(session)
        peer = None if found is None else mirror.peers.get(found[0])
        return peer if peer is not None and peer.lost else None

    def _next(self) -> int:
        self._seq = max(self._seq + 1, int(self.now * 1_000_000))
        return self._seq

    # --- for occupants of other nodes ------------------------------------------------------------

    def tell(self, room: Room, stanza: bytes, audience: Audience) -> None:
        """Bring a stanza to the occupants of other nodes."""
        self._wire.publish(room.jid, Told(self.origin, room.jid, audience.value, stanza))

    def act(self, room: Room, occupant: Occupant, role: Role, why: presence.Why) -> None:
        """Give an occupant another role at the nodes that its sessions are connected to."""
        reason = (tuple(map(int, why.statuses)), why.actor, why.reason)
        remote = room.occupants.remote
        origins = {remote[session] for session in occupant.sessions if session in remote}
        for origin in sorted(origins):
            event = Act(self.origin, room.jid, occupant.nick, occupant.bare, str(role), reason)
            self._wire.tell(origin.node, origin.worker, [event])

    def forward(self, room: Room, stanza: Addressed, session: JID) -> None:
        """Give a stanza to the room of the node that a session is connected to; RoomError if it cannot be reached."""
        origin = room.occupants.remote[session]
        event = Forwarded(self.origin, room.jid, stanza.data)
        if self._forwarding or not self._wire.tell(origin.node, origin.worker, [event]):
            raise RoomError("recipient-unavailable", "its node cannot be reached", type_="wait")

    # --- what others say ------------------------------------------------------------

    def take(self, event: Event, now: float) -> None:
        """Take an event of another node's."""
        if event.origin.node == self.origin.node:
            return
        self.now = now
        self.lives(event.origin)
        if isinstance(event, Ask):
            self._answer(event)
            return
        if isinstance(event, About):
            self._take_about(event)
            return
        room = self._rooms.room(event.room)
        if room is not None and room.mirror is not None:
            self._rooms.touch(room.jid)
            self._take(room, room.mirror, event)
            peer = room.mirror.peers.get(event.origin)
            if peer is not None:
                peer.heard = now
            self.tell_changes(room)
        if isinstance(event, Whole) and event.last:
            self._answered(event.room, event.origin.node)

    def _take(self, room: Room, mirror: Mirror, event: Event) -> None:
        if isinstance(event, Shown | Gone | Closed):
            changed = mirror.take(event)
            if changed is None:
                self._ask(room.jid, event.origin.node)
                return
            content = event.presence if isinstance(event, Gone) else presence.EMPTY
            why = _why(event.reason)
            for session in changed:
                own = not isinstance(event, Shown) or session == event.claim.session
                mirroring.settle(room, mirror, session, content, why if own else presence.PLAINLY)
        elif isinstance(event, Still):
            if mirror.known(event.origin) != event.seq:
                self._ask(room.jid, event.origin.node)
        elif isinstance(event, Whole):
            for session in mirror.take_whole(event):
                mirroring.settle(room, mirror, session)
        elif isinstance(event, Told):
            room.outlet.fan_out(room.jid, event.stanza, audience=Audience(event.audience))
        elif isinstance(event, Act):
            _act(room, event)
        elif isinstance(event, Forwarded):
            self._forwarding = True
            try:
                self._rooms.receive(Stanza.read(event.stanza), self.now)
            finally:
                self._forwarding = False
        elif isinstance(event, Destroyed):
            mirror.own.clear()
            room.surroundings.archive.forget(room.jid)
            ownership.end(room, event.content)

    def _answer(self, ask: Ask) -> None:
        """Say what we claim of the rooms that somebody asks for."""
        events: list[Event] = []
        origin = self.origin
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

    def _take_about(self, about: About) -> None:
        """Have a room that another node has, and our rows not yet."""
        if about.room not in self.holding or self._rooms.room(about.room) is not None:
            return
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
        known = self._lives.get(place)
        if known == origin.epoch:
            return
        self._lives[place] = origin.epoch
        self._lose(lambda each: (each.node, each.worker) == place and each.epoch != origin.epoch)

    # --- asking ------------------------------------------------------------

    def _ask(self, room: JID, node: str) -> None:
        """Ask a node for a room, soon; once is enough until it answers."""
        if (room, node) not in self._asked and node in self._wire.nodes:
            self._asked[room, node] = float("inf")
            self._asks.setdefault(node, {})[room] = None

    def _send_asks(self) -> None:
        for node in list(self._asks):
            due = self._asks[node]
            rooms = [jid for jid, _ in zip(list(due), range(ASKED_AT_ONCE), strict=False)]
            for jid in rooms:
                del due[jid]
            if not due:
                del self._asks[node]
            by_worker: dict[int, list[JID]] = {}
            for jid in rooms:
                by_worker.setdefault(self._wire.home(jid, node), []).append(jid)
            for worker, its in by_worker.items():
                self._send_ask(node, worker, its, about=False)

    def _send_ask(self, node: str, worker: int, rooms: list[JID], *, about: bool) -> None:
        epoch = self._lives.get((node, worker), b"")
        its = self.origin._replace(node=node, worker=worker, epoch=epoch)
        known: list[tuple[JID, int]] = []
        for jid in rooms:
            self._asked.pop((jid, node), None)
            self._asked[jid, node] = self.now + ANSWER_SECONDS
            room = self._rooms.room(jid)
            known.append((jid, 0 if room is None or room.mirror is None else room.mirror.known(its)))
        self._wire.tell(node, worker, [Ask(self.origin, epoch, tuple(known), about)])

    def _answered(self, jid: JID, node: str) -> None:
        if self._asked.pop((jid, node), None) is None:
            return
        self._asks.get(node, {}).pop(jid, None)
        if not any((jid, each) in self._asked for each in self._wire.nodes):
            self._release(jid)
            room = self._rooms.room(jid)
            if room is not None and not room.occupants and not room.locked:
                room.close_if_empty()  # a temporary one that nobody is in, anywhere

    # --- whoever enters waits for the answers ------------------------------------------------------------

    def holds(self, stanza: Addressed, now: float) -> bool:
        """Keep a stanza until the other nodes have said who is in its room, if that is not known; RoomError if full."""
        jid = stanza.to.bare
        if jid in self.holding:
            self.holding.hold(stanza)
            return True
        if stanza.kind != "presence" or stanza.type is not None or not stanza.to.resource:
            return False
        nodes = self._wire.nodes
        room = self._rooms.room(jid)
        if room is None:
            unknown = list(nodes)
        elif stanza.from_ in room.occupants.by_session:
            return False
        else:
            unknown = [node for node in nodes if (jid, node) in self._asked]
        if not unknown:
            return False
        self.now = now
        self.holding.begin(jid, stanza, now)
        self._wire.hear(jid)
        for node in unknown:
            self._asks.get(node, {}).pop(jid, None)
            self._send_ask(node, self._wire.home(jid, node), [jid], about=room is None)
        return True

    def _release(self, jid: JID) -> None:
        held = self.holding.end(jid)
        if held is None:
            return
        if self._rooms.room(jid) is None:
            self._wire.hear_no_more(jid)
            for node in self._wire.nodes:
                self._asked.pop((jid, node), None)
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
            self._asked.pop((room.jid, node), None)
            self._ask(room.jid, node)

    def left(self, node: str, now: float) -> None:
        """A node is not there any more; its occupants leave when their connections could not be resumed any more."""
        self.now = now
        self._asks.pop(node, None)
        for key in [key for key in self._asked if key[1] == node]:
            del self._asked[key]
            if not any((key[0], each) in self._asked for each in self._wire.nodes):
                self._release(key[0])
        self._lose(lambda origin: origin.node == node)

    def up(self, up: bool, now: float) -> None:
        """The wire is there, or has gone: then nobody can say who is in a room elsewhere."""
        self.now = now
        if up:
            for node in self._wire.nodes:
                self.joined(node, now)
        else:
            self._asks.clear()
            self._asked.clear()
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
                self.tell_changes(room)

    # --- a session goes to another node ------------------------------------------------------------

    def session_moved(self, session: JID, now: float) -> None:
        """A session of ours goes on at another node, which will claim it: it is not reached from here any more."""
        self.now = now
        for room in self._rooms:
            if session in room.occupants.by_session and session not in room.occupants.remote:
                room.outlet.occupant_removed(room.jid, session)
                self._moved[room.jid, session] = now + self.resume_seconds

    def has_moved(self, room: Room, session: JID) -> bool:
        """Whether a session is not reached any more, because it has moved."""
        return self._moved.pop((room.jid, session), None) is not None

    def session_came(self, session: JID, now: float) -> None:
        """A session of another node's goes on here, in the rooms that it is in; nobody sees a difference."""
        self.now = now
        for room in self._rooms:
            occupant = room.occupants.by_session.get(session)
            if occupant is not None and session in room.occupants.remote and room.occupants.touched is not None:
                self._rooms.touch(room.jid)
                del room.occupants.remote[session]
                room.outlet.occupant_added(room.jid, session, moderator=occupant.role is Role.MODERATOR)
                room.occupants.touched[session] = None
                self.tell_changes(room)

    def _end_moved(self, jid: JID, session: JID) -> None:
        """Nobody has claimed a session that went to another node."""
        room = self._rooms.room(jid)
        occupant = None if room is None else room.occupants.by_session.get(session)
        if room is not None and occupant is not None and session not in room.occupants.remote:
            self._rooms.touch(jid)
            leaving.leave(room, occupant, session, why=presence.Why((Status.ERROR,)), is_reached=False)
            self.tell_changes(room)

    # --- what is due ------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Do what is due; called several times a second."""
        before, self._swept_at = self._swept_at, now
        self.now = now
        for jid, node in self._overdue(now):
            del self._asked[jid, node]
            if self._rooms.room(jid) is not None:
                self._ask(jid, node)
        self._send_asks()
        for jid in self.holding.overdue(now):
            self._release(jid)
        for origin, until in list(self._lost.items()):
            if until == 0.0:
                self._lost[origin] = now + self.resume_seconds
            elif until <= now:
                del self._lost[origin]
                self._drop(origin)
        for jid, session in [key for key, until in self._moved.items() if until <= now]:
            del self._moved[jid, session]
            self._end_moved(jid, session)
        if before is not None:
            self._go_round(min(now - before, 1.0))

    def _overdue(self, now: float) -> list[tuple[JID, str]]:
        found = []
        for key, deadline in self._asked.items():
            if deadline != float("inf"):
                if deadline > now:
                    break
                found.append(key)
        return found

    def _go_round(self, seconds: float) -> None:
        """Say Still of some rooms, and ask who should have said it and has not."""
        if not self._round:
            self._round = [room.jid for room in self._rooms if room.mirror is not None]
            self._round_share = len(self._round) / ROUND_SECONDS
        self._round_due = min(self._round_due + self._round_share * seconds, len(self._round))
        while self._round and self._round_due >= 1.0:
            self._round_due -= 1.0
            room = self._rooms.room(self._round.pop())
            mirror = None if room is None else room.mirror
            if room is None or mirror is None:
                continue
            if mirror.own:
                self._wire.publish(room.jid, Still(self.origin, room.jid, mirror.seq))
            for origin, peer in mirror.peers.items():
                if not peer.lost and self.now - peer.heard > SILENCE_SECONDS:
                    self._ask(room.jid, origin.node)


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

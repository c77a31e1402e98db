"""Tells the other nodes what happens in rooms here: the claims that are new, changed or given up, and words for theirs.

a stanza, a sweep ─► the room has changed (Occupants.touched) ─► tell_changes ─► Shown, Gone ─► Wire
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.errors import RoomError
from megaphone.rooms import mirroring, presence
from megaphone.rooms.destroyed import DestroyedRooms
from megaphone.rooms.events import Act, Claim, Closed, Destroyed, Forwarded, Gone, Shown, Told
from megaphone.rooms.names import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.events import Reason
    from megaphone.rooms.mirror import Mirror, Peer
    from megaphone.rooms.occupants import Occupant
    from megaphone.rooms.ports import Audience, Role
    from megaphone.rooms.reminding import Reminding
    from megaphone.rooms.room import Room
    from megaphone.rooms.wire import Wire
    from megaphone.stream.jid import JID


class Telling:
    """What one worker's rooms tell. `now` is Unix seconds, set before each call."""

    def __init__(self, wire: Wire, reminding: Reminding) -> None:
        self.now = 0.0
        self.forwarding = False  # what is under way has been forwarded to us: it goes no further
        self.destroyed_rooms = DestroyedRooms()
        self._wire = wire
        self._reminding = reminding
        self._seq = 0
        self._spoke = 0

    def tell_changes(self, room: Room) -> None:
        """Tell the other nodes what has changed in a room, and let clashes of nicks end."""
        mirror, occupants = room.mirror, room.occupants
        if mirror is None or occupants.touched is None or not (occupants.touched or mirror.clashing):
            return
        mirror.origin = self._wire.origin
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
                self._publish(Gone(self._wire.origin, room.jid, before, mirror.seq, session, content, reason))
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
            self._publish(Shown(self._wire.origin, room.jid, before, mirror.seq, claim, reason))

    def _publish(self, event: Shown | Gone) -> None:
        if not self._wire.publish(event.room, event):
            self._reminding.unheard[event.room] = None

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
        self._wire.publish(room.jid, Told(self._wire.origin, room.jid, audience.value, stanza))

    def act(self, room: Room, occupant: Occupant, role: Role, why: presence.Why) -> None:
        """Give an occupant another role at the nodes that its sessions are connected to."""
        reason = (tuple(map(int, why.statuses)), why.actor, why.reason)
        remote = room.occupants.remote
        origins = {remote[session] for session in occupant.sessions if session in remote}
        for origin in sorted(origins):
            event = Act(self._wire.origin, room.jid, occupant.nick, occupant.bare, str(role), reason)
            self._wire.tell(origin.node, origin.worker, [event])

    def forward(self, room: Room, stanza: Addressed, session: JID) -> None:
        """Give a stanza to the room of the node that a session is connected to; RoomError if it cannot be reached."""
        origin = room.occupants.remote[session]
        event = Forwarded(self._wire.origin, room.jid, stanza.data)
        if self.forwarding or not self._wire.tell(origin.node, origin.worker, [event]):
            raise RoomError("recipient-unavailable", "its node cannot be reached", type_="wait")

    def destroyed(self, room: Room, content: bytes) -> None:
        """An owner has destroyed a room here."""
        at = max(self.now, room.made)
        self.destroyed_rooms.note(room.jid, at)
        self._wire.publish(room.jid, Destroyed(self._wire.origin, room.jid, content, at))
        if room.mirror is not None:
            room.mirror.own.clear()

    def shut_down(self, room: Room) -> None:
        """All who are connected to this node have left, because it goes down (status 332)."""
        mirror = room.mirror
        if mirror is not None and mirror.own:
            mirror.own.clear()
            reason: Reason = ((int(Status.SHUT_DOWN),), "", "")
            self._wire.publish(room.jid, Closed(self._wire.origin, room.jid, mirror.seq, self._next(), reason))
        self._wire.hear_no_more(room.jid)

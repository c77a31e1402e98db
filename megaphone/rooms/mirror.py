"""What the nodes of a cluster claim of one room: own claims, those of others, and what follows from them all.

    own ──────────┐
    peer A ───────┼─► holder of a session: the live claim, and of several the one that spoke last
    peer B (lost) ┘   rank of a nick: (when its occupant came, node), the lower keeps it

Nothing here changes the room; `mirroring` does, and asks here what is so. As each origin's claims come in its order, or
as a whole, and all else follows from them, all instances end with the same view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.rooms.events import Closed, Gone, Shown
from megaphone.rooms.ports import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from megaphone.rooms.events import Claim, Origin, Whole
    from megaphone.rooms.occupants import Occupant
    from megaphone.stream.jid import JID

Rank = tuple[int, str, str]
"""When an occupant came, Unix milliseconds; node; bare JID: the lower has the better right to its nick."""

LAST: Rank = (1 << 63, "", "")


class Peer:
    """What one origin claims. `lost`: it is not there any more, but its users may come back."""

    __slots__ = ("claims", "heard", "lost", "parts", "seq")

    def __init__(self) -> None:
        self.claims: dict[JID, Claim] = {}
        self.seq = 0
        self.lost = False
        self.heard = 0.0
        """When it has said anything last, Unix seconds."""
        self.parts: dict[JID, Claim] = {}
        """Of a whole list that is on its way."""


class Mirror:
    """The claims of one room's sessions."""

    __slots__ = ("clashing", "origin", "own", "peers", "seq")

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.own: dict[JID, Claim] = {}
        """What the others have been told."""
        self.seq = 0
        """Of the last event that they were told; 0 when there is no claim."""
        self.peers: dict[Origin, Peer] = {}
        self.clashing: dict[str, dict[JID, None]] = {}
        """Sessions of others that wait for a nick which somebody else has here."""

    # --- what follows from the claims ------------------------------------------------------------

    def holder(self, session: JID) -> tuple[Origin, Claim] | None:
        """Return whose a session is, and the claim; None if it is nobody's."""
        own = self.own.get(session)
        best = None if own is None else (self.origin, own)
        rank = (False, 0, "") if own is None else (True, own.spoke, self.origin.node)
        for origin, peer in self.peers.items():
            claim = peer.claims.get(session)
            if claim is not None:
                its = (not peer.lost, claim.spoke, origin.node)
                if best is None or its > rank:
                    best, rank = (origin, claim), its
        return best

    def rank(self, session: JID) -> Rank:
        """Return the right of a session to its nick."""
        found = self.holder(session)
        return LAST if found is None else (found[1].entered, found[0].node, str(session.bare))

    def oldest(self, occupant: Occupant) -> JID:
        """Return the session whose node decides on the occupant's role."""
        if len(occupant.sessions) == 1:
            return occupant.session
        return min(occupant.sessions, key=lambda session: (self.rank(session), session))

    def role(self, occupant: Occupant) -> Role:
        """Return the role that an occupant has; of one who has just come here, the one that it was given."""
        found = self.holder(self.oldest(occupant))
        return occupant.role if found is None else Role(found[1].role)

    def spoke(self, occupant: Occupant) -> int:
        """Return when the occupant has spoken last, as is claimed; 0 if nothing is."""
        found = (self.holder(session) for session in occupant.sessions)
        return max((each[1].spoke for each in found if each is not None), default=0)

    def shown(self, occupant: Occupant) -> JID:
        """Return the session that has spoken last, as is claimed."""
        return occupant.session if len(occupant.sessions) == 1 else max(occupant.sessions, key=self._spoke)

    def order(self, occupant: Occupant) -> None:
        """Put the session that has spoken last at the end: it is the one that is shown."""
        if len(occupant.sessions) > 1:
            in_order = sorted(occupant.sessions, key=self._spoke)
            occupant.sessions = {session: occupant.sessions[session] for session in in_order}

    def _spoke(self, session: JID) -> tuple[int, str, JID]:
        found = self.holder(session)
        return (1 << 63, "", session) if found is None else (found[1].spoke, found[0].node, session)

    def entered(self, sessions: Iterable[JID], now_ms: int) -> int:
        """Return when the occupant with these sessions came; `now_ms` if that is not known."""
        found = (self.holder(session) for session in sessions)
        return min((each[1].entered for each in found if each is not None), default=now_ms)

    # --- what others say ------------------------------------------------------------

    def take(self, event: Shown | Gone | Closed) -> list[JID] | None:
        """Take an event in its turn; return whose claims have changed, None if the whole list must be asked for."""
        peer = self.peers.get(event.origin)
        known = 0 if peer is None else peer.seq
        if event.seq <= known:
            return []
        if event.before not in (0, known):
            return None
        if peer is None:
            peer = self.peers[event.origin] = Peer()
        peer.seq = event.seq
        changed: list[JID] = []
        if (event.before == 0 and peer.claims) or isinstance(event, Closed):
            changed = list(peer.claims)
            peer.claims.clear()
        if isinstance(event, Shown):
            peer.claims[event.claim.session] = event.claim
            if event.claim.session not in changed:
                changed.append(event.claim.session)
        elif isinstance(event, Gone):
            peer.claims.pop(event.session, None)
            if event.session not in changed:
                changed.append(event.session)
        if not peer.claims:
            del self.peers[event.origin]  # the next event will name none before it
        return changed

    def take_whole(self, whole: Whole) -> list[JID]:
        """Take a part of a whole list; when it is the last one, return whose claims have changed."""
        peer = self.peers.get(whole.origin)
        if whole.same:
            if peer is not None:
                peer.lost = False
                return list(peer.claims)
            return []
        if peer is None:
            if not whole.claims:
                return []
            peer = self.peers[whole.origin] = Peer()
        if whole.first:
            peer.parts = {}
        peer.parts |= {claim.session: claim for claim in whole.claims}
        if not whole.last:
            return []
        before, peer.claims, peer.parts = peer.claims, peer.parts, {}
        was_lost, peer.lost, peer.seq = peer.lost, False, whole.seq
        if not peer.claims:
            del self.peers[whole.origin]
        both = [*before, *(session for session in peer.claims if session not in before)]
        return [each for each in both if was_lost or before.get(each) != peer.claims.get(each)]

    def known(self, origin: Origin) -> int:
        """Return the `seq` of the last event that is known of an origin."""
        peer = self.peers.get(origin)
        return 0 if peer is None else peer.seq

"""Reminds the other nodes of what was said of each room last, so that who has missed it asks.

    published, but not heard for certain ─► Still at the next sweep
    every room with occupants here ───────► Still once in a minute
    a peer that says nothing for long ────► is asked itself
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from megaphone.rooms.events import Still

if TYPE_CHECKING:
    from megaphone.rooms.asks import Asks
    from megaphone.rooms.rooms import Rooms
    from megaphone.rooms.wire import Wire
    from megaphone.stream.jid import JID

ROUND_SECONDS: Final = 60.0  # in which every room with occupants here says `Still` once
SILENCE_SECONDS: Final = 150.0  # after which a peer that has said nothing is asked
AT_ONCE: Final = 256  # rooms of which something may not have been heard, in one sweep


class Reminding:
    """What one worker's rooms remind of."""

    def __init__(self, rooms: Rooms, wire: Wire, asks: Asks) -> None:
        self._rooms = rooms
        self._wire = wire
        self._asks = asks
        self.unheard: dict[JID, None] = {}
        """Rooms of which something was said that may not have been heard."""
        self._round: list[JID] = []  # rooms whose turn has not come yet
        self._round_share = 0.0  # of them in a second
        self._round_due = 0.0
        self._swept_at: float | None = None

    def came_back(self) -> None:
        """The wire is there again: what was said when it went may not have been heard."""
        self.unheard |= {room.jid: None for room in self._rooms if room.mirror is not None and room.mirror.own}

    def sweep(self, now: float) -> None:
        """Remind of what is due; called several times a second, `now` in Unix seconds."""
        before, self._swept_at = self._swept_at, now
        if self.unheard and self._wire.nodes:
            self._say_what_was_unheard()
        if before is not None:
            self._go_round(now, min(now - before, 1.0))

    def _say_what_was_unheard(self) -> None:
        for jid in list(islice(self.unheard, AT_ONCE)):
            room = self._rooms.room(jid)
            seq = 0 if room is None or room.mirror is None else room.mirror.seq
            if not self._wire.publish(jid, Still(self._wire.origin, jid, seq)):
                return
            del self.unheard[jid]

    def _go_round(self, now: float, seconds: float) -> None:
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
                self._wire.publish(room.jid, Still(self._wire.origin, room.jid, mirror.seq))
            for origin, peer in mirror.peers.items():
                if not peer.lost and now - peer.heard > SILENCE_SECONDS:
                    self._asks.ask(room.jid, origin.node)

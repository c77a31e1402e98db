"""Puts together what one worker needs for users that have sessions on several nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from megaphone.embedded.stream_record import new_stream
from megaphone.embedded.user_nodes import UserNodes
from megaphone.embedded.user_resuming import Resuming
from megaphone.stream.jid import JID
from megaphone.stream.stanza import with_child
from megaphone.wire.stamp import stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from megaphone.bus.ports import Message
    from megaphone.embedded.embedded import Embedded
    from megaphone.embedded.nodes import Nodes
    from megaphone.rooms.other_nodes import OtherNodes
    from megaphone.service.session import Session

MOVED: Final = "users.moved"  # within the node

_ENTERS: Final = b"<x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x>"


class JoinedUsers:
    """The users of one worker, joined with those of other nodes.

    `others` are what their rooms know of these; `waiting` is that of `storage.users`.
    """

    def __init__(
        self,
        embedded: Embedded,
        nodes: Nodes,
        others: OtherNodes,
        waiting: Callable[[int], Sequence[tuple[int, str]]],
    ) -> None:
        self.nodes = UserNodes(nodes, embedded.service, embedded.router, embedded.promises, waiting)
        self.resuming = Resuming(
            nodes,
            embedded.router,
            embedded.sessions,
            embedded.promises,
            new_stream=lambda: new_stream(embedded.streams, 0),
            moved=lambda session: self._tell_rooms(session, None, b""),
            came=self._came,
            taken_back=self.nodes.announce_again,
        )
        self.nodes.is_lent = embedded.sessions.is_lent
        self._embedded = embedded
        self._others = others
        embedded.subjects.subscribe(MOVED, self._take_moved)
        embedded.logins.user_nodes, embedded.logins.resuming = self.nodes, self.resuming
        self.give_up = self.nodes.give_up

    def _came(self, session: Session) -> None:
        rooms = self._embedded.router.rooms_domain
        inside = [jid for jid in session.direct or () if jid.domain == rooms]
        enters = with_child(session.presence or b"<presence/>", _ENTERS)
        self._tell_rooms(session.jid, inside, stamp(enters, from_=str(session.jid)))

    def _tell_rooms(self, session: JID, inside: list[JID] | None, enters: bytes) -> None:
        """Tell the rooms of all workers that a session goes on at another node (None), or has come, and is in these."""
        self._embedded.subjects.publish(MOVED, msgspec.msgpack.encode((session, inside, enters)))

    def _take_moved(self, message: Message) -> None:
        """A session has moved: whoever sees its occupants goes on seeing them."""
        moved, inside, enters = msgspec.msgpack.decode(message.payload, type=tuple[JID, list[JID] | None, bytes])
        embedded, session = self._embedded, JID(*moved)
        router, now = embedded.router, embedded.router.now()
        if inside is None:
            self._others.session_moved(session, now)
        else:
            self._others.session_came(session, now)
            for occupant in (JID(*each) for each in inside):
                room = embedded.rooms.room(occupant.bare)
                known = room is not None and session in room.occupants.by_session
                if not known and router.home(occupant.bare) == router.index:
                    # nobody of this node was there: it enters as the occupant that it is
                    router.route(stamp(enters, to=str(occupant)), occupant)
        router.drain()

    def sweep(self) -> None:
        """Do what is due; called 8 times a second."""
        self.nodes.sweep()
        self.resuming.sweep()

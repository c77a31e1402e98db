"""Puts together what one worker needs for users that have sessions on several nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from megaphone.embedded.stream_record import new_stream
from megaphone.embedded.user_nodes import UserNodes
from megaphone.embedded.user_resuming import Resuming
from megaphone.stream.jid import JID
from megaphone.wire.stanza_writer import presence

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from megaphone.bus.ports import Message
    from megaphone.embedded.embedded import Embedded
    from megaphone.embedded.nodes import Nodes

MOVED: Final = "users.moved"  # within the node

_ENTERS: Final = b"<x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x>"


class JoinedUsers:
    """The users of one worker, joined with those of other nodes. `waiting` is that of `storage.users`."""

    def __init__(self, embedded: Embedded, nodes: Nodes, waiting: Callable[[int], Sequence[tuple[int, str]]]) -> None:
        self.nodes = UserNodes(nodes, embedded.service, embedded.router, embedded.promises, waiting)
        self.resuming = Resuming(
            nodes,
            embedded.router,
            embedded.sessions,
            embedded.promises,
            new_stream=lambda: new_stream(embedded.streams, 0),
            moved=lambda session: self._tell_rooms(session, None),
            came=self._tell_rooms,
            taken_back=self.nodes.announce_again,
        )
        self.nodes.is_lent = embedded.sessions.is_lent
        self._embedded = embedded
        embedded.subjects.subscribe(MOVED, self._take_moved)
        embedded.logins.user_nodes, embedded.logins.resuming = self.nodes, self.resuming
        self.give_up = self.nodes.give_up

    def _tell_rooms(self, session: JID, directed: Collection[JID] | None) -> None:
        """Tell the rooms of all workers that a session goes on at another node (None), or has come here."""
        rooms = self._embedded.router.rooms_domain
        inside = None if directed is None else [jid for jid in directed if jid.domain == rooms]
        self._embedded.subjects.publish(MOVED, msgspec.msgpack.encode((session, inside)))

    def _take_moved(self, message: Message) -> None:
        """A session has moved: whoever sees its occupants goes on seeing them."""
        moved, inside = msgspec.msgpack.decode(message.payload, type=tuple[JID, list[JID] | None])
        embedded, session = self._embedded, JID(*moved)
        router, now = embedded.router, embedded.router.now()
        others = None if embedded.room_nodes is None else embedded.room_nodes.others
        if others is None:
            return
        if inside is None:
            others.session_moved(session, now)
        else:
            others.session_came(session, now)
            for occupant in (JID(*each) for each in inside):
                room = embedded.rooms.room(occupant.bare)
                known = room is not None and session in room.occupants.by_session
                if not known and router.home(occupant.bare) == router.index:
                    # nobody of this node was there: it enters as the occupant that it is
                    router.route(presence(to=str(occupant), from_=str(session), content=_ENTERS), occupant)
        router.drain()

    def sweep(self) -> None:
        """Do what is due; called 8 times a second."""
        self.nodes.sweep()
        self.resuming.sweep()

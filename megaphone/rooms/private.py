"""Private messages: from one occupant to another, under their room JIDs (XEP-0045 section 7.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.errors import RoomError
from megaphone.rooms.forged import without_forged
from megaphone.rooms.leaving import leave, shows_ghost
from megaphone.rooms.names import CLIENT, MUC_USER, Status, element
from megaphone.rooms.presence import Why
from megaphone.rooms.privileges import PRIVATE
from megaphone.stream.stanza import without_children
from megaphone.wire.stamp import add_child, stamp

if TYPE_CHECKING:
    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.room import Room


def receive_private(room: Room, stanza: Addressed, now: float) -> None:
    """Pass a message on to every session of the occupant it is for."""
    sender = room.sender(stanza)
    if stanza.type == "groupchat":
        raise RoomError("bad-request", "a message of type groupchat is for the room, not for one occupant")
    occupant = room.occupants.by_nick.get(stanza.to.resource)
    if occupant is None:
        raise RoomError("item-not-found", "nobody has this nick")
    if sender.role not in PRIVATE[room.config.allow_pm]:
        raise RoomError("forbidden", "private messages are not allowed to you in this room")
    # the empty <x/> lets the recipient's server see that it is a private message, for carbons (XEP-0280 section 6.1)
    said = element(b"x", MUC_USER) + sender.mark
    message = add_child(stamp(without_forged(stanza, room.jid), to=None, from_=str(sender.jid)), said)
    for session in occupant.sessions:
        room.send(message, session)


def receive_error(room: Room, stanza: Addressed, now: float) -> None:
    """Take the error that a message has met: of a ghost, or for the one who sent a private message."""
    sender = room.occupants.by_session.get(stanza.from_)
    if sender is None:
        return
    if shows_ghost(stanza):
        leave(room, sender, stanza.from_, why=Why((Status.ERROR,)))
        return
    occupant = room.occupants.by_nick.get(stanza.to.resource)
    if occupant is not None:
        # nothing else: an error must not carry what a private message may not
        error = without_children(stanza.data, lambda child: (child.namespace, child.name) != (CLIENT, "error"))
        message = stamp(error, to=None, from_=str(sender.jid))
        for session in occupant.sessions:
            room.send(message, session)

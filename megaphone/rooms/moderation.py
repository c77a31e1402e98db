"""Messages that are no more: taken back by their author (XEP-0424), or away by a moderator (XEP-0425).

Either way the archive forgets what the message said, and has a tombstone in its place; everybody is told, and the
archive keeps that too, for those who were not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.errors import RoomError
from megaphone.history.entry import Kind
from megaphone.rooms.ports import Role
from megaphone.stream.archive import Erasure, Said
from megaphone.stream.retraction import moderated, moderates, moderation, placeholder

if TYPE_CHECKING:
    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.occupants import Occupant
    from megaphone.rooms.room import Room


def retract(room: Room, sender: Occupant, target: str, said: Said) -> bytes:
    """Do what a message says that takes another one back, and return it as everybody is to get it.

    RoomError if it is somebody else's. One that the archive has no more may still be on a screen: it is passed on.
    """
    entry = room.find(target)
    if entry is not None and (entry.said.kind != Kind.MESSAGE or entry.erased):
        entry = None
    if entry is not None and entry.said.author != said.author:
        raise RoomError("forbidden", "you can take back only what you have said")
    erases = None if entry is None else Erasure(entry.id, placeholder(entry.said.stanza, said.message, said.time))
    return room.marked(room.keep(said, erases=erases))


def receive_moderate(room: Room, stanza: Addressed, now: float) -> None:
    """Take a message away because a moderator says so. Once more is no change."""
    sender = room.sender(stanza)
    if sender.role is not Role.MODERATOR:
        raise RoomError("forbidden", "only moderators take other people's messages away")
    assert stanza.payload is not None  # noqa: S101 - it is what was looked up
    target, reason, is_retraction = moderates(stanza.payload)
    if target is None:
        raise RoomError("bad-request", "say which message, by its stanza-id")
    if not is_retraction:
        raise RoomError("feature-not-implemented", "a message can be retracted, and nothing else")
    entry = room.find(target)
    if entry is None:
        raise RoomError("item-not-found", "there is no such message")
    if entry.said.kind != Kind.MESSAGE:
        raise RoomError("not-acceptable", "this is no message that people have written")
    if not entry.erased:
        content = moderated(str(sender.jid), sender.mark, reason[: room.settings.reason_limit_characters])
        id_ = f"moderation-{entry.id}"  # each is moderated once
        told = moderation(room.address, id_, entry.id, content)
        author = str(sender.bare)
        said = Said(now, Kind.MODERATION, author, author, sender.nick, told, id_)
        kept = room.keep(said, erases=Erasure(entry.id, placeholder(entry.said.stanza, id_, now, content)))
        room.outlet.fan_out(room.jid, room.marked(kept))
    room.answer(stanza)

"""A room's rows have been changed by another node: what is new in them is taken over, and told to those who are here.

The store is right about configuration and affiliations, with three exceptions: a room that is being made here, or that
people are in though its row is gone, is kept again; and of two that were made at once, the one made first counts, whose
creator is the creator: both are owners.

A name may have had several rooms, one after the other. `RoomStore.ended` says when the last one was deleted: a room in
memory that was made before is over, one that was made since is not meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from megaphone.rooms import configuration, ownership
from megaphone.rooms.administration import show_affiliation
from megaphone.rooms.entering import occupant_mark
from megaphone.rooms.ports import Affiliated, Affiliation
from megaphone.rooms.room import Room

SOONEST_SECONDS: Final = 0.001  # from the end of one room to the next of its name

if TYPE_CHECKING:
    from megaphone.rooms.ports import RoomRecord
    from megaphone.rooms.rooms import Rooms
    from megaphone.stream.jid import JID


def refresh(rooms: Rooms, jid: JID, now: float) -> None:
    """Make a room what the store says, at `now`, Unix seconds."""
    store, nodes = rooms.surroundings.store, rooms.surroundings.nodes
    record, room, ended = store.room(jid), rooms.room(jid), store.ended(jid)
    if record is not None and nodes is not None and record.created <= nodes.destroyed.at(jid):
        return  # it is destroyed, and its row goes yet
    is_over = room is not None and _is_over(room, ended)
    if room is not None:
        room.life = ended
    if record is not None and room is not None and is_over and room.config.persistent:
        ownership.end(room)  # it was destroyed, and this is the next of its name
        room = None
    if record is None:
        if room is not None and not room.locked:
            _row_is_gone(room, is_over=is_over)
    elif room is None:
        room = Room(record, rooms.surroundings, store.affiliations(jid))
        room.life = ended
        rooms.add(room)
        room.announce()
    else:
        was_locked, maker = room.locked, room.creator
        room.locked = False
        if was_locked:
            room.archive_said()
        _take_record(rooms, room, record, anew=was_locked, is_over=is_over)
        _take_affiliations(room, keeping=maker if was_locked else None)
        if rooms.room(jid) is room:
            room.close_if_empty()


def _is_over(room: Room, ended: float) -> bool:
    """Whether the last deletion of a room of this name was this one's, and is news."""
    nodes = room.surroundings.nodes
    if ended == room.life:
        return False
    return room.made <= (ended if nodes is None else nodes.destroyed.over_until(room.jid, ended))


def _row_is_gone(room: Room, *, is_over: bool) -> None:
    nodes = room.surroundings.nodes
    if not is_over:  # it was the row of the one before, and ours with it
        room.save_rows()
    elif room.config.persistent:  # an owner has destroyed it
        room.surroundings.archive.forget(room.jid)
        ownership.end(room)
    elif nodes is not None and room.mirror is not None and room.mirror.own:
        nodes.orphaned(room)
    elif not room.occupants:  # else the nodes to which they are connected keep it
        room.surroundings.archive.forget(room.jid)
        room.close()


def destroyed(rooms: Rooms, room: Room, content: bytes, at: float, now: float) -> None:
    """An owner has destroyed a room elsewhere `at` this time: end it, and have the next if its row is here already."""
    record = room.surroundings.store.room(room.jid)
    if record is None or record.created <= at:
        room.surroundings.archive.forget(room.jid)
    ownership.end(room, content)
    refresh(rooms, room.jid, now)


def keep(room: Room, now: float) -> None:
    """Keep a room again whose row has gone, as one that was made since."""
    room.life = room.surroundings.store.ended(room.jid)
    room.created = room.made = max(now, room.life + SOONEST_SECONDS)
    room.save_rows()


def _take_record(rooms: Rooms, room: Room, record: RoomRecord, *, anew: bool, is_over: bool) -> None:
    """Take over what the room is. `anew`: it was being made here, and nobody has configured it yet."""
    ours_is_first = not is_over and (room.created, room.creator) < (record.created, record.creator)
    if not ours_is_first:
        room.created = record.created
        if record.creator != room.creator:
            owner = Affiliated(room.creator, Affiliation.OWNER)
            if anew:
                room.put_affiliation(owner)
            rooms.recount(room, record.creator)
        if record.secret != room.secret:
            room.secret = record.secret
            for occupant in room.occupants:
                occupant.mark = occupant_mark(room, occupant.bare)
                occupant.renew()
    if record.subject is not None and (room.subject is None or room.subject.time < record.subject.time):
        room.subject = record.subject
    before, room.config = room.config, record.config
    configuration.show(room, before)
    if ours_is_first:
        room.save()
        if anew:
            room.put_affiliation(Affiliated(room.creator, Affiliation.OWNER))


def _take_affiliations(room: Room, keeping: JID | None) -> None:
    """Take over who is what; `keeping` made the room here, and stays its owner."""
    stored = {each.jid: each for each in room.surroundings.store.affiliations(room.jid)}
    ours = {each.jid: each for each in room.affiliations}
    for jid in [*ours, *(each for each in stored if each not in ours)]:
        entry = stored.get(jid) or Affiliated(jid, Affiliation.NONE)
        known = ours.get(jid)
        if jid == keeping or known == entry:
            continue
        before = room.affiliations.of(jid)
        room.affiliations.put(entry)
        if entry.affiliation is not before:
            show_affiliation(room, entry, before)

"""What is said to all: messages, reflected to every occupant in one order, and the subject (XEP-0045 sections 7.4, 8).

A plain message is looked at, not parsed: its header, and whether certain names occur in it at all. A room writes it
once, with the sender's occupant-id (XEP-0421) and, if it is archived, its stanza-id (XEP-0359), and one `fan_out` sends
it to everybody. What is not archived has no stanza-id: clients ask the archive for what has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.errors import RoomError, StorageError
from megaphone.history.entry import Kind
from megaphone.rooms import moderation
from megaphone.rooms.forged import without_forged
from megaphone.rooms.names import CLIENT, HINTS, delay
from megaphone.rooms.ports import Subject
from megaphone.rooms.privileges import SPEAKING, SUBJECT
from megaphone.stream.archive import Said
from megaphone.stream.retraction import retracts
from megaphone.wire.stamp import add_child, stamp
from megaphone.wire.stanza_header import read_stanza_header

if TYPE_CHECKING:
    from collections.abc import Sequence

    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.room import Room
    from megaphone.stream.archive import Archived

NOT_STORED = ("no-store", "no-permanent-store")
LATE_SECONDS = 10.0  # what another node said so long ago gets a delay stamp


def receive_groupchat(room: Room, stanza: Addressed, now: float) -> None:
    """Reflect a message to all occupants, its sender included, or change the subject."""
    sender = room.sender(stanza)
    if sets_subject(stanza):
        if sender.role not in SUBJECT[room.config.change_subject]:
            raise RoomError("forbidden", "you may not change the subject")
        if len(stanza.data) > room.settings.subject_limit_bytes:
            limit = room.settings.subject_limit_bytes
            raise RoomError("not-acceptable", f"a message with a subject has at most {limit} bytes")
        room.admit_message(now)
        before, message = room.subject, room.marked(room.keep(_said(room, stanza, now, Kind.SUBJECT)))
        room.subject = Subject(message, now)
        try:
            room.save()
        except StorageError:
            room.subject = before
            raise
        room.outlet.fan_out(room.jid, message)
        return
    if sender.role not in SPEAKING:
        raise RoomError("forbidden", "this room is moderated, and you have no voice")
    room.admit_message(now)
    target = retracts(stanza)
    if target is not None:
        message = moderation.retract(room, sender, target, _said(room, stanza, now, Kind.RETRACTION))
    elif has_body(stanza) and not (b"store" in stanza.data and _is_not_to_be_stored(stanza)):
        message = room.marked(room.keep(_said(room, stanza, now, Kind.MESSAGE)))  # may fail: then nobody gets it
    else:
        message = _said(room, stanza, now, Kind.MESSAGE).stanza
        room.tell_nodes(message)  # what is archived comes to them as a part of the log
    room.outlet.fan_out(room.jid, message)


def hear(room: Room, entries: Sequence[Archived], now: float) -> None:
    """Show what has been said at other nodes, with its time if that was a while ago, and old messages in bounds."""
    late = [entry for entry in entries if now - entry.said.time > LATE_SECONDS]
    passed_over = {entry.id for entry in late[: max(0, len(late) - room.late_credit(len(late), now))]}
    for entry in entries:
        room.heard(entry)
        said = entry.said
        if entry.erased or said.kind == Kind.NOTE:
            continue
        message = room.marked(entry)
        if said.kind == Kind.SUBJECT:
            if room.subject is not None and room.subject.time > said.time:
                continue
            room.subject = Subject(message, said.time)
        elif entry.id in passed_over:
            continue
        if now - said.time > LATE_SECONDS:
            message = add_child(message, delay(room.address, said.time))
        room.outlet.fan_out(room.jid, message)


def _said(room: Room, stanza: Addressed, now: float, kind: Kind) -> Said:
    sender = room.sender(stanza)
    stamped = stamp(without_forged(stanza, room.jid), to=None, from_=str(sender.jid))
    author = str(sender.bare)
    return Said(now, kind, author, author, sender.nick, add_child(stamped, sender.mark), stanza.id or "")


def has_body(stanza: Addressed) -> bool:
    """Whether a message has a `<body/>`: typing notifications and receipts have none, and are no history."""
    header = read_stanza_header(stanza.data)
    if header.child_name == "body" and header.child_namespace == CLIENT:
        return True
    return b"body" in stanza.data and _has_child(stanza, "body")


def _is_not_to_be_stored(stanza: Addressed) -> bool:
    """Whether its sender has asked to keep it nowhere (XEP-0334 section 5)."""
    return any(child.namespace == HINTS and child.name in NOT_STORED for child in stanza.children)


def sets_subject(stanza: Addressed) -> bool:
    """Whether a message has a `<subject/>` and neither body nor thread (XEP-0045 section 8.1)."""
    return (
        b"subject" in stanza.data
        and _has_child(stanza, "subject")
        and not _has_child(stanza, "body")
        and not _has_child(stanza, "thread")
    )


def _has_child(stanza: Addressed, name: str) -> bool:
    return any(child.name == name and child.namespace == CLIENT for child in stanza.children)

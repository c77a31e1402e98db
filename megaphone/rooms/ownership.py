"""What owners ask of a room: to configure it, open it as it is, destroy it (XEP-0045 sections 10.1, 10.2, 10.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.errors import RoomError
from megaphone.rooms import configuration, forms
from megaphone.rooms.asking import answer_for
from megaphone.rooms.names import DATA_FORM, MUC_OWNER, MUC_ROOM_CONFIG, Status, element, muc_user
from megaphone.rooms.ports import Affiliation, Role
from megaphone.stream.jid import JID
from megaphone.wire.stanza_writer import presence
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.room import Room


def receive_get(room: Room, stanza: Addressed, now: float) -> None:
    """Answer with the configuration form."""
    _check_owner(room, stanza)
    room.answer(stanza, element(b"query", MUC_OWNER, configuration.form(room)))


def receive_set(room: Room, stanza: Addressed, now: float) -> None:
    """Configure, open or destroy the room."""
    _check_owner(room, stanza)
    query = stanza.tree[0]
    destruction = query.find(f"{{{MUC_OWNER}}}destroy")
    form = query.find(f"{{{DATA_FORM}}}x")
    if destruction is not None:
        venue = _venue(destruction)
        destroy(room, venue, reason=_text(room, destruction, "reason"), password=_text(room, destruction, "password"))
        room.answer(stanza)
    elif form is None:
        raise RoomError("bad-request", "neither a form nor <destroy/>")
    elif form.get("type") == "cancel":
        if room.locked:  # section 10.1.3: who gives up configuring a new room gives up the room
            destroy(room)
        room.answer(stanza)
    elif form.get("type") == "submit":
        config = configuration.read(forms.read(form, MUC_ROOM_CONFIG), room.config, room.settings)
        room.answer(stanza)
        if room.locked:
            room.config = config
            unlock(room)
        else:
            configuration.apply(room, config)
    else:
        raise RoomError("bad-request", "the form is neither submitted nor cancelled")


def unlock(room: Room) -> None:
    """Open a new room to others, and keep it if it is persistent."""
    room.locked = False
    if room.persistent:
        room.save_all()
    else:
        room.announce()


def destroy(room: Room, venue: JID | None = None, *, reason: str = "", password: str = "") -> None:
    """End the room, telling everybody in it where to go instead (XEP-0045 section 10.9)."""
    content = element(b"reason", content=escape(reason)) if reason else b""
    if password:
        content += element(b"password", content=escape(password))
    content = element(b"destroy", content=content, jid=None if venue is None else str(venue))
    if room.surroundings.nodes is not None and not room.locked:  # else each node has one of its own yet
        room.surroundings.nodes.telling.destroyed(room, content)
    if room.persistent:
        room.forget()
    end(room, content)


def end(room: Room, content: bytes = b"<destroy/>") -> None:
    """Tell everybody here that the room is no more, and let it be none; `content` is `<destroy/>`."""
    x = muc_user(element(b"item", affiliation=Affiliation.NONE, role=Role.NONE) + content, (Status.SELF_PRESENCE,))
    leaving = [each for each in room.occupants.by_session.items() if each[0] not in room.occupants.remote]
    for session, occupant in leaving:
        room.outlet.occupant_removed(room.jid, session)
        answer_for(room, occupant, session)
    for session, occupant in leaving:
        room.send(presence(from_=str(occupant.jid), type_="unavailable", content=x), session)
        room.occupants.leave(session)
    room.close()


def _check_owner(room: Room, stanza: Addressed) -> None:
    if room.affiliation(stanza) is not Affiliation.OWNER:
        raise RoomError("forbidden", "only owners configure a room")


def _venue(destruction: Element) -> JID | None:
    address = destruction.get("jid")
    try:
        return None if address is None else JID.parse(address).bare
    except ValueError:
        raise RoomError("jid-malformed", "the other venue is no JID") from None


def _text(room: Room, destruction: Element, name: str) -> str:
    return (destruction.findtext(f"{{{MUC_OWNER}}}{name}") or "")[: room.settings.reason_limit_characters]

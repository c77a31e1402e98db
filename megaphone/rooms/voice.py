"""Asking for voice in a moderated room, and getting it (XEP-0045 sections 7.13 and 8.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.errors import RoomError
from megaphone.rooms import forms
from megaphone.rooms.administration import RoleChange, set_role
from megaphone.rooms.names import MUC_REQUEST
from megaphone.rooms.ports import Audience, Role
from megaphone.rooms.privileges import check_role_change
from megaphone.wire.stanza_writer import message

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.occupants import Occupant
    from megaphone.rooms.room import Room


def receive(room: Room, stanza: Addressed, x: Element) -> None:
    """Take a submitted voice form: a visitor's request, or a moderator's decision."""
    sender = room.sender(stanza)
    if x.get("type") != "submit":
        raise RoomError("bad-request", "the form is not submitted")
    submitted = forms.read(x, MUC_REQUEST)
    if sender.role is Role.MODERATOR:
        _decide(room, sender, submitted)
        return
    if forms.read_single("muc#role", submitted.get("muc#role", [])) != Role.PARTICIPANT:
        raise RoomError("bad-request", "only the role of participant can be asked for")
    if sender.role is not Role.VISITOR:
        raise RoomError("not-acceptable", "you have voice")
    form = message(from_=room.address, content=_request(str(stanza.from_), sender.nick))
    room.outlet.fan_out(room.jid, form, audience=Audience.MODERATORS)
    room.tell_nodes(form, Audience.MODERATORS)


def _request(jid: str, nick: str) -> bytes:
    fields = (
        forms.field("muc#role", "list-single", [Role.PARTICIPANT], "Requested role", [("Participant", "participant")]),
        forms.field("muc#jid", "jid-single", [jid], "User"),
        forms.field("muc#roomnick", "text-single", [nick], "Nick"),
        forms.field("muc#request_allow", "boolean", ["0"], "Grant voice to this person?"),
    )
    title = "Voice request"
    return forms.form("form", MUC_REQUEST, fields, title, "Submit this form to decide whether this visitor may speak.")


def _decide(room: Room, sender: Occupant, submitted: dict[str, list[str]]) -> None:
    if not forms.read_boolean("muc#request_allow", submitted.get("muc#request_allow", ["0"])):
        return
    nick = forms.read_single("muc#roomnick", submitted.get("muc#roomnick", []))
    occupant = room.occupants.by_nick.get(nick)
    if occupant is None:
        raise RoomError("item-not-found", "nobody has this nick any more")
    if occupant.role is not Role.VISITOR:
        return  # another moderator was faster
    actor = (sender.role, room.affiliations.of(sender.bare))
    target = (occupant.role, room.affiliations.of(occupant.bare))
    check_role_change(actor, target, Role.PARTICIPANT)
    set_role(room, RoleChange(occupant, Role.PARTICIPANT, ""), sender.nick)

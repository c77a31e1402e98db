"""Which part of a room takes which stanza, as tables: by kind and type, for the room and for an occupant of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.errors import RoomError
from megaphone.rooms import (
    administration,
    archive,
    asking,
    discovery,
    entering,
    forms,
    groupchat,
    invitations,
    leaving,
    moderation,
    ownership,
    private,
    voice,
)
from megaphone.rooms.names import (
    DATA_FORM,
    DISCO_INFO,
    DISCO_ITEMS,
    MUC_ADMIN,
    MUC_OWNER,
    MUC_REQUEST,
    MUC_USER,
    PING,
)
from megaphone.rooms.ports import Affiliation
from megaphone.stream.mam import MAM
from megaphone.stream.retraction import MODERATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.room import Room

    Part = Callable[[Room, Addressed, float], None]


def _pass_over(room: Room, stanza: Addressed, now: float) -> None:
    """Nothing is said to an answer, or an error, that nobody waits for."""


def _refuse(room: Room, stanza: Addressed, now: float) -> None:
    raise RoomError("bad-request", f"a {stanza.kind} of this type is not for rooms")


def _receive_message(room: Room, stanza: Addressed, now: float) -> None:
    x = stanza.child(MUC_USER, "x")
    if x is not None:
        invitations.receive(room, stanza, x)
        return
    form = stanza.child(DATA_FORM, "x")
    if form is not None and forms.form_type(form) == MUC_REQUEST:
        voice.receive(room, stanza, form)
        return
    raise RoomError("service-unavailable", "a message to all is of type groupchat")


def _ping(room: Room, stanza: Addressed, now: float) -> None:
    room.answer(stanza)


def _receive_request(room: Room, stanza: Addressed, now: float) -> None:
    payload = stanza.payload
    if payload is None or stanza.id is None:
        raise RoomError("bad-request", "a request has an id and one child")
    part = REQUESTS.get((stanza.type or "", payload.tag))
    if part is None:
        raise RoomError("service-unavailable")
    part(room, stanza, now)


PRESENCES: dict[str | None, Part] = {
    None: entering.receive_available,
    "unavailable": leaving.receive_unavailable,
    "error": leaving.receive_error,
    "probe": _pass_over,
    "subscribe": _refuse,
    "subscribed": _pass_over,
    "unsubscribe": _pass_over,
    "unsubscribed": _pass_over,
}

TO_ROOM: dict[tuple[str, str | None], Part] = {
    ("message", "groupchat"): groupchat.receive_groupchat,
    ("message", None): _receive_message,
    ("message", "normal"): _receive_message,
    ("message", "error"): leaving.receive_error,
    ("iq", "get"): _receive_request,
    ("iq", "set"): _receive_request,
    ("iq", "result"): _pass_over,
    ("iq", "error"): _pass_over,
}

TO_OCCUPANT: dict[tuple[str, str | None], Part] = {
    ("message", "groupchat"): private.receive_private,
    ("message", "chat"): private.receive_private,
    ("message", None): private.receive_private,
    ("message", "normal"): private.receive_private,
    ("message", "headline"): private.receive_private,
    ("message", "error"): private.receive_error,
    ("iq", "get"): asking.receive_request,
    ("iq", "set"): asking.receive_request,
    ("iq", "result"): asking.receive_answer,
    ("iq", "error"): asking.receive_answer,
}

REQUESTS: dict[tuple[str, str], Part] = {
    ("get", f"{{{DISCO_INFO}}}query"): discovery.receive_info,
    ("get", f"{{{DISCO_ITEMS}}}query"): discovery.receive_items,
    ("get", f"{{{PING}}}ping"): _ping,
    ("get", f"{{{MUC_ADMIN}}}query"): administration.receive_get,
    ("set", f"{{{MUC_ADMIN}}}query"): administration.receive_set,
    ("get", f"{{{MUC_OWNER}}}query"): ownership.receive_get,
    ("set", f"{{{MUC_OWNER}}}query"): ownership.receive_set,
    ("get", f"{{{MAM}}}query"): archive.receive_form,
    ("set", f"{{{MAM}}}query"): archive.receive_query,
    ("get", f"{{{MAM}}}metadata"): archive.receive_metadata,
    ("set", f"{{{MODERATE}}}moderate"): moderation.receive_moderate,
}


def receive(room: Room, stanza: Addressed, now: float) -> None:
    """Give a stanza to the part of the room that it is for; RoomError for what is refused."""
    if room.locked and room.affiliation(stanza) is not Affiliation.OWNER:
        receive_without_room(stanza)
    elif stanza.kind == "presence":
        PRESENCES.get(stanza.type, _refuse)(room, stanza, now)
    else:
        table = TO_OCCUPANT if stanza.to.resource else TO_ROOM
        table.get((stanza.kind, stanza.type), _refuse)(room, stanza, now)


def receive_without_room(stanza: Addressed) -> None:
    """Take a stanza to a room that does not exist, or not yet for others (XEP-0045 section 10.1.1): RoomError."""
    if stanza.kind == "presence" and stanza.type is not None and PRESENCES.get(stanza.type) is not _refuse:
        return
    if stanza.kind == "iq" and stanza.to.resource:
        # XEP-0410 section 3.2: item-not-found would mean that only the nick has changed
        raise RoomError("not-acceptable", "you are not in this room", type_="cancel")
    raise RoomError("item-not-found", "there is no such room")

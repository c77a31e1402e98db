"""What a room says of itself: disco#info with features and muc#roominfo, disco#items (XEP-0045 sections 6.4, 6.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.errors import RoomError
from megaphone.rooms import forms
from megaphone.rooms.names import (
    DISCO_INFO,
    DISCO_ITEMS,
    MUC,
    MUC_REQUEST,
    MUC_ROOM_INFO,
    MUC_SELF_PING,
    MUC_STABLE_ID,
    OCCUPANT_ID,
    PING,
    STANZA_ID,
    element,
)
from megaphone.rooms.ports import Whois
from megaphone.stream import mam
from megaphone.stream.retraction import MODERATE, RETRACT, TOMBSTONE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.room import Room

ALWAYS = (
    DISCO_INFO, DISCO_ITEMS, MUC, MUC_REQUEST, MUC_SELF_PING, MUC_STABLE_ID, OCCUPANT_ID, PING, STANZA_ID,
    *mam.FEATURES, MODERATE, RETRACT, TOMBSTONE,
)  # fmt: skip
REGISTERED_NICK = "x-roomuser-item"


def info(name: str, features: Iterable[str], *, extra: bytes = b"", node: str | None = None) -> bytes:
    """Return `<query/>` of disco#info of a chat room or of the service (XEP-0030 section 3.1)."""
    content = element(b"identity", category="conference", type="text", name=name)
    content += b"".join(element(b"feature", var=feature) for feature in features)
    return element(b"query", DISCO_INFO, content + extra, node=node)


def receive_info(room: Room, stanza: Addressed, now: float) -> None:
    """Answer with what kind of room this is."""
    node = _node(stanza)
    if node == REGISTERED_NICK:  # section 7.12: no nick is registered
        room.answer(stanza, element(b"query", DISCO_INFO, node=node))
        return
    if node:
        raise RoomError("item-not-found")
    config = room.config
    kind = (
        "muc_passwordprotected" if config.password else "muc_unsecured",
        "muc_membersonly" if config.members_only else "muc_open",
        "muc_moderated" if config.moderated else "muc_unmoderated",
        "muc_public" if config.public else "muc_hidden",
        "muc_persistent" if config.persistent else "muc_temporary",
        "muc_nonanonymous" if config.whois is Whois.ANYONE else "muc_semianonymous",
    )
    about = forms.form(
        "result",
        MUC_ROOM_INFO,
        (
            forms.field("muc#roominfo_description", "text-single", [config.description], "Description"),
            forms.field("muc#roominfo_occupants", "text-single", [str(len(room.occupants))], "Number of occupants"),
            forms.field("muc#roominfo_changesubject", "boolean", [forms.boolean(config.change_subject)]),
            forms.field("muc#maxhistoryfetch", "text-single", [str(config.history_length)]),
        ),
    )
    room.answer(stanza, info(config.name, ALWAYS + kind, extra=about))


def receive_items(room: Room, stanza: Addressed, now: float) -> None:
    """Answer with the occupants, to those who see them anyway (XEP-0045 section 6.5)."""
    if _node(stanza):
        raise RoomError("item-not-found")
    items = b""
    if stanza.from_ in room.occupants.by_session:
        shown = [each for each in room.occupants if each.role in room.config.presence_broadcast]
        items = b"".join(element(b"item", jid=str(each.jid)) for each in shown[: room.settings.list_limit])
    room.answer(stanza, element(b"query", DISCO_ITEMS, items))


def _node(stanza: Addressed) -> str | None:
    return None if stanza.payload is None else stanza.payload.get("node")

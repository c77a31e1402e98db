"""What occupants see of each other: presence with role, affiliation, real JID and status codes.

In a semi-anonymous room moderators see real JIDs and others do not: what is said of an occupant goes out twice, once
for each audience (XEP-0045 section 7.2.3). Who is spoken of gets its own version, with status 110 and its JID.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from megaphone.errors import RoomError
from megaphone.rooms.forged import without_forged
from megaphone.rooms.names import Status, element, muc_user
from megaphone.rooms.ports import Audience, Role, Whois
from megaphone.wire.stamp import add_child, stamp
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.occupants import Occupant
    from megaphone.rooms.room import Room
    from megaphone.stream.jid import JID

EMPTY = b"<presence/>"


@dataclass(frozen=True, slots=True)
class Why:
    """What is said along with a presence: status codes, who did it, the reason given, and the new nick of a change."""

    statuses: tuple[Status, ...] = ()
    actor: str = ""
    reason: str = ""
    new_nick: str = ""


PLAINLY = Why()


def payload(stanza: Addressed, limit_bytes: int) -> bytes:
    """Return a presence without addresses, id, type and what only the room says; RoomError if it is too large."""
    if len(stanza.data) > limit_bytes:
        raise RoomError("policy-violation", f"a presence in a room has at most {limit_bytes} bytes")
    return stamp(without_forged(stanza, stanza.to), to=None, from_=None, type_=None, id_=None)


def rendered(
    room: Room,
    occupant: Occupant,
    content: bytes,
    jid: JID | None,
    why: Why = PLAINLY,
    *,
    gone: bool = False,
    own: bool = False,
) -> bytes:
    """Return a presence of the occupant without `to`; `jid` is the real JID, if it is to be seen."""
    inner = element(b"actor", nick=why.actor) if why.actor else b""
    if why.reason:
        inner += element(b"reason", content=escape(why.reason))
    item = element(
        b"item",
        content=inner,
        affiliation=room.affiliations.of(occupant.bare),
        role=Role.NONE if gone and not why.new_nick else occupant.role,  # who changes its nick stays (section 7.6)
        jid=None if jid is None else str(jid),
        nick=why.new_nick or None,
    )
    statuses = (Status.SELF_PRESENCE, *why.statuses) if own else why.statuses
    stamped = stamp(content, from_=str(occupant.jid), type_="unavailable" if gone else None)
    return add_child(stamped, occupant.mark + muc_user(item, statuses))


def plain(room: Room, occupant: Occupant) -> bytes:
    """Return the occupant's presence as those see it who do not see real JIDs."""
    if occupant.plain is None:
        occupant.plain = rendered(room, occupant, occupant.presence, None)
    return occupant.plain


def revealing(room: Room, occupant: Occupant) -> bytes:
    """Return the occupant's presence as those see it who see real JIDs."""
    if occupant.revealing is None:
        occupant.revealing = rendered(room, occupant, occupant.presence, occupant.session)
    return occupant.revealing


def reveals(room: Room, role: Role) -> bool:
    """Whether an occupant of this role sees real JIDs."""
    return room.config.whois is Whois.ANYONE or role is Role.MODERATOR


def others(room: Room, viewer: Occupant) -> list[bytes]:
    """Return the presences of all others that the viewer sees (XEP-0045 section 7.2.2)."""
    view = revealing if reveals(room, viewer.role) else plain
    shown = room.config.presence_broadcast
    return [view(room, each) for each in room.occupants if each is not viewer and each.role in shown]


def own(room: Room, occupant: Occupant, session: JID, why: Why = PLAINLY) -> bytes:
    """Return the occupant's presence as one of its sessions sees it, without `to`."""
    return rendered(room, occupant, occupant.presence, session, why, own=True)


def show(room: Room, occupant: Occupant, *, was: Role, why: Why = PLAINLY) -> None:
    """Tell everybody of the occupant's presence, role and affiliation; `was` is its role so far, NONE if it is new."""
    show_to_others(room, occupant, was=was, why=why)
    show_to_own(room, occupant, why=why)


def show_to_own(room: Room, occupant: Occupant, *, why: Why = PLAINLY, except_: JID | None = None) -> None:
    """Tell the occupant's own sessions; those at other nodes are told there."""
    for session in room.occupants.local(occupant):
        if session != except_:
            room.send(own(room, occupant, session, why), session)


def show_to_others(room: Room, occupant: Occupant, *, was: Role, why: Why = PLAINLY) -> None:
    """Tell everybody else."""
    shown = room.config.presence_broadcast
    if occupant.role in shown:
        if why is PLAINLY:
            _broadcast(room, occupant.sessions, plain(room, occupant), revealing(room, occupant))
        else:
            of_others = rendered(room, occupant, occupant.presence, None, why)
            revealed = rendered(room, occupant, occupant.presence, occupant.session, why)
            _broadcast(room, occupant.sessions, of_others, revealed)
    elif was in shown:
        hide(room, occupant)


def hide(room: Room, occupant: Occupant, content: bytes = EMPTY, why: Why = PLAINLY) -> None:
    """Tell everybody else that an occupant is gone, or can no longer be seen."""
    of_others = rendered(room, occupant, content, None, why, gone=True)
    revealed = rendered(room, occupant, content, occupant.session, why, gone=True)
    _broadcast(room, occupant.sessions, of_others, revealed)


def show_gone(room: Room, occupant: Occupant, content: bytes = EMPTY, why: Why = PLAINLY) -> None:
    """Tell everybody that an occupant is gone, its own sessions too, which are still its."""
    if occupant.role in room.config.presence_broadcast:
        hide(room, occupant, content, why)
    for session in room.occupants.local(occupant):
        tell_gone(room, occupant, session, content, why)


def tell_gone(room: Room, occupant: Occupant, session: JID, content: bytes = EMPTY, why: Why = PLAINLY) -> None:
    """Tell one session that it is no longer this occupant."""
    room.send(rendered(room, occupant, content, session, why, gone=True, own=True), session)


def _broadcast(room: Room, except_: Iterable[JID], of_others: bytes, revealed: bytes) -> None:
    except_ = tuple(except_)
    if room.config.whois is Whois.ANYONE:
        room.outlet.fan_out(room.jid, revealed, except_=except_)
    else:
        room.outlet.fan_out(room.jid, of_others, audience=Audience.OTHERS, except_=except_)
        room.outlet.fan_out(room.jid, revealed, audience=Audience.MODERATORS, except_=except_)


def show_all_to(room: Room, occupant: Occupant) -> None:
    """Send the presences of all others anew to an occupant who sees more, or less, of them from now on."""
    for session in room.occupants.local(occupant):
        room.outlet.route_many(others(room, occupant), session)

"""Entering a room: who may, and what a new occupant gets, in XEP-0045's order (section 7.2).

    the others' presences ─► its own, status 110 ─► history ─► subject ─► everything that is said from now on

All of it is one step of the room, so that entering is a position in its order: a message is either history or live.
"""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING

from megaphone.errors import RoomError
from megaphone.rooms import presence
from megaphone.rooms.history import wanted
from megaphone.rooms.names import MUC, OCCUPANT_ID, Status, delay, element
from megaphone.rooms.occupants import Occupant
from megaphone.rooms.ports import Affiliation, Role, Whois
from megaphone.wire.stamp import add_child, stamp
from megaphone.wire.stanza_writer import message

if TYPE_CHECKING:
    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.room import Room
    from megaphone.stream.jid import JID


def receive_available(room: Room, stanza: Addressed, now: float) -> None:
    """Take an available presence: entering, another nick, or another state of an occupant who is there."""
    session = stanza.from_
    occupant = room.occupants.by_session.get(session)
    if session in room.occupants.remote:
        occupant = None  # it was connected to another node, and enters here anew
    nick = stanza.to.resource
    if not nick:
        if occupant is None or stanza.child(MUC, "x") is not None:
            raise RoomError("jid-malformed", "say with which nick you enter")
        nick = occupant.nick
    if occupant is None:
        enter(room, stanza, nick, now)
    elif nick != occupant.nick:
        change_nick(room, occupant, stanza, nick)
    elif stanza.child(MUC, "x") is not None:
        # a client that has lost track of the room enters once more
        room.occupants.enter(occupant, session, presence.payload(stanza, room.settings.presence_limit_bytes))
        presence.show_to_others(room, occupant, was=occupant.role)
        presence.show_to_own(room, occupant, except_=session)
        _show_room(room, occupant, session, stanza, now, ())
    else:
        room.occupants.enter(occupant, session, presence.payload(stanza, room.settings.presence_limit_bytes))
        presence.show(room, occupant, was=occupant.role)


def enter(room: Room, stanza: Addressed, nick: str, now: float, *, created: bool = False) -> None:
    """Let somebody enter, or raise RoomError."""
    if stanza.child(MUC, "x") is None and not room.settings.join_without_x:
        raise RoomError("not-acceptable", "you are not in this room; enter it with <x/> of XEP-0045", type_="cancel")
    session = stanza.from_
    if session.is_bare:
        raise RoomError("jid-malformed", "only a client with a resource can be in a room")
    affiliation = check_admission(room, stanza)
    occupant = claim_nick(room, session.bare, nick)
    if session in room.occupants.remote:
        come_over(room, session, nick)
        occupant = room.occupants.by_nick.get(nick)
    was = Role.NONE
    if occupant is None:
        mark = occupant_mark(room, session.bare)
        occupant = Occupant(nick, room.jid.at(nick), session.bare, room.role_for(affiliation), mark)
    else:
        was = occupant.role
    room.occupants.enter(occupant, session, presence.payload(stanza, room.settings.presence_limit_bytes))
    presence.show_to_others(room, occupant, was=was)
    presence.show_to_own(room, occupant, except_=session)
    room.outlet.occupant_added(room.jid, session, moderator=occupant.role is Role.MODERATOR)
    statuses: tuple[Status, ...] = (Status.CREATED,) if created else ()
    if room.config.whois is Whois.ANYONE:
        statuses = (Status.NON_ANONYMOUS, *statuses)
    _show_room(room, occupant, session, stanza, now, statuses)
    room.announce()


def come_over(room: Room, session: JID, nick: str) -> None:
    """Let a session that has been connected to another node enter here; the same occupant goes on."""
    before = room.occupants.by_session[session]
    if before.nick == nick:
        del room.occupants.remote[session]
        return
    was_shown = session == before.session
    if len(before.sessions) == 1:
        presence.show_gone(room, before, why=presence.Why((Status.NEW_NICK,), new_nick=nick))
    room.occupants.leave(session)
    if was_shown and before.sessions:
        presence.show(room, before, was=before.role)


def check_admission(room: Room, stanza: Addressed) -> Affiliation:
    """Return the affiliation of who may enter; RoomError for who may not (XEP-0045 sections 7.2.5 to 7.2.10)."""
    affiliation = room.affiliation(stanza)
    if room.locked and affiliation is not Affiliation.OWNER:
        raise RoomError("item-not-found", "the room is being made")
    if affiliation is Affiliation.OUTCAST:
        raise RoomError("forbidden", "you are banned from this room")
    if room.config.members_only and affiliation is Affiliation.NONE:
        raise RoomError("registration-required", "only members may enter this room")
    if room.config.password:
        given = stanza.tree.findtext(f"{{{MUC}}}x/{{{MUC}}}password") or ""
        if not hmac.compare_digest(given.encode(), room.config.password.encode()):
            raise RoomError("not-authorized", "this room has a password")
    present = len(room.occupants.by_session)  # of all nodes
    privileged = affiliation in (Affiliation.OWNER, Affiliation.ADMIN)
    full = bool(room.config.max_users) and present >= room.config.max_users and not privileged
    if full or present >= room.settings.occupants_limit:
        raise RoomError("service-unavailable", "the room is full", type_="wait")
    return affiliation


def claim_nick(room: Room, bare: JID, nick: str) -> Occupant | None:
    """Return the occupant who has this nick if it is the same user, None if nobody has it; else RoomError."""
    if len(nick.encode()) > room.settings.nick_limit_bytes:
        raise RoomError("not-acceptable", f"a nick has at most {room.settings.nick_limit_bytes} bytes")
    if nick != nick.strip():
        raise RoomError("not-acceptable", "a nick neither begins nor ends with a space")
    occupant = room.occupants.by_nick.get(nick)
    if occupant is not None:
        if occupant.bare != bare:
            raise RoomError("conflict", "somebody else has this nick")
        if len(room.occupants.local(occupant)) >= room.settings.sessions_per_occupant_limit:
            raise RoomError("resource-constraint", "too many of your clients share this nick")
    return occupant


def occupant_mark(room: Room, bare: JID) -> bytes:
    """Return `<occupant-id/>`: the same for the same user in this room, and no other anywhere (XEP-0421 section 3)."""
    digest = hmac.digest(room.secret, str(bare).encode(), "sha256")
    return element(b"occupant-id", OCCUPANT_ID, id=base64.urlsafe_b64encode(digest[:18]).decode())


def change_nick(room: Room, occupant: Occupant, stanza: Addressed, nick: str) -> None:
    """Give one session another nick (XEP-0045 section 7.6); the occupant goes along if it has no other session."""
    session = stanza.from_
    content = presence.payload(stanza, room.settings.presence_limit_bytes)
    target = claim_nick(room, session.bare, nick)
    alone = len(occupant.sessions) == 1
    new_nick = presence.Why((Status.NEW_NICK,), new_nick=nick)
    if target is None and alone:
        presence.show_gone(room, occupant, why=new_nick)
        room.occupants.rename(occupant, nick, room.jid.at(nick))
        room.occupants.enter(occupant, session, content)
        presence.show(room, occupant, was=Role.NONE)
        return
    was = Role.NONE if target is None else target.role
    if target is None:
        target = Occupant(nick, room.jid.at(nick), session.bare, occupant.role, occupant.mark)
    elif alone and occupant.role in room.config.presence_broadcast:
        presence.hide(room, occupant)
    presence.tell_gone(room, occupant, session, why=new_nick)
    room.occupants.leave(session)
    target.asked |= occupant.asked_of(session)
    room.occupants.enter(target, session, content)
    room.outlet.occupant_changed(room.jid, session, moderator=target.role is Role.MODERATOR)
    if not alone:
        presence.show(room, occupant, was=occupant.role)  # the session that went sees it as somebody else's
    presence.show(room, target, was=was)


def _show_room(
    room: Room, occupant: Occupant, session: JID, stanza: Addressed, now: float, statuses: tuple[Status, ...]
) -> None:
    """Send an occupant who has just entered everything that was there before it."""
    stanzas = presence.others(room, occupant)
    stanzas.append(stamp(presence.own(room, occupant, session, presence.Why(statuses)), id_=stanza.id))
    history = wanted(stanza.tree, room.config.history_length)
    if history.messages:
        stanzas += room.tail.last(history, now, room.address, room.marked)
    if room.subject is None:
        stanzas.append(message(from_=room.address, type_="groupchat", content=b"<subject/>"))
    else:
        stanzas.append(add_child(room.subject.message, delay(room.address, room.subject.time)))
    room.outlet.route_many(stanzas, session)

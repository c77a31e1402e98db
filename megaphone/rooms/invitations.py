"""Invitations through the room, and their refusal (XEP-0045 section 7.8.2).

A direct invitation (XEP-0249) goes from user to user: the room has no part in it, and passes it on in private messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.errors import RoomError
from megaphone.rooms.names import CONFERENCE, MUC_USER, element
from megaphone.rooms.ports import Affiliated, Affiliation, Whois
from megaphone.rooms.privileges import RANK
from megaphone.stream.jid import JID
from megaphone.wire.stanza_writer import message
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.room import Room


def receive(room: Room, stanza: Addressed, x: Element) -> None:
    """Take a message with `<x xmlns='…muc#user'/>`: invitations or a refusal."""
    invitations = x.findall(f"{{{MUC_USER}}}invite")
    refusal = x.find(f"{{{MUC_USER}}}decline")
    if invitations:
        invite(room, stanza, invitations)
    elif refusal is not None:
        decline(room, stanza, refusal)
    else:
        raise RoomError("bad-request", "neither an invitation nor its refusal")


def invite(room: Room, stanza: Addressed, invitations: list[Element]) -> None:
    """Invite all who are named, or nobody; into a members-only room, make them members."""
    sender = room.sender(stanza)
    limit = room.settings.invitations_limit
    if len(invitations) > limit:
        raise RoomError("policy-violation", f"at most {limit} invitations in one message")
    may_admit = room.config.allow_invites or RANK[room.affiliations.of(sender.bare)] >= RANK[Affiliation.ADMIN]
    if room.config.members_only and not may_admit:
        raise RoomError("forbidden", "only admins invite into this room")
    invited = [(_address(each), each) for each in invitations]
    banned = [jid for jid, _ in invited if room.affiliations.of(jid) is Affiliation.OUTCAST]
    if banned:
        raise RoomError("not-allowed", f"{banned[0]} is banned from this room")
    new = {jid.bare for jid, _ in invited if room.affiliations.of(jid) is Affiliation.NONE}
    if room.config.members_only and len(room.affiliations) + len(new) > room.settings.affiliations_limit:
        raise RoomError("resource-constraint", f"a room has at most {room.settings.affiliations_limit} affiliations")
    # in a semi-anonymous room the invited need not learn real JIDs; a refusal finds the occupant all the same
    inviter = str(stanza.from_ if room.config.whois is Whois.ANYONE else sender.jid)
    for jid, each in invited:
        if room.config.members_only and room.affiliations.of(jid) is Affiliation.NONE:
            affiliated = Affiliated(jid.bare, Affiliation.MEMBER)
            room.put_affiliation(affiliated)
            room.say_affiliation(affiliated)
        reason = _reason(room, each)
        room.outlet.route(_invitation(room, inviter, jid, reason, each, stanza.id), jid)


def _invitation(room: Room, inviter: str, jid: JID, reason: str, asked: Element, id_: str | None) -> bytes:
    content = element(b"reason", content=escape(reason)) if reason else b""
    going_on = asked.find(f"{{{MUC_USER}}}continue")
    if going_on is not None:  # section 7.9: a talk of two becomes a room
        content += element(b"continue", thread=going_on.get("thread"))
    content = element(b"invite", content=content, from_=inviter)
    password = room.config.password
    if password:
        content += element(b"password", content=escape(password))
    direct = element(
        b"x", CONFERENCE, jid=room.address, password=password or None, reason=reason or None
    )  # for clients that know XEP-0249 only
    return message(to=str(jid), from_=room.address, id_=id_, content=element(b"x", MUC_USER, content) + direct)


def decline(room: Room, stanza: Addressed, refusal: Element) -> None:
    """Tell the occupant who has invited: only those who are here can be told, so that a room carries no mail."""
    jid = _address(refusal)
    sessions = [jid] if jid in room.occupants.by_session else []
    if not sessions:
        if jid.bare == room.jid:
            occupant = room.occupants.by_nick.get(jid.resource)
            sessions = [] if occupant is None else list(occupant.sessions)
        else:
            sessions = [session for each in room.occupants.of(jid.bare) for session in each.sessions]
    if not sessions:
        raise RoomError("item-not-found", "who invited you is not in the room")
    reason = _reason(room, refusal)
    content = element(b"reason", content=escape(reason)) if reason else b""
    content = element(b"decline", content=content, from_=str(stanza.from_.bare))
    for session in sessions:
        room.send(message(from_=room.address, id_=stanza.id, content=element(b"x", MUC_USER, content)), session)


def _address(element_: Element) -> JID:
    try:
        jid = JID.parse(element_.get("to", ""))
    except ValueError:
        raise RoomError("jid-malformed", "an invitation has a JID as its `to`") from None
    if not jid.local:
        raise RoomError("not-acceptable", "only people can be invited")
    return jid


def _reason(room: Room, element_: Element) -> str:
    return (element_.findtext(f"{{{MUC_USER}}}reason") or "")[: room.settings.reason_limit_characters]

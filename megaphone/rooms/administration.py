"""Roles and affiliations, changed and listed: kick, ban, voice, members, admins, owners (XEP-0045 sections 8, 9).

A request with several items is checked as a whole before anything of it is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from megaphone.errors import RoomError
from megaphone.rooms import presence
from megaphone.rooms.leaving import remove
from megaphone.rooms.names import MUC_ADMIN, Status, element
from megaphone.rooms.ports import Affiliated, Affiliation, Role, Whois
from megaphone.rooms.privileges import AFFILIATION_LISTS, RANK, ROLE_RANK, check_affiliation_change, check_role_change
from megaphone.stream.jid import JID
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.occupants import Occupant
    from megaphone.rooms.room import Room

_ITEM = f"{{{MUC_ADMIN}}}item"


class RoleChange(NamedTuple):
    """One occupant's new role."""

    occupant: Occupant
    role: Role
    reason: str


def receive_get(room: Room, stanza: Addressed, now: float) -> None:
    """Answer with a list of those who have an affiliation, or a role."""
    items = _items(room, stanza)
    if len(items) != 1:
        raise RoomError("bad-request", "one list at a time")
    affiliation, role = _affiliation(items[0]), _role(items[0])
    if (affiliation is None) == (role is None):
        raise RoomError("bad-request", "either an affiliation or a role")
    content = list_affiliated(room, stanza, affiliation) if affiliation is not None else b""
    if role is not None:
        content = list_occupants(room, stanza, role)
    room.answer(stanza, element(b"query", MUC_ADMIN, content))


def list_affiliated(room: Room, stanza: Addressed, affiliation: Affiliation) -> bytes:
    """Return the items of everybody with an affiliation; RoomError for who may not read them."""
    own = room.affiliation(stanza)
    # members may know each other where they see each other's JIDs
    among_members = room.config.members_only and room.config.whois is Whois.ANYONE and own is Affiliation.MEMBER
    if affiliation not in AFFILIATION_LISTS[own] and not (among_members and affiliation is Affiliation.MEMBER):
        raise RoomError("forbidden", "this list is for admins and owners")
    return b"".join(
        element(
            b"item",
            content=element(b"reason", content=escape(entry.reason)) if entry.reason else b"",
            affiliation=entry.affiliation,
            jid=str(entry.jid),
        )
        for entry in room.affiliations
        if entry.affiliation is affiliation
    )


def list_occupants(room: Room, stanza: Addressed, role: Role) -> bytes:
    """Return the items of all occupants with a role: moderators read who has voice, admins who moderates."""
    sender = room.occupants.by_session.get(stanza.from_)
    privileged = room.affiliation(stanza) in (Affiliation.OWNER, Affiliation.ADMIN)
    moderator = sender is not None and sender.role is Role.MODERATOR
    if not (privileged or (moderator and role is not Role.MODERATOR)):
        raise RoomError("forbidden", "this list is for moderators, that of moderators for admins")
    return b"".join(
        element(
            b"item",
            affiliation=room.affiliations.of(each.bare),
            jid=str(each.session),
            nick=each.nick,
            role=role,
        )
        for each in room.occupants
        if each.role is role
    )


def receive_set(room: Room, stanza: Addressed, now: float) -> None:
    """Change roles and affiliations."""
    roles: list[RoleChange] = []
    affiliations: list[Affiliated] = []
    for item in _items(room, stanza):
        affiliation, role = _affiliation(item), _role(item)
        reason = (item.findtext(f"{{{MUC_ADMIN}}}reason") or "")[: room.settings.reason_limit_characters]
        if (affiliation is None) == (role is None):
            raise RoomError("bad-request", "an item changes either an affiliation or a role")
        if affiliation is not None:
            affiliations.append(Affiliated(_jid(room, item), affiliation, reason))
        if role is not None:
            roles.append(RoleChange(_occupant(room, item), role, reason))
    _check_roles(room, stanza, roles)
    _check_affiliations(room, stanza, affiliations)
    sender = room.occupants.by_session.get(stanza.from_)
    actor = "" if sender is None else sender.nick
    for change in roles:
        if room.occupants.by_nick.get(change.occupant.nick) is change.occupant:  # not yet kicked by an item before
            set_role(room, change, actor)
    for affiliated in affiliations:
        set_affiliation(room, affiliated, actor)
    room.answer(stanza)
    room.close_if_empty()


def _check_roles(room: Room, stanza: Addressed, changes: list[RoleChange]) -> None:
    if not changes:
        return
    sender = room.occupants.by_session.get(stanza.from_)
    if sender is None:
        raise RoomError("forbidden", "only occupants change roles")
    actor = (sender.role, room.affiliations.of(sender.bare))
    for change in changes:
        target = (change.occupant.role, room.affiliations.of(change.occupant.bare))
        check_role_change(actor, target, change.role)


def _check_affiliations(room: Room, stanza: Addressed, changes: list[Affiliated]) -> None:
    own = room.affiliation(stanza)
    owners, count = room.affiliations.owners, len(room.affiliations)
    seen: set[JID] = set()
    for change in changes:
        if change.jid in seen:
            raise RoomError("bad-request", f"{change.jid} is named twice")
        seen.add(change.jid)
        target = room.affiliations.entered(change.jid)
        check_affiliation_change(own, target, change.affiliation)
        owners += (change.affiliation is Affiliation.OWNER) - (target is Affiliation.OWNER)
        count += (change.affiliation is not Affiliation.NONE) - (target is not Affiliation.NONE)
        if not change.jid.local and change.affiliation not in (Affiliation.OUTCAST, Affiliation.NONE):
            raise RoomError("not-acceptable", "a domain can be banned, and nothing else")
    if changes and owners < 1:
        raise RoomError("conflict", "a room has at least one owner")  # section 10.6
    if count > max(room.settings.affiliations_limit, len(room.affiliations)):
        raise RoomError("resource-constraint", f"a room has at most {room.settings.affiliations_limit} affiliations")


def set_role(room: Room, change: RoleChange, actor: str) -> None:
    """Give an occupant another role, and tell everybody; NONE is a kick (sections 8.2 to 8.4, 9.6, 9.7)."""
    occupant, role = change.occupant, change.role
    if role is Role.NONE:
        why = presence.Why((Status.KICKED,), actor, change.reason)
        room.act(occupant, role, why)
        remove(room, [occupant], why)
    elif role is not occupant.role:
        why = presence.Why((), actor, change.reason)
        if room.owns(occupant):
            change_role(room, occupant, role, why)
        else:
            room.act(occupant, role, why)


def set_affiliation(room: Room, affiliated: Affiliated, actor: str) -> None:
    """Give a user another affiliation; what it means for those of its occupants who are here, it means at once."""
    before = room.affiliations.of(affiliated.jid)
    room.put_affiliation(affiliated)
    show_affiliation(room, affiliated, before, actor)


def show_affiliation(room: Room, affiliated: Affiliated, before: Affiliation, actor: str = "") -> None:
    """Do what an affiliation that has been entered means for those who are here.

    At other nodes their own do the same, when they hear of it; who must go is sent away from here, with the reason.
    """
    occupants = room.occupants.of(affiliated.jid)
    if not occupants:
        room.say_affiliation(affiliated)
        return
    staying: list[Occupant] = []
    leaving: list[Occupant] = []
    for occupant in occupants:
        affiliation = room.affiliations.of(occupant.bare)
        (staying if room.role_for(affiliation) is not Role.NONE else leaving).append(occupant)
    if leaving:
        banned = affiliated.affiliation is Affiliation.OUTCAST
        status = Status.BANNED if banned else Status.AFFILIATION_CHANGED
        why = presence.Why((status,), actor, affiliated.reason)
        for occupant in leaving:
            room.act(occupant, Role.NONE, why)
        remove(room, leaving, why)
    for occupant in staying:
        role = room.role_for(room.affiliations.of(occupant.bare))
        raised = RANK[affiliated.affiliation] >= RANK[before]
        if raised and ROLE_RANK[role] < ROLE_RANK[occupant.role]:
            role = occupant.role  # who moderates goes on doing so as a member
        if not room.owns(occupant):
            role = occupant.role  # its own node says which it is from now on
        change_role(room, occupant, role, presence.Why((), actor, affiliated.reason))


def change_role(room: Room, occupant: Occupant, role: Role, why: presence.Why) -> None:
    """Give an occupant another role, and show it, also if it is the same."""
    was, occupant.role = occupant.role, role
    occupant.renew()
    moderator = role is Role.MODERATOR
    if moderator is not (was is Role.MODERATOR):
        for session in room.occupants.local(occupant):
            room.outlet.occupant_changed(room.jid, session, moderator=moderator)
    if role is not was:
        room.occupants.touch(occupant, (presence.EMPTY, why))
    presence.show(room, occupant, was=was, why=why)
    if presence.reveals(room, role) and not presence.reveals(room, was):
        presence.show_all_to(room, occupant)


# --- reading a request ---


def _items(room: Room, stanza: Addressed) -> list[Element]:
    items = stanza.tree[0].findall(_ITEM)
    if not items:
        raise RoomError("bad-request", "no item")
    if len(items) > room.settings.items_limit:
        raise RoomError("policy-violation", f"at most {room.settings.items_limit} items in one request")
    return items


def _affiliation(item: Element) -> Affiliation | None:
    text = item.get("affiliation")
    try:
        return None if text is None else Affiliation(text)
    except ValueError:
        raise RoomError("bad-request", "no such affiliation") from None


def _role(item: Element) -> Role | None:
    text = item.get("role")
    try:
        return None if text is None else Role(text)
    except ValueError:
        raise RoomError("bad-request", "no such role") from None


def _jid(room: Room, item: Element) -> JID:
    address = item.get("jid")
    if address is None:
        return _occupant(room, item).bare
    try:
        return JID.parse(address).bare
    except ValueError:
        raise RoomError("jid-malformed", "the JID of an item is none") from None


def _occupant(room: Room, item: Element) -> Occupant:
    occupant = room.occupants.by_nick.get(item.get("nick", ""))
    if occupant is None:
        raise RoomError("item-not-found", "nobody has this nick")
    return occupant

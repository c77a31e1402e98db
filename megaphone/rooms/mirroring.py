"""Makes a room what the nodes' claims of it say: others' occupants enter, change and leave, and clashes of nicks end.

    two users, one nick (a cut, a race) ─► the one who came first keeps it; of equal ones the lower node, the lower JID
                                        └► the other's own node renames it: "nick (node)", for all to see (303, 210)

Until then whoever was here first is shown here; the other waits (`Mirror.clashing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.rooms import presence
from megaphone.rooms.administration import change_role
from megaphone.rooms.asking import answer_for
from megaphone.rooms.entering import occupant_mark
from megaphone.rooms.names import Status
from megaphone.rooms.occupants import Occupant
from megaphone.rooms.ports import Role

if TYPE_CHECKING:
    from megaphone.rooms.events import Claim, Origin
    from megaphone.rooms.mirror import Mirror
    from megaphone.rooms.room import Room
    from megaphone.stream.jid import JID


def settle(
    room: Room,
    mirror: Mirror,
    session: JID,
    content: bytes = presence.EMPTY,
    why: presence.Why = presence.PLAINLY,
) -> None:
    """Make of one session what the claims say; `content` and `why` are of what has changed."""
    occupants = room.occupants
    found = mirror.holder(session)
    if found is None:
        if session in occupants.remote:
            _leave(room, mirror, session, content, why)
        return
    origin, claim = found
    if origin == mirror.origin:
        return
    if session in occupants.by_session and session not in occupants.remote:
        let_go(room, session)
        occupants.remote[session] = origin
    _show(room, mirror, session, origin, claim, why)


def let_go(room: Room, session: JID) -> None:
    """A session of ours is connected to another node now; nobody sees a difference."""
    nodes = room.surroundings.nodes
    if nodes is None or not nodes.moved.has_left(room, session):
        room.outlet.occupant_removed(room.jid, session)
    answer_for(room, room.occupants.by_session[session], session)
    if room.occupants.touched is not None:
        room.occupants.touched[session] = None


def _show(room: Room, mirror: Mirror, session: JID, origin: Origin, claim: Claim, why: presence.Why) -> None:
    occupants = room.occupants
    occupant = occupants.by_session.get(session)
    target = occupants.by_nick.get(claim.nick)
    if target is not None and target.bare != session.bare:
        if occupant is not None:
            _leave(room, mirror, session, presence.EMPTY, presence.Why((Status.NEW_NICK,), new_nick=claim.nick))
        mirror.clashing.setdefault(claim.nick, {})[session] = None
    elif occupant is None:
        _enter(room, mirror, session, claim, target)
        occupants.remote[session] = origin
    elif occupant is target:
        occupants.remote[session] = origin
        _update(room, mirror, session, claim, why)
    else:
        occupants.remote[session] = origin
        _rename(room, mirror, session, claim, target)


def _enter(room: Room, mirror: Mirror, session: JID, claim: Claim, target: Occupant | None) -> None:
    room.occupants.remote[session] = mirror.origin  # somebody's: it is no session of ours
    if target is None:
        mark = occupant_mark(room, session.bare)
        target = Occupant(claim.nick, room.jid.at(claim.nick), session.bare, Role(claim.role), mark)
        room.occupants.enter(target, session, claim.presence)
        presence.show(room, target, was=Role.NONE)
        room.announce()
    else:
        _join(room, mirror, target, session, claim)


def _join(room: Room, mirror: Mirror, target: Occupant, session: JID, claim: Claim) -> None:
    """Add a session to an occupant who is there."""
    shown = target.session, target.presence
    room.occupants.enter(target, session, claim.presence)
    mirror.order(target)
    _show_again(room, mirror, target, shown, presence.PLAINLY)


def _update(room: Room, mirror: Mirror, session: JID, claim: Claim, why: presence.Why) -> None:
    occupant = room.occupants.by_session[session]
    shown = occupant.session, occupant.presence
    room.occupants.enter(occupant, session, claim.presence)
    mirror.order(occupant)
    _show_again(room, mirror, occupant, shown, why)


def _show_again(room: Room, mirror: Mirror, occupant: Occupant, shown: tuple[JID, bytes], why: presence.Why) -> None:
    """Show an occupant whose role or presence may be another now."""
    role = mirror.role(occupant)
    if role is not occupant.role:
        change_role(room, occupant, role, why)
    elif shown != (occupant.session, occupant.presence):
        presence.show(room, occupant, was=occupant.role, why=why)


def _rename(room: Room, mirror: Mirror, session: JID, claim: Claim, target: Occupant | None) -> None:
    occupants = room.occupants
    occupant = occupants.by_session[session]
    origin = occupants.remote[session]
    alone = len(occupant.sessions) == 1
    if target is None and alone:
        presence.show_gone(room, occupant, why=presence.Why((Status.NEW_NICK,), new_nick=claim.nick))
        occupants.rename(occupant, claim.nick, room.jid.at(claim.nick))
        occupants.enter(occupant, session, claim.presence)
        occupant.role = Role(claim.role)
        presence.show(room, occupant, was=Role.NONE)
        return
    was_shown = session == occupant.session
    if alone:
        presence.show_gone(room, occupant, why=presence.Why((Status.NEW_NICK,), new_nick=claim.nick))
    occupants.leave(session)
    if not alone:
        _show_without(room, mirror, occupant, was_shown=was_shown)
    occupants.remote[session] = origin
    if target is None:
        target = Occupant(claim.nick, room.jid.at(claim.nick), session.bare, Role(claim.role), occupant.mark)
        occupants.enter(target, session, claim.presence)
        presence.show(room, target, was=Role.NONE)
    else:
        _join(room, mirror, target, session, claim)


def _leave(room: Room, mirror: Mirror, session: JID, content: bytes, why: presence.Why) -> None:
    occupant = room.occupants.by_session[session]
    if len(occupant.sessions) == 1:
        presence.show_gone(room, occupant, content, why)
        room.occupants.leave(session)
        room.close_if_empty()
        return
    was_shown = session == occupant.session
    room.occupants.leave(session)
    _show_without(room, mirror, occupant, was_shown=was_shown)


def _show_without(room: Room, mirror: Mirror, occupant: Occupant, *, was_shown: bool) -> None:
    """Show an occupant of which one session has gone."""
    role = mirror.role(occupant)
    if role is not occupant.role:
        change_role(room, occupant, role, presence.PLAINLY)
    elif was_shown:
        presence.show(room, occupant, was=role)


# --- clashes ---


def resolve(room: Room, mirror: Mirror, node: str) -> bool:
    """Give those who wait for a nick what they can have, and rename ours who must yield; returns whether any did.

    `node` is the name of our node.
    """
    did = False
    for nick in list(mirror.clashing):
        waiting = [each for each in mirror.clashing[nick] if _waits(room, mirror, each, nick)]
        if not waiting:
            del mirror.clashing[nick]
            continue
        waiting.sort(key=mirror.rank)
        mirror.clashing[nick] = dict.fromkeys(waiting)
        first, holder = waiting[0], room.occupants.by_nick.get(nick)
        if holder is None or holder.bare == first.bare:
            del mirror.clashing[nick][first]
            settle(room, mirror, first)
            did = True
        elif mirror.rank(first) < min(map(mirror.rank, holder.sessions)) and room.occupants.local(holder):
            yield_nick(room, holder, _free(room, mirror, nick, node))
            did = True
    return did


def _waits(room: Room, mirror: Mirror, session: JID, nick: str) -> bool:
    found = mirror.holder(session)
    if found is None or found[0] == mirror.origin or found[1].nick != nick:
        return False
    return session not in room.occupants.by_session


def _free(room: Room, mirror: Mirror, nick: str, node: str) -> str:
    """Return a nick that nobody has or waits for, made of this one."""
    number = 1
    while True:
        end = f" ({node})" if number == 1 else f" ({node} {number})"
        room_for = max(1, room.settings.nick_limit_bytes - len(end.encode()))
        free = nick.encode()[:room_for].decode(errors="ignore").rstrip() + end
        if free not in room.occupants.by_nick and free not in mirror.clashing:
            return free
        number += 1


def yield_nick(room: Room, occupant: Occupant, nick: str) -> None:
    """Give the sessions of an occupant that are connected here another nick, and tell them that we have done it."""
    sessions = room.occupants.local(occupant)
    why = presence.Why((Status.NEW_NICK,), new_nick=nick)
    if len(sessions) == len(occupant.sessions):
        presence.show_gone(room, occupant, why=why)
        room.occupants.rename(occupant, nick, room.jid.at(nick))
        renamed = occupant
    else:
        renamed = Occupant(nick, room.jid.at(nick), occupant.bare, occupant.role, occupant.mark)
        for session in sessions:
            presence.tell_gone(room, occupant, session, why=why)
            renamed.asked |= occupant.asked_of(session)
            content = occupant.sessions[session]
            room.occupants.leave(session)
            room.occupants.enter(renamed, session, content)
        presence.show(room, occupant, was=occupant.role)  # those that went see it as somebody else's
    presence.show_to_others(room, renamed, was=Role.NONE)
    presence.show_to_own(room, renamed, why=presence.Why((Status.NICK_ASSIGNED,)))

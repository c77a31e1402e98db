"""Leaving a room: by oneself, by an error that shows that nobody is there any more, by force, or with one's server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.rooms import presence
from megaphone.rooms.asking import answer_for
from megaphone.rooms.names import Status
from megaphone.wire.stanza_writer import STANZA_ERROR_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.occupants import Occupant
    from megaphone.rooms.room import Room
    from megaphone.stream.jid import JID

# RFC 6120 section 8.3.3: errors that say that the session is not there; XEP-0045 section 14.4 calls such users ghosts.
GONE = frozenset(
    {
        "gone",
        "internal-server-error",
        "item-not-found",
        "jid-malformed",
        "recipient-unavailable",
        "redirect",
        "remote-server-not-found",
        "remote-server-timeout",
        "service-unavailable",
    }
)


def receive_unavailable(room: Room, stanza: Addressed, now: float) -> None:
    """Let an occupant leave (XEP-0045 section 7.14); of others nothing is known, and nothing said."""
    occupant = room.occupants.by_session.get(stanza.from_)
    if occupant is None or stanza.from_ in room.occupants.remote:
        return
    too_large = len(stanza.data) > room.settings.presence_limit_bytes  # who leaves, leaves: only its words are dropped
    content = presence.EMPTY if too_large else presence.payload(stanza, len(stanza.data))
    leave(room, occupant, stanza.from_, content)


def receive_error(room: Room, stanza: Addressed, now: float) -> None:
    """Take an error that a message or presence of the room has met: it may show that an occupant is a ghost."""
    occupant = room.occupants.by_session.get(stanza.from_)
    if occupant is not None and stanza.from_ not in room.occupants.remote and shows_ghost(stanza):
        leave(room, occupant, stanza.from_, why=presence.Why((Status.ERROR,)))


def shows_ghost(stanza: Addressed) -> bool:
    """Whether an error says that its sender is not there; one without a condition says nothing else."""
    error = stanza.tree.find("{jabber:client}error")
    if error is None:
        return True
    conditions = [each.tag.partition("}")[2] for each in error if each.tag[1:].startswith(STANZA_ERROR_NAMESPACE + "}")]
    conditions = [condition for condition in conditions if condition != "text"]
    return not conditions or conditions[0] in GONE


def leave(
    room: Room,
    occupant: Occupant,
    session: JID,
    content: bytes = presence.EMPTY,
    why: presence.Why = presence.PLAINLY,
    *,
    is_reached: bool = True,
) -> None:
    """Remove one session; with its last one the occupant is gone. `is_reached`: it is in the room's audience yet."""
    if is_reached:
        room.outlet.occupant_removed(room.jid, session)
    answer_for(room, occupant, session)
    if len(occupant.sessions) == 1:
        presence.show_gone(room, occupant, content, why)
        room.occupants.leave(session, (content, why))
        room.close_if_empty()
        return
    was_shown = session == occupant.session
    presence.tell_gone(room, occupant, session, content, why)
    room.occupants.leave(session, (content, why))
    if was_shown:
        presence.show(room, occupant, was=occupant.role)


def remove(room: Room, occupants: Iterable[Occupant], why: presence.Why) -> None:
    """Remove occupants with all their sessions here; the room stays, even if it is empty: see `close_if_empty`.

    All are taken from the room's audience first: nobody gets a presence of somebody who goes along. Sessions that are
    connected to other nodes stay: those nodes remove them.
    """
    leaving = [(occupant, sessions) for occupant in occupants if (sessions := room.occupants.local(occupant))]
    for occupant, sessions in leaving:
        for session in sessions:
            room.outlet.occupant_removed(room.jid, session)
            answer_for(room, occupant, session)
    for occupant, sessions in leaving:
        goes = len(sessions) == len(occupant.sessions)
        was_shown = occupant.session in sessions
        if goes:
            presence.show_gone(room, occupant, why=why)
        for session in sessions:
            if not goes:
                presence.tell_gone(room, occupant, session, why=why)
            room.occupants.leave(session, (presence.EMPTY, why))
        if was_shown and not goes:
            presence.show(room, occupant, was=occupant.role)


def shut_down(room: Room) -> None:
    """Tell everybody in the room that the service goes down (XEP-0045 section 15.6.2, status 332)."""
    why = presence.Why((Status.SHUT_DOWN,))
    for session, occupant in tuple(room.occupants.by_session.items()):
        if session not in room.occupants.remote:
            room.outlet.occupant_removed(room.jid, session)
            presence.tell_gone(room, occupant, session, why=why)
            room.occupants.leave(session, (presence.EMPTY, why))


def lose(room: Room, is_lost: Callable[[JID], bool]) -> None:
    """Remove the users whose home has died (XEP-0045 section 7.14, status 333)."""
    lost = [each for bare, all_of_it in room.occupants.by_bare.items() if is_lost(bare) for each in all_of_it]
    lost = [each for each in lost if room.occupants.local(each)]
    if lost:
        remove(room, lost, presence.Why((Status.ERROR,)))
        room.close_if_empty()

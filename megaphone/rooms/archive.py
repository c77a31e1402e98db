"""The archive of a room (XEP-0313): who may read it, pages of it, and what a reader may know of who has spoken.

Most questions are about the last messages, by clients that were away for a while: those are answered from memory.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from megaphone.errors import ArchiveError, RoomError
from megaphone.rooms.names import MUC_USER, element
from megaphone.rooms.ports import Affiliation, Role, Whois
from megaphone.stream import mam
from megaphone.stream.archive import page_of
from megaphone.stream.jid import JID
from megaphone.wire.stamp import add_child
from megaphone.wire.stanza_writer import message

if TYPE_CHECKING:
    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.room import Room
    from megaphone.stream.archive import Archived, Page, Wanted

_PRIVILEGED = frozenset({Affiliation.OWNER, Affiliation.ADMIN})


def receive_query(room: Room, stanza: Addressed, now: float) -> None:
    """Answer with a page: its entries, each in a message of its own, then the result."""
    affiliation = _check_reader(room, stanza)
    assert stanza.payload is not None  # noqa: S101 - it is what was looked up
    knows = _knows_jids(room, stanza, affiliation)
    try:
        query = mam.read_query(stanza.payload, room.settings.page_limit)
        wanted = query.wanted if query.with_ is None else _by(room, query.wanted, query.with_, knows=knows)
        page = _page(room, wanted)
    except ArchiveError as error:
        raise RoomError(error.condition, error.text) from None
    results = [
        message(from_=room.address, content=mam.result(each, _shown(room, each, knows=knows), query))
        for each in mam.in_sending_order(page, query)
    ]
    room.outlet.route_many(results, stanza.from_)
    room.answer(stanza, mam.fin(page))
    room.surroundings.counts.count_page(page)


def receive_form(room: Room, stanza: Addressed, now: float) -> None:
    """Answer with what a query may have in it."""
    _check_reader(room, stanza)
    room.answer(stanza, mam.FORM)


def receive_metadata(room: Room, stanza: Addressed, now: float) -> None:
    """Answer with the first and the last entry (section 5)."""
    _check_reader(room, stanza)
    if room.persistent:
        room.answer(stanza, mam.metadata(room.surroundings.archive.ends(room.jid)))
        return
    entries = room.tail.all()
    room.answer(stanza, mam.metadata((entries[0], entries[-1]) if entries else None))


def _check_reader(room: Room, stanza: Addressed) -> Affiliation:
    """Return the affiliation of who may read: whoever may enter now (section 6.1.2); RoomError for others."""
    affiliation = room.affiliation(stanza)
    if affiliation is Affiliation.OUTCAST:
        raise RoomError("forbidden", "you are banned from this room")
    if room.config.members_only and affiliation is Affiliation.NONE:
        raise RoomError("forbidden", "only members may read what was said in this room")
    inside = stanza.from_ in room.occupants.by_session
    if room.config.password and not inside and affiliation not in _PRIVILEGED:
        raise RoomError("forbidden", "this room has a password: enter it first")
    return affiliation


def _knows_jids(room: Room, stanza: Addressed, affiliation: Affiliation) -> bool:
    """Whether somebody may know the real JIDs of who has spoken."""
    occupant = room.occupants.by_session.get(stanza.from_)
    moderates = occupant is not None and occupant.role is Role.MODERATOR
    return room.config.whois is Whois.ANYONE or moderates or affiliation in _PRIVILEGED


def _by(room: Room, wanted: Wanted, who: JID, *, knows: bool) -> Wanted:
    """Return the query with a condition on who has spoken: a nick, or a real JID for those who may know it."""
    if who.bare == room.jid:
        if not who.resource:
            raise RoomError("bad-request", "say which nick")
        return replace(wanted, resource=who.resource)
    if not knows:
        raise RoomError("forbidden", "you may not know who has spoken here, but by nick")
    return replace(wanted, peer=str(who.bare))


def _page(room: Room, wanted: Wanted) -> Page:
    page = page_of(room.tail.all(), wanted, whole=not room.persistent)
    return room.surroundings.archive.page(room.jid, wanted) if page is None else page


def _shown(room: Room, entry: Archived, *, knows: bool) -> bytes:
    """Return what a reader gets of an entry; those who may know it learn the real JID (section 6.1.2)."""
    stanza = room.marked(entry)
    if not knows or not entry.said.author or not entry.said.resource:
        return stanza
    author = JID.parse(entry.said.author)
    item = element(b"item", affiliation=room.affiliations.of(author), jid=entry.said.author)
    return add_child(stanza, element(b"x", MUC_USER, item))

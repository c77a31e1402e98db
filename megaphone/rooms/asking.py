"""Requests between occupants: an iq to room/nick goes to that occupant, and its answer back, under room JIDs only.

    juliet ─ iq get 'a1' to room/nurse ─► room ─ iq get 'r7' from room/juliet ─► nurse's session
    juliet ◄─ result 'a1' from room/nurse ─ room ◄─ result 'r7' to room/juliet ─ nurse's session

The room of the node to which nurse is connected does this: that of juliet's node forwards the request to it.
Every request under way is noted with the occupant who is to answer, a bounded number; a new one ends the oldest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.errors import RoomError
from megaphone.rooms.names import PING
from megaphone.rooms.occupants import Asked
from megaphone.wire.stanza_writer import iq_error

if TYPE_CHECKING:
    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.occupants import Occupant
    from megaphone.rooms.room import Room
    from megaphone.stream.jid import JID

# What an account answers, not a client: XEP-0054, XEP-0292, XEP-0060.
OF_THE_ACCOUNT = frozenset({"vcard-temp", "urn:ietf:params:xml:ns:vcard-4.0", "http://jabber.org/protocol/pubsub"})


def receive_request(room: Room, stanza: Addressed, now: float) -> None:
    """Pass a request on to the occupant it is for (XEP-0045 section 17.4); answer a self-ping."""
    sender = room.sender(stanza)
    occupant = room.occupants.by_nick.get(stanza.to.resource)
    if occupant is None:
        raise RoomError("item-not-found", "nobody has this nick")
    payload = stanza.payload
    if payload is None or stanza.id is None or stanza.type not in ("get", "set"):
        raise RoomError("bad-request", "a request has a type, an id and one child")
    namespace = payload.tag.rpartition("}")[0][1:]
    if occupant is sender and stanza.type == "get" and payload.tag == f"{{{PING}}}ping":
        room.answer(stanza)  # XEP-0410 section 3.3: who asks is here, and that is all it asks
        return
    session = occupant.session
    if session in room.occupants.remote:
        here = room.occupants.local(occupant)
        if not here:
            room.forward(stanza, session)
            return
        session = here[-1]
    if len(occupant.asked) >= room.settings.asked_limit:
        oldest = next(iter(occupant.asked))
        _give_up(room, occupant, occupant.asked.pop(oldest), "remote-server-timeout")
    room.requests += 1
    id_ = f"r{room.requests}"
    occupant.asked[id_] = Asked(session, stanza.from_, stanza.id)
    to = session.bare if namespace in OF_THE_ACCOUNT else session
    room.outlet.route(stanza.stamped(to=to, from_=sender.jid, id_=id_), to)


def receive_answer(room: Room, stanza: Addressed, now: float) -> None:
    """Pass an answer on to who asked; one that nobody waits for is dropped."""
    answering = stanza.from_
    for occupant in room.occupants.of(answering.bare):
        asked = occupant.asked.get(stanza.id or "")
        if asked is not None and answering in (asked.by, asked.by.bare):
            del occupant.asked[stanza.id or ""]
            if asked.session in room.occupants.by_session:
                answer = stanza.stamped(to=asked.session, from_=occupant.jid, id_=asked.id)
                room.outlet.route(answer, asked.session)
            return


def answer_for(room: Room, occupant: Occupant, session: JID) -> None:
    """Answer the requests that a session has left open."""
    for asked in occupant.asked_of(session).values():
        _give_up(room, occupant, asked, "recipient-unavailable")


def _give_up(room: Room, occupant: Occupant, asked: Asked, condition: str) -> None:
    if asked.session in room.occupants.by_session:
        error = iq_error(condition, id_=asked.id, to=str(asked.session), from_=str(occupant.jid))
        room.outlet.route(error, asked.session)

"""What moves when the home of rooms becomes another process: snapshots of rooms, and rooms made of them again.

    predecessor   Moving ─► everything() ─► …goes on… ─► changes() ─► nothing more happens here
    successor                  take                        take    ─► answers from here on

A room in which people have only talked since is followed with little (`Talk`), however many are in it. The messages of
a persistent room are in its log, and are read again when they are needed. Nobody hears anything of all this.

Snapshots are arrays (MessagePack). A later version adds fields at the end, with a default; readers pass over what they
do not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from megaphone.history.entry import Kind
from megaphone.rooms.entering import occupant_mark
from megaphone.rooms.events import Claim, Origin
from megaphone.rooms.mirror import Mirror, Peer
from megaphone.rooms.occupants import Asked, Occupant
from megaphone.rooms.ports import Affiliated, Affiliation, Role, RoomConfig, RoomRecord, Subject
from megaphone.rooms.room import Room
from megaphone.stream.archive import Archived, Said
from megaphone.stream.jid import JID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from megaphone.rooms.rooms import Rooms

_ENTRIES = 512  # of the room list in one change

Message = tuple[int, float, str, bytes]  # of an entry of a temporary room's archive: id, time, nick, stanza
About = tuple[int, str, str, bool]  # and kind, author, the author's client's id, whether it is erased


class OccupantSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """One occupant. `sessions` are full JIDs with their presence, `asked` requests: id, by, session, its id."""

    nick: str
    bare: JID
    role: str
    sessions: tuple[tuple[JID, bytes], ...]
    asked: tuple[tuple[str, JID, JID, str], ...]


class Talk(msgspec.Struct, array_like=True, frozen=True, tag="talk"):
    """What changes in a room by talk alone; `said` are the messages behind those that came before.

    `subject` is the message that set it and its time. `listed` is what the room list was told last. `about` and `ids`
    have as many items as `said`, unless the predecessor knows of none.
    """

    room: JID
    id: int
    subject: tuple[bytes, float] | None
    listed: tuple[str, int] | None
    credit: float
    credit_time: float
    said: tuple[Message, ...]
    about: tuple[About, ...] = ()
    ids: tuple[str, ...] = ()


class Claims(msgspec.Struct, array_like=True, frozen=True):
    """What the nodes of a cluster claim of a room: what we have told, and each peer's: origin, seq, lost, claims."""

    seq: int
    own: tuple[Claim, ...]
    peers: tuple[tuple[Origin, int, bool, tuple[Claim, ...]], ...]


class RoomSnapshot(msgspec.Struct, array_like=True, frozen=True, tag="room"):
    """One room. `sessions` and `users` are there only if their order is not that of `occupants`."""

    talk: Talk
    config: dict[str, Any]
    creator: JID
    created: float
    secret: bytes
    locked: bool
    requests: int
    affiliations: tuple[tuple[JID, str, str], ...]
    occupants: tuple[OccupantSnapshot, ...]
    sessions: tuple[JID, ...]
    users: tuple[tuple[JID, tuple[str, ...]], ...]
    claims: Claims | None = None


class RoomGone(msgspec.Struct, array_like=True, frozen=True, tag="room_gone"):
    """A room that came before is no more."""

    room: JID


class Listing(msgspec.Struct, array_like=True, frozen=True, tag="listing"):
    """Entries of the room list: room, name, about how many occupants; without a name it is listed no longer."""

    entries: tuple[tuple[JID, str | None, int], ...]


Change = RoomSnapshot | Talk | RoomGone | Listing


class Moving:
    """The rooms of a predecessor on their way; `end` it, whatever comes of it."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._known: dict[JID, str] = {}  # id of the last message that the successor knows, "" if there is none
        rooms.touched = {}
        rooms.directory.touched = set()

    def everything(self) -> Iterator[Change]:
        """Yield all there is, while it goes on changing."""
        for jid in [room.jid for room in self._rooms]:
            room = self._rooms.room(jid)
            if room is not None:
                yield self._snapshot(room)
        entries = list(self._rooms.directory.rooms())
        for start in range(0, len(entries), _ENTRIES):
            yield Listing(tuple(entries[start : start + _ENTRIES]))

    def changes(self) -> Iterator[Change]:
        """Yield what has changed since it was yielded."""
        touched, self._rooms.touched = self._rooms.touched or {}, {}
        for jid, more_than_talk in touched.items():
            room = self._rooms.room(jid)
            if room is None:
                yield RoomGone(jid)
            elif more_than_talk or jid not in self._known:
                yield self._snapshot(room)
            else:
                yield talk(room, self._known[jid])
                self._known[jid] = _last(room)
        directory = self._rooms.directory
        listings, directory.touched = sorted(directory.touched or ()), set()
        for start in range(0, len(listings), _ENTRIES):
            part = listings[start : start + _ENTRIES]
            yield Listing(tuple((jid, *(directory.entry(jid) or (None, 0))) for jid in part))

    def end(self) -> None:
        """Note no more what changes."""
        self._rooms.touched = self._rooms.directory.touched = None

    def _snapshot(self, room: Room) -> RoomSnapshot:
        taken = snapshot(room)
        self._known[room.jid] = _last(room)
        return taken


def take(rooms: Rooms, change: Change) -> None:
    """Be, at the successor, what the predecessor said."""
    if isinstance(change, RoomSnapshot):
        restore(rooms, change)
    elif isinstance(change, Talk):
        room = rooms.room(change.room)
        if room is not None:
            follow(room, change)
    elif isinstance(change, RoomGone):
        room = rooms.room(change.room)
        if room is not None:
            rooms.remove(room)
    else:
        for jid, name, occupants in change.entries:
            if name is None:
                rooms.directory.remove(jid)
            else:
                rooms.directory.put(jid, name, occupants)


def snapshot(room: Room) -> RoomSnapshot:
    """Return all there is to know of a room."""
    occupants = room.occupants
    sessions = tuple(occupants.by_session)
    users = tuple((bare, tuple(each.nick for each in own)) for bare, own in occupants.by_bare.items())
    found: dict[JID, list[str]] = {}
    for each in occupants:
        found.setdefault(each.bare, []).append(each.nick)
    return RoomSnapshot(
        talk(room, ""),
        room.config.values(),
        room.creator,
        room.created,
        room.secret,
        room.locked,
        room.requests,
        tuple((each.jid, str(each.affiliation), each.reason) for each in room.affiliations),
        tuple(map(_occupant, occupants)),
        () if sessions == tuple(jid for each in occupants for jid in each.sessions) else sessions,
        () if users == tuple((bare, tuple(nicks)) for bare, nicks in found.items()) else users,
        None if room.mirror is None else _claims(room.mirror),
    )


def _last(room: Room) -> str:
    """Return the id of the last message of a temporary room."""
    entries = () if room.persistent else room.tail.all()
    return entries[-1].id if entries else ""


def talk(room: Room, known: str) -> Talk:
    """Return what talk has changed; messages up to the id `known` are known, none if it is not among the last ones."""
    subject = room.subject
    new = () if room.persistent else room.tail.all()
    places = [place for place, each in enumerate(new) if each.id == known]
    new = new[places[0] + 1 :] if places else new
    return Talk(
        room.jid,
        room.id,
        None if subject is None else (subject.message, subject.time),
        room.told,
        room.credit,
        room.credit_time,
        tuple((_number(each), each.said.time, each.said.resource, each.said.stanza) for each in new),
        tuple((each.said.kind, each.said.author, each.said.message, each.erased) for each in new),
        tuple(each.id for each in new),
    )


def _number(entry: Archived) -> int:
    """Return an id as a predecessor of an earlier version would: that of a room that was persistent is no number."""
    return int(entry.id) if entry.id.isdecimal() else int(entry.said.time * 1_000_000)


def restore(rooms: Rooms, moved: RoomSnapshot) -> Room:
    """Put a room in place, or in the place of what it was before; its outlet hears nothing."""
    jid = moved.talk.room
    subject = moved.talk.subject
    record = RoomRecord(
        room=jid,
        config=RoomConfig.of({key: _hashable(value) for key, value in moved.config.items()}),
        creator=moved.creator,
        created=moved.created,
        secret=moved.secret,
        subject=None if subject is None else Subject(*subject),
    )
    affiliations = [Affiliated(who, Affiliation(what), reason) for who, what, reason in moved.affiliations]
    room = Room(record, rooms.surroundings, affiliations, locked=moved.locked)
    room.requests = moved.requests
    former = rooms.room(jid)
    marks = (
        {} if former is None or former.secret != room.secret else {each.bare: each.mark for each in former.occupants}
    )
    _restore_occupants(room, moved, marks)
    if room.mirror is not None and moved.claims is not None:
        _restore_claims(room, room.mirror, moved.claims)
    follow(room, moved.talk)
    if former is not None:
        rooms.remove(former)
    rooms.add(room)
    return room


def follow(room: Room, moved: Talk) -> None:
    """Change a room by what talk has changed since it was restored."""
    room.subject = None if moved.subject is None else Subject(*moved.subject)
    room.told = moved.listed
    room.credit = moved.credit
    room.credit_time = moved.credit_time
    if not room.persistent:
        about = moved.about or ((int(Kind.MESSAGE), "", "", False),) * len(moved.said)
        ids = moved.ids or tuple(str(number) for number, *_ in moved.said)
        here = {each.id for each in room.tail.all()}
        for id_, (_, time, nick, stanza), (kind, author, message, erased) in zip(ids, moved.said, about, strict=True):
            if id_ not in here:
                room.tail.append(Archived(id_, Said(time, kind, author, author, nick, stanza, message), erased))
    room.id = moved.id


def _restore_occupants(room: Room, moved: RoomSnapshot, marks: dict[JID, bytes]) -> None:
    occupants = room.occupants
    for each in moved.occupants:
        mark = marks.get(each.bare)
        if mark is None:
            mark = marks[each.bare] = occupant_mark(room, each.bare)
        occupant = Occupant(each.nick, room.jid.at(each.nick), each.bare, Role(each.role), mark)
        occupant.sessions = dict(each.sessions)
        occupant.asked = {id_: Asked(by, session, their_id) for id_, by, session, their_id in each.asked}
        occupants.by_nick[each.nick] = occupant
        occupants.by_bare.setdefault(each.bare, []).append(occupant)
        for session in occupant.sessions:
            occupants.by_session[session] = occupant
    if moved.sessions:
        occupants.by_session = {jid: occupants.by_session[jid] for jid in moved.sessions}
    if moved.users:
        occupants.by_bare = {bare: [occupants.by_nick[nick] for nick in nicks] for bare, nicks in moved.users}


def _claims(mirror: Mirror) -> Claims:
    peers = tuple((origin, each.seq, each.lost, tuple(each.claims.values())) for origin, each in mirror.peers.items())
    return Claims(mirror.seq, tuple(mirror.own.values()), peers)


def _restore_claims(room: Room, mirror: Mirror, moved: Claims) -> None:
    mirror.seq = moved.seq
    mirror.own = {claim.session: claim for claim in moved.own}
    for origin, seq, lost, claims in moved.peers:
        peer = mirror.peers[origin] = Peer()
        peer.seq, peer.lost = seq, lost
        peer.claims = {claim.session: claim for claim in claims}
        for claim in claims:
            if claim.session not in room.occupants.by_session:
                mirror.clashing.setdefault(claim.nick, {})[claim.session] = None
            elif claim.session not in mirror.own:
                room.occupants.remote[claim.session] = origin


def _occupant(occupant: Occupant) -> OccupantSnapshot:
    return OccupantSnapshot(
        occupant.nick,
        occupant.bare,
        str(occupant.role),
        tuple(occupant.sessions.items()),
        tuple((id_, asked.by, asked.session, asked.id) for id_, asked in occupant.asked.items()),
    )


def _hashable(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value

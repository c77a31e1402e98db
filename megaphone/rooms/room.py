"""One room: its state, and the few ways to speak for it. What it does with a stanza is said in `reception`'s tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.errors import RoomError
from megaphone.history.entry import Kind
from megaphone.rooms.affiliations import Affiliations
from megaphone.rooms.history import Tail
from megaphone.rooms.mirror import Mirror
from megaphone.rooms.names import MUC_USER, STANZA_ID, element, muc_user
from megaphone.rooms.occupants import Occupants
from megaphone.rooms.ports import Affiliated, Affiliation, Audience, Role, RoomRecord, Whois
from megaphone.rooms.privileges import ROLE_ON_ENTERING
from megaphone.stream.archive import Archived
from megaphone.wire.stamp import add_child, stamp
from megaphone.wire.stanza_writer import iq_result, message
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.occupants import Occupant
    from megaphone.rooms.other_nodes import OtherNodes
    from megaphone.rooms.ports import Outlet, RoomSettings, RoomStore, Subject
    from megaphone.rooms.presence import Why
    from megaphone.stream.archive import Archive, Counts, Erasure, Said
    from megaphone.stream.jid import JID

BURST_SECONDS = 10.0
LATE_PERIOD_SECONDS = 60.0


class Surroundings:
    """What all rooms of one worker share."""

    __slots__ = ("archive", "closed", "counts", "nodes", "outlet", "settings", "store")

    def __init__(
        self,
        outlet: Outlet,
        store: RoomStore,
        archive: Archive,
        counts: Counts,
        settings: RoomSettings,
        closed: Callable[[Room], None],
    ) -> None:
        self.outlet = outlet
        self.store = store
        self.archive = archive
        """What was said in persistent rooms."""
        self.counts = counts
        self.settings = settings
        self.closed = closed
        """Called with a room that has ceased to be."""
        self.nodes: OtherNodes | None = None
        """The other nodes of the cluster; None without one."""


class Room:
    """A room and what it knows. `locked` is true until its creator has configured it (XEP-0045 section 10.1)."""

    __slots__ = (
        "_tail",
        "address",
        "affiliations",
        "config",
        "created",
        "creator",
        "credit",
        "credit_time",
        "id",
        "jid",
        "late",
        "life",
        "locked",
        "made",
        "mark",
        "mirror",
        "occupants",
        "requests",
        "secret",
        "subject",
        "surroundings",
        "told",
    )

    def __init__(
        self,
        record: RoomRecord,
        surroundings: Surroundings,
        affiliations: Iterable[Affiliated],
        *,
        locked: bool = False,
    ) -> None:
        self.jid = record.room
        self.address = str(record.room)
        self.mark = element(b"stanza-id", STANZA_ID, by=self.address).removesuffix(b"/>")
        """The beginning of its stanza-ids (XEP-0359), which end with their own id."""
        self.config = record.config
        self.creator = record.creator
        self.created = record.created
        self.made = record.created
        """When this instance was, which may later be kept as one that was made at another time."""
        self.life: float | None = None
        """`RoomStore.ended` as it was when this was looked at last; None if it was not yet."""
        self.secret = record.secret
        self.subject: Subject | None = record.subject
        self.locked = locked
        self.surroundings = surroundings
        self.affiliations = Affiliations(affiliations)
        self.occupants = Occupants()
        self.mirror: Mirror | None = None
        """In a cluster, what the nodes claim of it."""
        if surroundings.nodes is not None:
            self.mirror = Mirror(surroundings.nodes.origin)
            self.occupants.touched = {}
        self.requests = 0
        """How many requests have been passed on between occupants: makes their ids."""
        self.id = 0
        """The number that is the id of the last entry of a temporary room's archive."""
        self._tail: Tail | None = None
        self.told: tuple[str, int] | None = None
        """What the room list was told last: the name, and the number of bits of how many are here."""
        self.credit = 0.0
        """Messages that may be said at once, as it was at `credit_time`, Unix seconds."""
        self.credit_time = float("-inf")
        self.late = (0, float("-inf"))
        """Old messages of other nodes that have been shown since a time, Unix seconds."""

    # --- what it is ---

    @property
    def outlet(self) -> Outlet:
        """Where its words go."""
        return self.surroundings.outlet

    @property
    def settings(self) -> RoomSettings:
        """What the operator has set."""
        return self.surroundings.settings

    @property
    def persistent(self) -> bool:
        """Whether it is in the store: a locked room is not yet; in a cluster a temporary one is, while it lasts."""
        return (self.config.persistent or self.mirror is not None) and not self.locked

    @property
    def record(self) -> RoomRecord:
        """What a store keeps of it."""
        return RoomRecord(self.jid, self.config, self.creator, self.created, self.secret, self.subject)

    @property
    def tail(self) -> Tail:
        """The last entries of its archive; those of a persistent room are read when they are first needed."""
        if self._tail is None:
            limit = self.settings.history_limit
            stored = self.surroundings.archive.tail(self.jid, limit) if self.persistent else ()
            self._tail = Tail(limit, self.settings.history_limit_bytes, stored)
            self.id = max(self.id, self._tail.last_number)
        return self._tail

    def read_archive(self) -> None:
        """Read the last entries, for as long as there is an archive to read them from."""
        _ = self.tail

    def sender(self, stanza: Addressed) -> Occupant:
        """Return the occupant who sent a stanza; RoomError if it was none (XEP-0045 section 7.4)."""
        occupant = self.occupants.by_session.get(stanza.from_)
        if occupant is None:
            raise RoomError("not-acceptable", "you are not in this room", type_="cancel")
        return occupant

    def affiliation(self, stanza: Addressed) -> Affiliation:
        """Return the affiliation of who sent a stanza."""
        return self.affiliations.of(stanza.from_)

    def role_for(self, affiliation: Affiliation) -> Role:
        """Return the role that comes with an affiliation (XEP-0045 section 5.1.2); NONE for who may not be here."""
        if affiliation is Affiliation.OUTCAST or (affiliation is Affiliation.NONE and self.config.members_only):
            return Role.NONE
        return ROLE_ON_ENTERING[affiliation][self.config.moderated]

    def owns(self, occupant: Occupant) -> bool:
        """Whether this node decides on an occupant's role: its oldest session is connected here."""
        mirror, remote = self.mirror, self.occupants.remote
        if mirror is None or not remote or remote.keys().isdisjoint(occupant.sessions):
            return True
        return mirror.oldest(occupant) not in remote

    # --- what it says ---

    def answer(self, stanza: Addressed, content: bytes = b"") -> None:
        """Answer a request with its result."""
        result = iq_result(id_=stanza.id or "", to=str(stanza.from_), from_=str(stanza.to), content=content)
        self.outlet.route(result, stanza.from_)

    def send(self, stanza: bytes, to: JID) -> None:
        """Send a stanza that has no `to` yet."""
        self.outlet.route(stamp(stanza, to=str(to)), to)

    def tell_nodes(self, stanza: bytes, audience: Audience = Audience.ALL) -> None:
        """Send a stanza without `to`, that is not archived, to the occupants who are connected to other nodes."""
        if self.surroundings.nodes is not None:
            self.surroundings.nodes.telling.tell(self, stanza, audience)

    def act(self, occupant: Occupant, role: Role, why: Why) -> None:
        """Let the nodes to which an occupant is connected give it another role; NONE removes it."""
        if self.surroundings.nodes is not None:
            self.surroundings.nodes.telling.act(self, occupant, role, why)

    def forward(self, stanza: Addressed, session: JID) -> None:
        """Give a stanza for an occupant to the room of the node to which it is connected."""
        if self.surroundings.nodes is not None:
            self.surroundings.nodes.telling.forward(self, stanza, session)

    def say_statuses(self, *statuses: int) -> None:
        """Tell all occupants of changes that have a code (XEP-0045 section 10.2.1)."""
        self.outlet.fan_out(self.jid, message(from_=self.address, type_="groupchat", content=muc_user(b"", statuses)))

    def say_affiliation(self, affiliated: Affiliated) -> None:
        """Tell of the affiliation of somebody who is not here to those who see real JIDs (XEP-0045 section 9.3)."""
        reason = element(b"reason", content=escape(affiliated.reason)) if affiliated.reason else b""
        item = element(
            b"item", content=reason, affiliation=affiliated.affiliation, role=Role.NONE, jid=str(affiliated.jid)
        )
        audience = Audience.ALL if self.config.whois is Whois.ANYONE else Audience.MODERATORS
        self.outlet.fan_out(
            self.jid, message(from_=self.address, content=element(b"x", MUC_USER, item)), audience=audience
        )

    # --- what it keeps ---

    def save(self) -> None:
        """Keep what it is, if it is persistent, and tell the room list."""
        if self.persistent:
            self.surroundings.store.put_room(self.record)
        self.announce()

    def save_all(self) -> None:
        """Keep everything about a room that has become persistent."""
        self.save_rows()
        self.archive_said()

    def archive_said(self) -> None:
        """Add to the archive what was said before the room had one: their ids are others from now on."""
        said = () if self._tail is None else self._tail.all()
        if not said:
            self._tail = None  # there may be something in the archive, of other nodes
            return
        self._tail = Tail(self.settings.history_limit, self.settings.history_limit_bytes)
        for each in said:
            self._tail.append(self.surroundings.archive.append(self.jid, each.said, erased=each.erased))

    def save_rows(self) -> None:
        """Keep what it is, and all affiliations."""
        self.save()
        for affiliated in self.affiliations:
            self.surroundings.store.put_affiliation(self.jid, affiliated)

    def forget(self) -> None:
        """Keep nothing any more."""
        self.surroundings.store.delete_room(self.jid)
        self.surroundings.archive.forget(self.jid)

    def put_affiliation(self, affiliated: Affiliated) -> None:
        """Enter an affiliation, and keep it."""
        self.affiliations.put(affiliated)
        if self.persistent:
            self.surroundings.store.put_affiliation(self.jid, affiliated)

    def keep(self, said: Said, *, erases: Erasure | None = None) -> Archived:
        """Add to the archive, and let that erase another entry; StorageError, and nothing is done, if it cannot be."""
        tail, counts = self._tail if self.persistent else self.tail, self.surroundings.counts
        if self.persistent:
            entry = self.surroundings.archive.append(self.jid, said, erases=erases)
        else:
            self.id = max(self.id + 1, int(said.time * 1_000_000))
            entry = Archived(str(self.id), said)
        counts.appended += 1
        counts.erased += erases is not None
        if tail is not None:  # else it is read when it is needed
            tail.append(entry)
            if erases is not None:
                tail.erase(erases)
        return entry

    def heard(self, entry: Archived) -> None:
        """Have an entry that another node has added to the archive."""
        tail = self._tail
        if tail is None:
            return
        in_order = not len(tail) or tail.last_time <= entry.said.time
        if in_order and not entry.erased and entry.said.kind in (Kind.MESSAGE, Kind.SUBJECT):
            tail.append(entry)
        else:
            self._tail = None  # it is older than what is there, or has erased something: read it again

    def find(self, id_: str) -> Archived | None:
        """Return an entry of the archive."""
        found = self.tail.find(id_)
        return self.surroundings.archive.find(self.jid, id_) if found is None and self.persistent else found

    def marked(self, entry: Archived) -> bytes:
        """Return what an entry said with its stanza-id (XEP-0359), which older ones have in them already."""
        mark = b"%b id='%b'/>" % (self.mark, entry.id.encode())
        stanza = entry.said.stanza
        return stanza if mark in stanza else add_child(stanza, mark)

    def admit_message(self, now: float) -> None:
        """Raise RoomError if the room is being flooded."""
        rate = self.settings.messages_per_second
        if not rate:
            return
        self.credit = min(rate * BURST_SECONDS, self.credit + (now - self.credit_time) * rate)
        self.credit_time = now
        if self.credit < 1.0:
            raise RoomError("resource-constraint", "too many messages in this room; try again later")
        self.credit -= 1.0

    def late_credit(self, wanted: int, now: float) -> int:
        """Return how many old messages of other nodes may be shown now, at most `wanted`."""
        if not wanted:
            return 0
        if now - self.late[1] >= LATE_PERIOD_SECONDS:
            self.late = (0, now)
        shown = max(0, min(wanted, self.settings.late_limit - self.late[0]))
        self.late = (self.late[0] + shown, self.late[1])
        return shown

    def announce(self) -> None:
        """Tell the room list what has changed: the name, whether it is public, and about how many are in it."""
        listed = None
        if self.config.public and not self.locked:
            listed = (self.config.name, len(self.occupants).bit_length())
        if listed == self.told:
            return
        self.told = listed
        if listed is None:
            self.outlet.unlisted(self.jid)
        else:
            self.outlet.listed(self.jid, self.config.name, len(self.occupants))

    def announce_anew(self) -> None:
        """Tell the room list as if nothing had been told yet."""
        self.told = None
        self.announce()

    def close_if_empty(self) -> None:
        """End a temporary room that nobody is in any more (XEP-0045 section 4.2), or tell that fewer are."""
        if self.occupants or (self.config.persistent and not self.locked):
            self.announce()
        elif self.surroundings.nodes is None or self.surroundings.nodes.ends(self):
            if self.persistent:
                self.forget()
            self.close()

    def close(self) -> None:
        """End the room: it is listed no longer and has no occupants."""
        if self.told is not None:
            self.told = None
            self.outlet.unlisted(self.jid)
        self.surroundings.closed(self)

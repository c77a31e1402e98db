"""The rooms at home on one worker, and their domain: the way in for every stanza, and for what happens to homes."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, cast

from megaphone.errors import ArchiveError, RoomError
from megaphone.rooms import entering, groupchat, leaving, ownership, reception, refreshing
from megaphone.rooms.directory import Directory
from megaphone.rooms.discovery import info
from megaphone.rooms.names import DISCO_INFO, DISCO_ITEMS, MUC, PING, VERSION, element
from megaphone.rooms.other_nodes import OtherNodes
from megaphone.rooms.ports import Affiliated, Affiliation, RoomRecord
from megaphone.rooms.room import Room, Surroundings
from megaphone.stream.archive import Counts
from megaphone.stream.jid import JID
from megaphone.stream.retraction import retracts
from megaphone.wire.stamp import add_child
from megaphone.wire.stanza_writer import iq_result
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from megaphone.rooms.addressed import Addressed
    from megaphone.rooms.ports import Outlet, RoomSettings, RoomStore
    from megaphone.rooms.wire import Wire
    from megaphone.stream.archive import Archive, Archived
    from megaphone.stream.stanza import Stanza

FEATURES = (DISCO_INFO, DISCO_ITEMS, MUC, PING, VERSION)


class Rooms:
    """XEP-0045 for one domain, without I/O: it is told the time and speaks through its outlet.

    Every method returns at once; none raises for what users send.
    """

    def __init__(
        self,
        domain: str,
        outlet: Outlet,
        store: RoomStore,
        archive: Archive,
        settings: RoomSettings,
        *,
        version: str = "",
    ) -> None:
        self.jid = JID.parse(domain)
        self.settings = settings
        self._outlet = outlet
        self._store = store
        self._version = version
        self._rooms: dict[JID, Room] = {}
        self._created: dict[JID, int] = {}
        self.directory = Directory(settings.rooms_limit, settings.list_limit)
        # While they move to another process (rooms.moving): which have changed, and whether by more than talk.
        self.touched: dict[JID, bool] | None = None
        self.counts = Counts()
        self.surroundings = Surroundings(outlet, store, archive, self.counts, settings, self.remove)

    def apply(self, settings: RoomSettings) -> None:
        """Take these settings from now on; what exists stays as it is."""
        self.settings = self.surroundings.settings = settings

    def __len__(self) -> int:
        return len(self._rooms)

    def __iter__(self) -> Iterator[Room]:
        return iter(self._rooms.values())

    def room(self, jid: JID) -> Room | None:
        """Return the room with this bare JID."""
        return self._rooms.get(jid)

    # --- stanzas ---

    def receive(self, stanza: Stanza, now: float, *, held: bool = False) -> None:
        """Take a stanza to the domain, a room or an occupant; `from_` is the full JID of who sent it.

        What is refused is answered with the error, unless it is an answer itself. `held`: other nodes have been asked.
        """
        if stanza.to is None or stanza.from_ is None:
            raise ValueError("a stanza for rooms has both addresses")
        addressed = cast("Addressed", stanza)
        if self.touched is not None:
            is_talk = stanza.kind == "message" and stanza.type == "groupchat" and retracts(stanza) is None
            self.touch(addressed.to.bare, talk=is_talk and not addressed.to.resource)
        nodes = self.surroundings.nodes
        if nodes is not None:
            nodes.now = now
        try:
            if not stanza.to.local:
                self._receive_at_domain(addressed)
            elif nodes is not None and not held and nodes.holds(addressed, now):
                return
            elif (room := self._rooms.get(addressed.to.bare)) is not None:
                reception.receive(room, addressed, now)
            elif stanza.kind == "presence" and stanza.type is None and self._creates(addressed):
                self._create(addressed, now)
            else:
                reception.receive_without_room(addressed)
        except RoomError as error:
            self.refuse(addressed, error)
        except ArchiveError as error:
            if stanza.answerable:
                self._outlet.route(stanza.error(error.condition, text=error.text), stanza.from_)
        finally:
            if nodes is not None and (changed := self._rooms.get(addressed.to.bare)) is not None:
                nodes.telling.tell_changes(changed)

    def refuse(self, stanza: Addressed, error: RoomError) -> None:
        """Answer a stanza that is refused."""
        if stanza.answerable:
            answer = stanza.error(error.condition, type_=error.type, text=error.text)
            if stanza.kind == "presence" and stanza.child(MUC, "x") is not None:
                # as in XEP-0045's examples (section 7.2): by it slixmpp knows that entering has failed
                answer = add_child(answer, element(b"x", MUC))
            self._outlet.route(answer, stanza.from_)

    def _creates(self, stanza: Addressed) -> bool:
        return self.settings.join_without_x or stanza.child(MUC, "x") is not None

    def _create(self, stanza: Addressed, now: float) -> None:
        """Make a room for who enters it first, its owner (XEP-0045 section 10.1)."""
        jid, creator = stanza.to.bare, stanza.from_.bare
        if not stanza.to.resource:
            raise RoomError("jid-malformed", "say with which nick you enter")
        if len(jid.local.encode()) > self.settings.room_name_limit_bytes:
            limit = self.settings.room_name_limit_bytes
            raise RoomError("not-acceptable", f"the name of a room has at most {limit} bytes")
        if not self.settings.may_create(creator):
            raise RoomError("not-allowed", "you may not make rooms here")
        if self._created.get(creator, 0) >= self.settings.rooms_per_user_limit:
            raise RoomError("resource-constraint", "you have too many rooms")
        if len(self._rooms) >= self.settings.rooms_limit:
            raise RoomError("resource-constraint", "there are too many rooms")
        secret = hmac.digest(self.settings.secret, f"{jid} {now!r}".encode(), "sha256")
        nodes, created, ended = self.surroundings.nodes, now, None
        if nodes is not None:  # it is made later than the last room of this name has ended
            ended = self._store.ended(jid)
            created = max(now, max(ended, nodes.destroyed.at(jid)) + refreshing.SOONEST_SECONDS)
        record = RoomRecord(jid, self.settings.defaults, creator, created, secret)
        # who asks without <x/> cannot configure it: section 7.2.1, groupchat 1.0
        locked = stanza.child(MUC, "x") is not None
        room = Room(record, self.surroundings, (Affiliated(creator, Affiliation.OWNER),), locked=locked)
        room.life = ended
        entering.enter(room, stanza, stanza.to.resource, now, created=True)
        self.add(room)
        if not locked:
            ownership.unlock(room)

    def _receive_at_domain(self, stanza: Addressed) -> None:
        """Answer for the domain: what it is, which rooms it has, that it is there."""
        if stanza.kind != "iq":
            if stanza.kind == "message" or stanza.type in (None, "subscribe"):
                raise RoomError("service-unavailable", "this is a chat service: write to one of its rooms")
            return
        if stanza.type in ("result", "error"):
            return
        payload = stanza.payload
        if payload is None or stanza.id is None:
            raise RoomError("bad-request", "a request has an id and one child")
        asked = (stanza.type, payload.tag)
        if asked == ("get", f"{{{DISCO_INFO}}}query") and not payload.get("node"):
            self._answer(stanza, info(self.settings.name, FEATURES))
        elif asked == ("get", f"{{{DISCO_ITEMS}}}query") and not payload.get("node"):
            self._answer(stanza, self.directory.items())
        elif asked == ("get", f"{{{PING}}}ping"):
            self._answer(stanza, b"")
        elif asked == ("get", f"{{{VERSION}}}query"):
            content = element(b"name", content=b"Megaphone")
            content += element(b"version", content=escape(self._version))
            self._answer(stanza, element(b"query", VERSION, content))
        else:
            about_node = payload.tag in (f"{{{DISCO_INFO}}}query", f"{{{DISCO_ITEMS}}}query") and stanza.type == "get"
            raise RoomError("item-not-found" if about_node else "service-unavailable")

    def _answer(self, stanza: Addressed, content: bytes) -> None:
        result = iq_result(id_=stanza.id or "", to=str(stanza.from_), from_=str(stanza.to), content=content)
        self._outlet.route(result, stanza.from_)

    # --- rooms ---

    def load(self, at_home: Callable[[JID], bool] = lambda room: True) -> None:
        """Take over the persistent rooms whose home is here, which `at_home` says of their bare JIDs."""
        for record in self._store.rooms():
            if record.room not in self._rooms and record.room.domain == self.jid.domain and at_home(record.room):
                if not record.config.persistent and self.surroundings.nodes is None:
                    self._store.delete_room(record.room)  # it was kept for other nodes, when there were any
                    self.surroundings.archive.forget(record.room)
                    continue
                room = Room(record, self.surroundings, self._store.affiliations(record.room))
                self.add(room)
                room.announce()

    def add(self, room: Room) -> None:
        """Have a room."""
        self.touch(room.jid)
        self._rooms[room.jid] = room
        self._count(room.creator, 1)
        if self.surroundings.nodes is not None:
            self.surroundings.nodes.opened(room)

    def recount(self, room: Room, creator: JID) -> None:
        """Count a room as made by somebody else."""
        self._count(room.creator, -1)
        room.creator = creator
        self._count(creator, 1)

    def _count(self, creator: JID, change: int) -> None:
        left = self._created.get(creator, 0) + change
        if left:
            self._created[creator] = left
        else:
            self._created.pop(creator, None)

    def remove(self, room: Room) -> None:
        """Have a room no longer; nobody is told."""
        self.touch(room.jid)
        if self._rooms.pop(room.jid, None) is None:
            return
        self._count(room.creator, -1)
        if self.surroundings.nodes is not None:
            self.surroundings.nodes.closed(room)

    def touch(self, room: JID, *, talk: bool = False) -> None:
        """Note that a room has changed, if anybody wants to know; `talk`: by nothing but talk."""
        touched = self.touched
        if touched is not None:
            touched[room] = touched.get(room, False) or not talk

    # --- nodes ---

    def join_nodes(self, wire: Wire, resume_seconds: float) -> OtherNodes:
        """Be one of several instances, before any room is made or loaded; `resume_seconds`: see OtherNodes."""
        self.surroundings.nodes = OtherNodes(self, wire, resume_seconds)
        return self.surroundings.nodes

    def heard(self, owner: JID, entries: Sequence[Archived], now: float) -> None:
        """Take what other nodes have added to a room's archive, in the order of each, and show it to those here."""
        room = self._rooms.get(owner)
        if room is not None:
            self.touch(owner, talk=True)
            groupchat.hear(room, entries, now)

    def refresh(self, jid: JID, now: float) -> None:
        """Take over what has changed in the store for a room at home here; tell those who are in it."""
        self.touch(jid)
        nodes = self.surroundings.nodes
        if nodes is not None:
            nodes.now = now
        refreshing.refresh(self, jid, now)
        room = self._rooms.get(jid)
        if nodes is not None and room is not None:
            nodes.telling.tell_changes(room)

    def session_moved(self, session: JID, now: float) -> None:
        """A session of ours, by its full JID, goes on at another node, which will claim it in all its rooms."""
        if self.surroundings.nodes is not None:
            self.surroundings.nodes.session_moved(session, now)

    def session_came(self, session: JID, now: float) -> None:
        """A session of another node's goes on here, in all its rooms."""
        if self.surroundings.nodes is not None:
            self.surroundings.nodes.session_came(session, now)

    # --- homes ---

    def home_lost(self, is_lost: Callable[[JID], bool], now: float) -> None:
        """Remove everybody and every listed room whose home has died, as `is_lost` says of bare JIDs."""
        for room in list(self._rooms.values()):
            self.touch(room.jid)
            leaving.lose(room, is_lost)
            if self.surroundings.nodes is not None:
                self.surroundings.nodes.now = now
                self.surroundings.nodes.telling.tell_changes(room)
        self.directory.lose(is_lost)

    def list_anew(self) -> None:
        """Tell the room list of every room: its home has been lost, and another has taken its place."""
        for room in self._rooms.values():
            self.touch(room.jid, talk=True)
            room.announce_anew()

    def shut_down(self) -> None:
        """Tell all occupants that the service goes down, and let them go; persistent rooms come back with `load`."""
        for room in self._rooms.values():
            leaving.shut_down(room)
            if self.surroundings.nodes is not None:
                self.surroundings.nodes.telling.shut_down(room)
        self._rooms.clear()
        self._created.clear()

    # --- the room list, at the domain's home ---

    def listed(self, room: JID, name: str, occupants: int) -> None:
        """Take what `Outlet.listed` has said, on any worker."""
        self.directory.put(room, name, occupants)

    def unlisted(self, room: JID) -> None:
        """Take what `Outlet.unlisted` has said."""
        self.directory.remove(room)

    def items(self) -> list[tuple[JID, str, int]]:
        """Return the room list: JID, name and about how many occupants, the fullest first."""
        return self.directory.fullest()

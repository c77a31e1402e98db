"""Several nodes with the same rooms, and a network between them that can be cut: no sockets, and time is moved by hand.

What goes from one node to another waits in a row, and arrives one by one, in that order, when `arrive` or `calm` says
so. While two nodes are cut off from each other nothing arrives between them. Each node's town (tests.unit.rooms.town)
notes what its people get, and `Client` what their clients believe of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator
from itertools import permutations

from megaphone.rooms.events import Event, Origin, decode, encode
from megaphone.rooms.other_nodes import OtherNodes
from megaphone.rooms.ports import Affiliated, RoomSettings
from megaphone.rooms.rooms import Rooms
from megaphone.stream.archive import Archived
from megaphone.stream.jid import JID
from tests.unit.memory_archive import MemoryArchive
from tests.unit.rooms.memory_store import MemoryStore
from tests.unit.rooms.town import ROOM, SETTINGS, Town, person

RESUME_SECONDS = 300.0


class Node(Town):
    """One node: its people, its rooms, and the wire that they speak through."""

    def __init__(self, sea: Sea, name: str, settings: RoomSettings = SETTINGS) -> None:
        self.sea = sea
        self.name = name
        self.key = f"{ord(name[0]):016x}"
        self.life = 1
        self.heard_rooms: set[JID] = set()
        self.connected: set[JID] = set()
        self.on_removed: Callable[[JID], None] = lambda _: None
        self.found = True
        self.deaf = False  # nothing that is published is heard
        super().__init__(settings, MemoryStore(), MemoryArchive())
        self.store.clock = lambda: self.now

    def new_rooms(self) -> Rooms:
        rooms = super().new_rooms()
        self.others: OtherNodes = rooms.join_nodes(self, RESUME_SECONDS)
        return rooms

    def say(self, name: str, text: str) -> None:
        """Let the client of somebody who is connected to this node send a stanza."""
        self.connected.add(person(name))
        super().say(name, text)

    def route(self, stanza: bytes, to: JID) -> None:
        """What is for a session of another node comes there (the users' affair)."""
        for node in (self, *self.sea.nodes.values()):
            if to in node.connected and self.sea.reach(self, node):
                Town.route(node, stanza, to)
                return
        super().route(stanza, to)

    def occupant_removed(self, room: JID, occupant: JID) -> None:
        """Note it, and tell who wants to know."""
        super().occupant_removed(room, occupant)
        self.on_removed(occupant)

    # --- the wire ---

    @property
    def origin(self) -> Origin:
        return Origin(self.key, 0, bytes([self.life]) * 8)

    @property
    def nodes(self) -> Collection[str]:
        return [each.key for each in self.sea.nodes.values() if self.sea.knows(self, each)]

    def home(self, room: JID, node: str) -> int:
        return 0

    def hear(self, room: JID) -> None:
        self.heard_rooms.add(room)

    def hear_no_more(self, room: JID) -> None:
        self.heard_rooms.discard(room)

    def publish(self, room: JID, event: Event) -> bool:
        if self.deaf:
            return False
        for node in self.sea.nodes.values():
            if node is not self:
                self.sea.send(self, node, [event], room)
        return True

    def tell(self, node: str, worker: int, events: list[Event]) -> bool:
        assert worker == 0
        self.sea.send(self, self.sea.by_key(node), events, None)
        return True


class Sea:
    """The nodes, and what is under way between them."""

    def __init__(self, *names: str, settings: RoomSettings = SETTINGS) -> None:
        self.nodes: dict[str, Node] = {}
        self.under_way: dict[tuple[str, str], deque[tuple[bytes, JID | None]]] = {}
        self.cut: set[frozenset[str]] = set()
        self.known: set[tuple[str, str]] = set()
        for name in names:
            self.nodes[name] = Node(self, name, settings)
        for one, other in permutations(names, 2):
            self.under_way[one, other] = deque()
            self.known.add((one, other))
        for one, other in permutations(names, 2):
            self.nodes[one].others.joined(self.nodes[other].key, self.now)
        self.calm()

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    @property
    def now(self) -> float:
        return next(iter(self.nodes.values())).now

    def by_key(self, key: str) -> Node:
        return next(each for each in self.nodes.values() if each.key == key)

    def reach(self, one: Node, other: Node) -> bool:
        return one is other or frozenset((one.name, other.name)) not in self.cut

    def knows(self, one: Node, other: Node) -> bool:
        return (one.name, other.name) in self.known

    def send(self, from_: Node, to: Node, events: list[Event], room: JID | None) -> None:
        if self.reach(from_, to):
            self.under_way[from_.name, to.name].append((encode(events), room))

    # --- what happens ---

    def arrive(self, one: str, other: str) -> bool:
        """Let the next thing arrive that is under way; False if there is none."""
        row = self.under_way[one, other]
        if not row:
            return False
        payload, room = row.popleft()
        node = self.nodes[other]
        if room is None or room in node.heard_rooms:
            for event in decode(payload):
                node.others.take(event, node.now)
        return True

    def calm(self) -> None:
        """Let everything arrive, and all that comes of it."""
        for _ in range(200):
            busy = False
            for one, other in list(self.under_way):
                while self.arrive(one, other):
                    busy = True
            for node in self.nodes.values():
                node.others.sweep(node.now)
            if not busy and not any(self.under_way.values()):
                return
        raise AssertionError("it never ends")

    def pass_(self, seconds: float) -> None:
        """Let time pass, in steps as small as a sweep needs them."""
        for node in self.nodes.values():
            node.now += seconds
        for node in list(self.nodes.values()):
            node.others.sweep(node.now)

    def separate(self, one: str, other: str) -> None:
        """Cut two nodes off from each other: what is under way is lost, and each believes that the other has gone."""
        if frozenset((one, other)) in self.cut:
            return
        self.cut.add(frozenset((one, other)))
        for from_, to in ((one, other), (other, one)):
            self.under_way[from_, to].clear()
            self.known.discard((from_, to))
            self.nodes[from_].others.left(self.nodes[to].key, self.now)

    def heal(self, one: str, other: str) -> None:
        """Join them again."""
        if frozenset((one, other)) not in self.cut:
            return
        self.cut.discard(frozenset((one, other)))
        for from_, to in ((one, other), (other, one)):
            self.known.add((from_, to))
        for from_, to in ((one, other), (other, one)):
            self.nodes[from_].others.joined(self.nodes[to].key, self.now)

    def die(self, name: str) -> None:
        """A node dies, with all who are connected to it, and starts again: nobody is told, but it comes anew."""
        node = self.nodes[name]
        for one, other in list(self.under_way):
            if name in (one, other):
                self.under_way[one, other].clear()
        node.audience.clear()
        node.connected.clear()
        node.inboxes.clear()
        node.heard_rooms.clear()
        node.life += 1
        node.rooms = node.new_rooms()
        node.rooms.load()
        for other in self.nodes.values():
            if other is not node and self.reach(node, other):
                other.others.left(node.key, self.now)
                other.others.joined(node.key, self.now)
                other.others.lives(node.origin)

    def replicate(self, *, refresh: bool = True) -> None:
        """Bring all rows from every node to every other (the tables' affair): the first node that has one is right."""
        nodes = list(self.nodes.values())
        records = {jid: record for node in reversed(nodes) for jid, record in node.store.records.items()}
        affiliated: dict[JID, dict[JID, Affiliated]] = {}
        for node in reversed(nodes):
            for jid, entries in node.store.affiliated.items():
                affiliated.setdefault(jid, {}).update(entries)
        for node in nodes:
            node.store.records = dict(records)
            node.store.affiliated = {jid: dict(each) for jid, each in affiliated.items()}
            if refresh:
                for jid in records:
                    node.rooms.refresh(jid, node.now)

    def bring(self, one: str, other: str, room: JID = ROOM) -> bool:
        """Bring a room's rows from one node to another; returns whether they were news."""
        from_, to = self.nodes[one], self.nodes[other]
        news = self.reach(from_, to) and from_.store.bring(room, to.store)
        if news:
            to.rooms.refresh(room, to.now)
        return news

    def hear(self, name: str, room: JID, entries: list[Archived]) -> None:
        """Bring entries of the archive to a node (the histories' affair)."""
        node = self.nodes[name]
        node.archive.entries.setdefault(room, []).extend(entries)
        node.archive.entries[room].sort(key=lambda each: each.said.time)
        node.rooms.heard(room, entries, node.now)

    def views(self, room: JID = ROOM) -> dict[str, dict[str, tuple[object, ...]]]:
        """What each node believes of a room: by nick, who it is, the role, and its sessions with their presence."""
        return {name: dict(_view(node, room)) for name, node in self.nodes.items()}


def _view(node: Node, jid: JID) -> Iterator[tuple[str, tuple[object, ...]]]:
    room = node.rooms.room(jid)
    if room is None:
        return
    assert room.mirror is not None
    assert not room.mirror.clashing, f"{node.name}: {room.mirror.clashing}"
    for each in room.occupants:
        assert room.occupants.by_nick[each.nick] is each
        for session in each.sessions:
            assert room.occupants.by_session[session] is each
            assert (session in room.occupants.remote) is (session not in room.mirror.own)
        yield each.nick, (each.bare, each.role, list(each.sessions.items()))

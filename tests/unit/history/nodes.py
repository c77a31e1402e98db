"""Replicas that talk with each other, over links that a test holds in its hands: nothing waits or reads a clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from megaphone.history.batch import Batch
from megaphone.history.clock import HybridClock
from megaphone.history.content import Content
from megaphone.history.entry import EntryID, Kind, Origin
from megaphone.history.log import Log
from megaphone.history.manifest import Manifest, RoomID
from megaphone.history.memory import MemoryStore
from megaphone.history.messages import Batches, Info, Message, Proofs, Push
from megaphone.history.messages_codec import decode
from megaphone.history.ports import EntryStore, Placed, Signer, Verifier
from megaphone.history.replica import Replica
from megaphone.history.sync import Conversation
from tests.unit.history.origins import NOW_MS, ROOM, key, state, verify


class Node:
    """A replica, what it was told, and whom it talks with."""

    def __init__(
        self,
        name: str,
        store: EntryStore | None = None,
        *,
        rooms: Sequence[Manifest] = (ROOM,),
        from_day: int = 0,
        signer: Signer | None = None,
        verifier: Verifier = verify,
        trusted: Callable[[Origin], bool] = lambda _: True,
    ) -> None:
        self.name = name
        self.room = rooms[0] if rooms else ROOM
        self.store = store if store is not None else MemoryStore()
        self.signer = signer or key(name)
        self.links: list[Link] = []
        self.entries: list[Placed] = []
        self.refusals: list[tuple[Origin, str]] = []
        self._make = lambda: Replica(self.store, HybridClock(), self.signer, verifier, trusted)
        self._from_day = from_day
        self.replica = self._made(rooms)

    def _made(self, rooms: Iterable[Manifest]) -> Replica:
        replica = self._make()
        replica.on_entries = lambda room, entries: self.entries.extend(entries)
        replica.on_refusal = lambda room, origin, refusal: self.refusals.append((origin, refusal))
        replica.on_batch = self._relay
        for room in rooms:
            replica.open(room, self._from_day)
        return replica

    @property
    def origin(self) -> Origin:
        return self.signer.origin

    @property
    def log(self) -> Log:
        return self.replica.logs[self.room.id]

    def restart(self) -> None:
        """Begin again with what is in the store; connections are lost."""
        self.replica = self._made([log.manifest for log in self.replica.logs.values()])
        for log in self.replica.logs.values():
            log.page(100_000)  # as the check of a store at its start does: what is bare is noticed
        for link in self.links:
            link.cut()

    def say(
        self, *texts: str, now_ms: int = NOW_MS, room: RoomID | None = None, kind: int = Kind.MESSAGE
    ) -> list[Batch]:
        """Write a message for each text, and push it to all peers."""
        return self.write(*(Content(self.name, text.encode()) for text in texts), now_ms=now_ms, room=room, kind=kind)

    def erase(self, target: EntryID, now_ms: int = NOW_MS) -> list[Batch]:
        return self.write(Content(self.name, b"x", target), now_ms=now_ms, kind=Kind.MODERATION)

    def write(
        self, *contents: Content, now_ms: int = NOW_MS, room: RoomID | None = None, kind: int = Kind.MESSAGE
    ) -> list[Batch]:
        for content in contents:
            self.replica.append(room or self.room.id, kind, content, now_ms)
        flushed = self.replica.flush(now_ms)
        for batch in flushed:
            self._relay(batch, None)
        return flushed

    def take(self, *batches: Batch, now_ms: int = NOW_MS) -> None:
        """Have somebody's entries, from nowhere."""
        for batch in batches:
            accepted = self.replica.accept(batch, now_ms)
            assert accepted.refusal is None, accepted.refusal

    def _relay(self, batch: Batch, peer: Origin | None) -> None:
        for link in self.links:
            if link.is_up and link.other(self).origin != peer:
                link.put(self, link.conversation(self).push(batch))


class Link:
    """A connection of two nodes: a conversation at each end, and the messages on their way."""

    def __init__(self, one: Node, other: Node) -> None:
        self.nodes = (one, other)
        self.is_up = False
        self.under_way: dict[str, list[bytes]] = {}
        self.said: list[tuple[str, bytes]] = []
        self.conversations: dict[str, Conversation] = {}
        for node in self.nodes:
            node.links.append(self)

    def connect(self, now_ms: int = NOW_MS) -> None:
        one, other = self.nodes
        self.is_up = True
        self.under_way = {one.name: [], other.name: []}
        self.conversations = {
            one.name: Conversation(one.replica, other.origin),
            other.name: Conversation(other.replica, one.origin),
        }
        for node in self.nodes:
            self.put(node, self.conversation(node).start(now_ms))

    def cut(self) -> None:
        """Lose the connection, and all that is on its way."""
        self.is_up = False
        self.under_way = {}
        self.conversations = {}

    def conversation(self, node: Node) -> Conversation:
        return self.conversations[node.name]

    def other(self, node: Node) -> Node:
        return self.nodes[self.nodes[0] is node]

    def put(self, sender: Node, messages: list[bytes]) -> None:
        self.said += [(sender.name, message) for message in messages]
        self.under_way[self.other(sender).name] += messages

    def deliver(self, receiver: Node, now_ms: int = NOW_MS, index: int = 0) -> None:
        """Have one of the messages for a node arrive."""
        message = self.under_way[receiver.name].pop(index)
        answer = self.conversation(receiver).receive(message, now_ms)
        if self.is_up:
            self.put(receiver, answer)

    def tick(self, now_ms: int) -> None:
        for node in self.nodes:
            if self.is_up:
                self.put(node, self.conversation(node).tick(now_ms))

    def run(self, now_ms: int = NOW_MS, limit: int = 10_000) -> int:
        """Deliver until all is quiet; returns the rounds: how often who spoke first has got an answer."""
        first = min(self.nodes, key=lambda node: node.origin)
        rounds = 0
        while any(self.under_way.values()):
            for node in (self.other(first), first):
                rounds += node is first and bool(self.under_way[node.name])
                for _ in range(len(self.under_way[node.name])):
                    self.deliver(node, now_ms)
                    limit -= 1
                    assert limit, "it goes on and on"
        return rounds

    # --- what was said -----------------------------------------------------------------

    @property
    def messages(self) -> list[tuple[str, Message]]:
        """All that was said, by whom."""
        return [(name, decode(data)) for name, data in self.said]

    @property
    def dialogue(self) -> list[str]:
        """All that was said, as words."""
        return [f"{name}: {type(message).__name__}" for name, message in self.messages]

    @property
    def total_bytes(self) -> int:
        return sum(len(data) for _, data in self.said)

    @property
    def payload_bytes(self) -> int:
        """Bytes of batches and proofs."""
        total = 0
        for _, message in self.messages:
            if isinstance(message, (Batches, Info)):
                total += sum(map(len, message.batches))
            elif isinstance(message, Push):
                total += len(message.batch)
            elif isinstance(message, Proofs):
                total += len(message.proof)
        return total


def connected(one: Node, other: Node, now_ms: int = NOW_MS) -> Link:
    link = Link(one, other)
    link.connect(now_ms)
    return link


def pair(one: str = "anna", other: str = "bert") -> tuple[Node, Node]:
    """Two nodes, the one that speaks first before the other."""
    nodes = sorted((Node(one), Node(other)), key=lambda node: node.origin)
    return nodes[0], nodes[1]


def same(*nodes: Node) -> bool:
    return all(state(node.log) == state(nodes[0].log) for node in nodes)


def assert_same(*nodes: Node) -> None:
    for node in nodes:
        assert state(node.log) == state(nodes[0].log), f"{node.name} differs from {nodes[0].name}"


def run_all(links: Sequence[Link], now_ms: int, limit: int = 20_000) -> None:
    """Deliver all messages of all links, in turn, until none is left."""
    while any(link.is_up and any(link.under_way.values()) for link in links):
        for link in links:
            for node in link.nodes:
                while link.is_up and link.under_way[node.name]:
                    link.deliver(node, now_ms)
                    limit -= 1
                    assert limit, "it goes on and on"

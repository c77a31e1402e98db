"""Nodes of one worker each, without sockets: routers, services and `UserNodes` are real, what is between them is not.

A dialogue is as in tests.unit.service.world, with the node in front: `A:juliet/balcony >> <message .../>`. What one
node has written is on the others when `copy` says so, as the rows of a cluster are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from megaphone.bus.members import Member
from megaphone.bus.ports import Answer, Message, NoAnswer, NobodyThere
from megaphone.embedded.promises import Promises
from megaphone.embedded.router import Router
from megaphone.embedded.user_nodes import UserNodes
from megaphone.service.ports import RosterItem
from megaphone.service.service import Service
from megaphone.service.settings import Settings
from megaphone.stream.jid import JID
from megaphone.stream.stanza import Stanza, parse
from megaphone.wire.stamp import stamp
from tests.unit.memory_archive import MemoryArchive
from tests.unit.service.twin_store import Kept, TwinStore
from tests.unit.service.world import DOMAIN, LINE, ROOMS, Client, lines_of, matches

if TYPE_CHECKING:
    from megaphone.service.session import Session

NOW = 1_700_000_000.0


class Net:
    """What NATS core does, for nodes that reach each other: in order per publisher, at most once."""

    def __init__(self) -> None:
        self.ends: dict[str, FakeNodes] = {}
        self.parts: list[frozenset[str]] = []  # none: everybody reaches everybody
        self.silent: set[str] = set()  # they are heard of no more, and nobody knows it yet
        self.under_way: deque[Callable[[], None]] = deque()
        self.unanswered: dict[int, Callable[[Answer], None]] = {}
        self.requests = 0
        self.words: list[tuple[str, bytes]] = []

    def reached(self, source: str) -> list[FakeNodes]:
        part = next((each for each in self.parts if source in each), frozenset(self.ends))
        return [end for name, end in self.ends.items() if name in part and name not in self.silent and end.up]

    def run(self) -> None:
        steps = 0
        while self.under_way:
            steps += 1
            assert steps < 20_000, "nodes answer each other for ever"
            self.under_way.popleft()()

    def publish(self, source: str, subject: str, payload: bytes, reply: Callable[[bytes], bool] | None = None) -> bool:
        """Deliver later; whether anybody subscribes when it is delivered."""
        heard = False
        self.words.append((subject, payload))
        for end in self.reached(source):
            for subscription in list(end.subscriptions.get(subject, ())):
                heard = True
                end.hear(subscription, Message(subject, payload, reply))
        return heard

    def request(self, source: str, subject: str, payload: bytes, answered: Callable[[Answer], None]) -> None:
        self.requests += 1
        number = self.requests
        asker = self.ends[source]
        self.unanswered[number] = lambda answer: asker.turn(lambda: answered(answer))

        def reply(answer: bytes) -> bool:
            taken = self.unanswered.pop(number, None)
            if taken is not None:
                self.under_way.append(lambda: taken(answer))
            return taken is not None

        def deliver() -> None:
            if not self.publish(source, subject, payload, reply):
                self.unanswered.pop(number)(NobodyThere(asked=False))

        self.under_way.append(deliver)

    def time_out(self) -> None:
        """Nobody answers any more what was asked so far."""
        for number in list(self.unanswered):
            self.unanswered.pop(number)(NoAnswer())
        self.run()


@dataclass(eq=False)
class FakeSubscription:
    subject: str
    subscriber: Callable[[Message], bytes | None]
    end_: Callable[[FakeSubscription], None]
    active: bool = True

    def end(self) -> None:
        if self.active:
            self.active = False
            self.end_(self)


class FakeNodes:
    """The port of megaphone.embedded.nodes."""

    def __init__(self, net: Net, name: str, turn: Callable[[Callable[[], None]], None]) -> None:
        self.net = net
        self.turn = turn
        key = name.encode().ljust(32, b"\0")
        self.own = Member(name=name, node_key=key, incarnation=key[:8], since_ms=0)
        self.worker = 0
        self.epoch = b"epoch--1"
        self.up = True
        self.arriving = False
        self.members: Mapping[str, Member] = {self.own.key: self.own}
        self.subscriptions: dict[str, list[FakeSubscription]] = {}
        self.on_joined: list[Callable[[Member], None]] = []
        self.on_left: list[Callable[[Member], None]] = []
        self.on_up: list[Callable[[bool], None]] = []
        self.on_worker: list[Callable[[str, int, bytes], None]] = []
        net.ends[name] = self

    @property
    def sender(self) -> tuple[bytes, int, bytes]:
        return self.own.node_key[:8], self.worker, self.epoch

    def is_own(self, node: bytes, worker: int) -> bool:
        return (node, worker) == self.sender[:2]

    def home(self, jid: JID, node: str) -> int:
        return 0

    def publish(self, subject: str, payload: bytes) -> bool:
        if self.up:
            self.net.under_way.append(lambda: cast(None, self.net.publish(self.own.name, subject, payload)))
        return self.up

    def request(self, subject: str, payload: bytes, timeout_seconds: float, answered: Callable[[Answer], None]) -> bool:
        assert timeout_seconds > 0
        if self.up:
            self.net.request(self.own.name, subject, payload, answered)
        return self.up

    def subscribe(self, subject: str, subscriber: Callable[[Message], bytes | None]) -> FakeSubscription:
        made = FakeSubscription(subject, subscriber, lambda ended: self.subscriptions[subject].remove(ended))
        self.subscriptions.setdefault(subject, []).append(made)
        return made

    def hear(self, subscription: FakeSubscription, message: Message) -> None:
        def work() -> None:
            if subscription.active:
                answer = subscription.subscriber(message)
                if answer is not None and message.reply is not None:
                    message.reply(answer)

        self.turn(work)

    def see(self, member: Member, *, joined: bool) -> None:
        """The view has changed."""
        self.members = {key: each for key, each in self.members.items() if key != member.key} | (
            {member.key: member} if joined else {}
        )
        for told in self.on_joined if joined else self.on_left:
            self.turn(lambda told=told: told(member))  # type: ignore[misc]


class Writes:
    """A store that is slow: what is written is safe when a test says so."""

    def __init__(self) -> None:
        self.position = self.committed = 0


class Outlet:
    """Where a node's service speaks: to clients that note it, and to its router."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.tokens = 0

    def deliver(self, session: Session, stanza: bytes) -> None:
        assert not session.ended
        parse(stanza)
        cast(Client, session.stream).got.append(stanza)
        if self.node.router.keeping:
            self.node.writes.position += 1
            self.node.spooled.append(stanza)

    def deliver_stored(self, session: Session, stanza: bytes, key: int) -> None:
        cast(Client, session.stream).got.append(stanza)
        self.node.router.later(lambda: self.node.service.settled(session, key))

    def route(self, stanza: bytes, to: JID) -> None:
        self.node.router.route(stanza, to)

    def close(self, session: Session, condition: str, text: str = "") -> None:
        cast(Client, session.stream).closed = condition

    def token(self) -> str:
        self.tokens += 1
        return f"token{self.tokens}"


class Rooms:
    """Notes what comes for rooms."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def receive(self, stanza: Stanza, now: float) -> None:
        self.heard.append(stanza.data)


class Node:
    """One node of one worker."""

    def __init__(self, cluster: Cluster, name: str, **settings: Any) -> None:
        self.cluster = cluster
        self.name = name
        self.store = TwinStore()
        self.archive = MemoryArchive()
        self.writes = Writes()
        self.spooled: list[bytes] = []
        self.faults = cluster.faults
        self.router = Router(
            domain=DOMAIN, rooms_domain=ROOMS, index=0, workers=1, now=lambda: cluster.now, fault=self.faults.append
        )
        self.promises = Promises(self.writes, None)
        self.service = Service(
            DOMAIN,
            cast(Any, Outlet(self)),
            self.store,
            self.archive,
            Settings(is_local_domain=self.router.is_local_domain, **settings),
        )
        self.rooms = Rooms()
        wired = cast(Any, self.router)
        wired.service, wired.rooms, wired.promises = self.service, self.rooms, self.promises
        self.nodes = FakeNodes(cluster.net, name, self.turn)
        self.users = UserNodes(cast(Any, self.nodes), self.service, self.router, self.promises, self.waiting)

    def turn(self, work: Callable[[], None]) -> None:
        self.router.later(work)
        self.router.drain()
        self.promises.look()

    def waiting(self, after: int) -> list[tuple[int, str]]:
        names = sorted(jid.local for jid, kept in self.store.users.items() if kept.offline)
        return list(enumerate(names, 1))[after : after + 2]

    def commit(self) -> None:
        self.writes.committed = self.writes.position
        self.promises.look()
        self.cluster.net.run()


class Cluster:
    """`Cluster("A", "B")`; accounts are everywhere."""

    def __init__(self, *names: str, users: tuple[str, ...] = ("juliet", "romeo", "nurse"), **settings: Any) -> None:
        self.now = NOW
        self.net = Net()
        self.faults: list[Exception] = []
        self.clients: dict[str, Client] = {}
        self.sessions: dict[str, Session] = {}
        self.nodes = {name: Node(self, name, **settings) for name in names or ("A", "B")}
        for node in self.nodes.values():
            for user in users:
                node.store.add(JID(user, DOMAIN))
            node.nodes.members = {each.nodes.own.key: each.nodes.own for each in self.nodes.values()}

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    # --- accounts ------------------------------------------------------------

    def befriend(self, one: str, other: str, subscription: str = "both") -> None:
        """Let `one` see `other`, and be seen: in all stores."""
        opposite = {"to": "from", "from": "to"}.get(subscription, subscription)
        for node in self.nodes.values():
            for user, contact, state in ((one, other, subscription), (other, one, opposite)):
                node.store.users[JID(user, DOMAIN)].roster[JID(contact, DOMAIN)] = RosterItem(
                    JID(contact, DOMAIN), subscription=state
                )

    def copy(self, source: str, user: str) -> None:
        """What a node has of a user's roster and block list is on all others now, which are told."""
        jid = JID(user, DOMAIN)
        kept = self[source].store.users.get(jid)
        for name, node in self.nodes.items():
            if name == source:
                continue
            if kept is None:
                node.store.users.pop(jid, None)
            else:
                theirs = node.store.users.setdefault(jid, Kept())
                theirs.roster = {item: replace(value) for item, value in kept.roster.items()}
                theirs.version, theirs.blocked = max(kept.version, theirs.version), dict(kept.blocked)
            node.turn(lambda node=node: node.service.refresh(user, self.now))  # type: ignore[misc]
        self.net.run()

    # --- events ------------------------------------------------------------

    def bind(self, name: str, *, anonymous: bool = False) -> Session | None:
        """As a client that has authenticated at this node would; None if it was refused."""
        node, local, resource = _parts(name)
        at = self[node]
        client = Client(name)
        made: list[Session] = []

        def go_on(taken: bool) -> None:
            if not (taken and at.service.home.settings.resource_conflict == "reject"):
                jid = JID(local, DOMAIN)
                made.append(at.service.bind(jid, resource, self.now, stream=client, anonymous=anonymous))

        self.now += 0.001
        at.turn(lambda: at.users.claim(JID(local, DOMAIN, resource), go_on))
        self.net.run()
        if not made:
            return None
        self.clients[name], self.sessions[name] = client, made[0]
        return made[0]

    def send(self, name: str, stanza: str, *, keep: bool = False) -> None:
        """`keep`: the client has stream management."""
        if name not in self.sessions:
            assert self.bind(name) is not None
        session = self.sessions[name]
        at = self[name[0]]
        read = Stanza.read(stamp(stanza.encode(), from_=str(session.jid)))
        at.router.keeping = keep
        try:
            at.service.receive(session, read, self.now)
        finally:
            at.router.keeping = False
            at.router.drain()
        at.promises.look()
        self.net.run()

    def end(self, name: str) -> None:
        session = self.sessions.pop(name)
        at = self[name[0]]
        at.turn(lambda: at.service.ended(session, self.now))
        self.net.run()

    def sweep(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += 0.125
            for node in self.nodes.values():
                if node.name not in self.net.silent:
                    node.users.sweep()
            self.net.run()

    def settle(self) -> None:
        """Long enough that nobody is in doubt, and no round is under way."""
        self.sweep(24)
        for client in self.clients.values():
            client.got.clear()

    def cut(self, *parts: str) -> None:
        """Split the nodes (`"A", "BC"`) for longer than leases last."""
        self.net.parts = [frozenset(part) for part in parts]
        self._see(joined=False)

    def heal(self) -> None:
        self.net.parts = []
        self._see(joined=True)

    def _see(self, *, joined: bool) -> None:
        for node in self.nodes.values():
            reached = {end.own.name for end in self.net.reached(node.name)}
            for other in self.nodes.values():
                known = other.nodes.own.key in node.nodes.members
                if other is not node and (other.name in reached) == joined and known != joined:
                    node.nodes.see(other.nodes.own, joined=joined)
        self.net.run()

    def kill(self, name: str) -> None:
        """The node is dead; the others see its lease run out."""
        self.net.silent.add(name)
        self._see(joined=False)

    # --- dialogues ------------------------------------------------------------

    def play(self, script: str) -> None:
        for line in lines_of(script):
            found = LINE.fullmatch(line)
            assert found, f"no line of a dialogue: {line}"
            name, verb, stanza = found.groups()
            if verb == "<<":
                client = self.clients[name]
                assert client.got, f"{name} got nothing; expected {stanza}\n{self.unread()}"
                actual = client.got.pop(0)
                assert matches(parse(stanza.encode()), parse(actual)), f"{name} got\n{actual!r}\nexpected\n{stanza}"
                continue
            assert not self.unread(), f"before {line}:\n{self.unread()}"
            if verb == ">>":
                self.send(name, stanza)
            elif verb == "binds":
                self.bind(name)
            else:
                self.end(name)
        assert not self.unread(), self.unread()
        assert not self.faults, self.faults

    def take(self, name: str) -> list[bytes]:
        """What a client has got since last time."""
        got, self.clients[name].got = self.clients[name].got, []
        return got

    def unread(self) -> str:
        return "\n".join(f"{each.name} << {got.decode()}" for each in self.clients.values() for got in each.got)


def _parts(name: str) -> tuple[str, str, str]:
    node, _, jid = name.partition(":")
    local, _, resource = jid.partition("/")
    return node, local, resource

"""The other nodes of a cluster as one worker sees them: who is alive, and the bus between them all.

    NATS ─► Connection ─► NATSBus ─► Nodes ─► router.later(subscriber), drained ─► stanzas in order, then promises
                           └─► bucket of the nodes ─► view ─► on_left, on_joined

Worker 0 says the node's key and keeps its lease; the others watch. Whose words are whose is told by node key, worker
and epoch: 8 random bytes for each life of a worker, which its successor in an upgrade goes on with (embedded.epochs).
What is said is in docs/reference/cluster.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

import msgspec

from megaphone.bus.homes import home_of
from megaphone.bus.members import EPOCH_BYTES, Member
from megaphone.bus.membership import Membership, Onlooker
from megaphone.bus.nats import NATSBus
from megaphone.bus.ports import Limits, Message, NobodyThere
from megaphone.bus.tokens import token_of, worker_subject
from megaphone.embedded.epochs import WORKERS_LIMIT, Epochs
from megaphone.embedded.nodes_moving import NodesRecord, Splice
from megaphone.errors import BusError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from megaphone.bus.nats import NATSSubscription
    from megaphone.bus.nats_connection import Traffic
    from megaphone.bus.ports import Answer, Bus, Subscription
    from megaphone.embedded.nodes_settings import NodesSettings, Report
    from megaphone.stream.jid import JID

LIMITS = Limits(subscriptions=2_000_000, requests=65_536)
REPLACED_SUBJECT = "nodes.replaced"  # within the node
FIND_SECONDS = 3.0  # after which a worker that has just begun goes on without having found the other nodes
_WORKERS = "workers="
_SERVES = "serves="  # the token of its domains


class Nodes:
    """The nodes, of one worker. `turn(work)` does `work` in a turn of the router's.

    `local` is the bus within the node. Without NATS it goes on trying; `publish` and `request` return False then.
    """

    def __init__(
        self,
        settings: NodesSettings,
        node_key: bytes,
        *,
        worker: int,
        workers: int,
        local: Bus,
        turn: Callable[[Callable[[], None]], None],
        report: Report,
        fault: Callable[[Exception], None],
    ) -> None:
        self.own = Member(
            name=settings.node_name,
            node_key=node_key,
            incarnation=settings.incarnation,
            since_ms=int(time.time() * 1000),
            lease_seconds=settings.lease_seconds,
            addresses=settings.addresses,
            offers=(f"{_WORKERS}{workers}", _SERVES + token_of(" ".join(settings.serves))),
        )
        self.worker = worker
        self.epoch = os.urandom(EPOCH_BYTES)
        self.members: Mapping[str, Member] = {self.own.key: self.own}
        self.on_joined: list[Callable[[Member], None]] = []
        self.on_left: list[Callable[[Member], None]] = []
        self.on_up: list[Callable[[bool], None]] = []
        self.on_members: list[Callable[[], None]] = []
        """Told after every change of `members`, names and offers too."""
        self.limits = LIMITS
        self.replaced = False  # the node's key is used by another, later one: we have no part any more
        self._local = local
        self._turn = turn
        self._report = report
        self._fault = fault
        self._bus = NATSBus(
            settings.access,
            settings.cluster,
            fault=self._trouble,
            on_change=self._changed,
            limits=LIMITS,
            name=f"{settings.node_name}/{worker}",
        )
        self._watching: Membership | Onlooker | None = None
        self._splice: Splice | None = None
        self._before: NodesRecord | None = None  # of the process before this one
        self._closing: asyncio.Task[None] | None = None
        self._leaving = False
        self._told_away = False
        self._told_trouble = ""
        self._opened_at = 0.0
        self._found = False
        self._epochs = Epochs(self, self._trouble)
        local.subscribe(REPLACED_SUBJECT, self._take_replaced)

    # --- who there is ------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether NATS is there."""
        return self._bus.up and not self.replaced

    @property
    def found(self) -> bool:
        """Whether the other nodes are known, as far as they can be: not yet while this worker begins."""
        return self._found

    @property
    def alone(self) -> bool:
        """Whether it is known that there is no other node."""
        return self._found and len(self.members) == 1

    @property
    def epochs(self) -> Mapping[tuple[str, int], bytes]:
        """The epochs of the workers of other nodes that have said theirs, by node key and worker."""
        return self._epochs.known

    @property
    def on_worker(self) -> list[Callable[[str, int, bytes], None]]:
        """Told of node key, worker and epoch when a worker of another node is heard of first, or lives anew."""
        return self._epochs.told

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the nodes that are alive, our own included, in alphabetical order."""
        return tuple(sorted(member.name for member in self.members.values()))

    @property
    def sender(self) -> tuple[bytes, int, bytes]:
        """What our payloads begin with: the first 8 bytes of the node's key, worker, epoch."""
        return self.own.node_key[:8], self.worker, self.epoch

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self._bus.idle

    @property
    def traffic(self) -> Traffic:
        """What has been said to NATS and heard of it."""
        return self._bus.connection.traffic

    @property
    def bus(self) -> NATSBus:
        """What is below, for key-value."""
        return self._bus

    def is_own(self, node: bytes, worker: int) -> bool:
        """Whether a payload, by its first 8 bytes of a node's key and its worker, is this worker's own."""
        return worker == self.worker and node == self.own.node_key[:8]

    def member(self, node: bytes) -> Member | None:
        """Return the alive node whose key begins with these 8 bytes."""
        begins = node.hex()
        return next((member for key, member in self.members.items() if key.startswith(begins)), None)

    def workers(self, node: str) -> int:
        """How many workers a node has, by its key; 0 if it is not alive."""
        member = self.members.get(node)
        if member is None:
            return 0
        said = next((each.removeprefix(_WORKERS) for each in member.offers if each.startswith(_WORKERS)), "1")
        return min(max(1, int(said)), WORKERS_LIMIT) if said.isascii() and said.isdecimal() else 1

    def home(self, jid: JID, node: str) -> int:
        """Which worker of that node is the home of a bare JID; 0 if the node is not alive."""
        return home_of(f"{jid.local}@{jid.domain}" if jid.local else jid.domain, max(1, self.workers(node)))

    def said_goodbye(self, node: str) -> bool:
        """Whether a node that has left had said so, rather than its lease had run out."""
        return self._watching is not None and self._watching.view.said_goodbye(node)

    def describe(self) -> dict[str, Any]:
        """Return what operators see: whether NATS is there, why not, and a row for each node."""
        return {
            "up": self.up,
            "trouble": "" if self.up else self._bus.connection.trouble or "this node's key is used by another process",
            "nodes": [
                {
                    "name": member.name,
                    "key": key,
                    "since_ms": member.since_ms,
                    "workers": self.workers(key),
                    "own": key == self.own.key,
                    "addresses": list(member.addresses),
                }
                for key, member in sorted(self.members.items(), key=lambda each: (each[1].name, each[0]))
            ],
        }

    # --- the bus ------------------------------------------------------------

    @property
    def arriving(self) -> bool:
        """Whether this process goes on for another, and NATS is about to be there: what is said now would be lost."""
        return self._splice is not None and self._splice.waits and not self._bus.up

    def publish(self, subject: str, payload: bytes) -> bool:
        """Bring this to everybody who subscribes, on all nodes; see bus.ports.Bus. False while NATS is away."""
        if self.replaced:
            return False
        if self._splice is not None and self._splice.delay(len(payload), lambda: self._bus.publish(subject, payload)):
            return True
        return self._bus.publish(subject, payload)

    def subscribe(self, subject: str, subscriber: Callable[[Message], bytes | None]) -> Subscription:
        """Call `subscriber` in a turn of its own for each message; see bus.ports.Bus. It holds across connections."""
        return NodesSubscription(self, subject, subscriber)

    def request(self, subject: str, payload: bytes, timeout_seconds: float, answered: Callable[[Answer], None]) -> bool:
        """Ask everybody who subscribes; see bus.ports.Bus. False while NATS is away."""
        if self.replaced:
            return False

        def answer(given: Answer) -> None:
            self._turn(lambda: answered(given))

        def ask() -> None:
            if not self._bus.request(subject, payload, timeout_seconds, answer):
                answer(NobodyThere(asked=False))

        if self._splice is not None and self._splice.delay(len(payload), ask):
            return True
        return self._bus.request(subject, payload, timeout_seconds, answer)

    def take(self, subscription: NodesSubscription, message: Message) -> None:
        """Take a message, from the bus below."""
        if self._splice is None or not self._splice.hold(subscription, message):
            self.deliver(subscription, message)

    def deliver(self, subscription: NodesSubscription, message: Message) -> None:
        """Call one subscriber."""

        def work() -> None:
            if subscription.active:
                answer = subscription.subscriber(message)
                if answer is not None and message.reply is not None:
                    message.reply(answer)

        self._turn(work)

    # --- life ------------------------------------------------------------

    def open(self) -> None:
        """Take part from now on, as soon as NATS is there."""
        self._opened_at = asyncio.get_running_loop().time()
        if self.worker == 0:
            self._watching = Membership(
                self._bus,
                self.own,
                joined=self._joined,
                left=self._left,
                changed=lambda _, member: self._joined_anew(member),
                replaced=lambda _: self._was_replaced(),
                fault=self._trouble,
            )
        else:
            self._watching = Onlooker(
                self._bus,
                own_key=self.own.key,
                lease_seconds=self.own.lease_seconds,
                joined=self._joined,
                left=self._left,
                changed=lambda _, member: self._joined_anew(member),
                fault=self._trouble,
            )
        if self._before is not None:
            self._watching.view.restore(self._before.members, self._opened_at)
            self._before = None
        self._watching.start()
        self._bus.start()

    def sweep(self, now: float) -> None:
        """Do what is due; called 8 times a second, `now` by the loop's clock."""
        self._epochs.sweep()
        if not self._found and self._watching is not None:
            self._found = self._watching.view.hears or now - self._opened_at > FIND_SECONDS
        if not self._bus.up and not self._told_away and now - self._opened_at > 1.0:
            self._told_away = True
            self._report("NATS is away", trouble=True, reason=self._bus.connection.trouble)
        if self._splice is not None and self._splice.sweep(now):
            self._splice = None

    def deafen(self) -> None:
        """Call nobody any more: they are gone."""
        self._turn = lambda _: None

    async def close(self, *, goodbye: bool = True) -> None:
        """Say goodbye for the node, unless another process goes on with it, and hang up. Harmless when said twice."""
        self._leaving = True
        if self._closing is None:
            if self._watching is not None:
                await (self._watching.close() if goodbye else self._watching.abort())
            await self._bus.close()
        else:
            await self._closing

    # --- another process goes on ------------------------------------------------------------

    def freeze(self) -> None:
        """Keep what is heard from now on for the process that goes on, or until `thaw`."""
        self._splice = Splice.of_predecessor(self)

    def thaw(self) -> None:
        """Go on: take what was kept."""
        splice, self._splice = self._splice, None
        if splice is not None:
            splice.release()

    def export(self, watchers: tuple[JID, ...] = ()) -> NodesRecord:
        """Return what the process that goes on must know; `watchers` go along."""
        return NodesRecord(
            self.epoch,
            self.own.since_ms,
            tuple(self.members.values()),
            tuple((node, worker, epoch) for (node, worker), epoch in self.epochs.items()),
            watchers,
        )

    def restore(self, record: NodesRecord) -> None:
        """Be what the process before this one was; nobody is told of nodes that it knew."""
        self._before = record
        self._found = True
        self.epoch = record.epoch
        self.own = msgspec.structs.replace(self.own, since_ms=record.since_ms)
        self.members = {member.key: member for member in record.members} | {self.own.key: self.own}
        self._epochs.known = {(node, worker): epoch for node, worker, epoch in record.epochs}
        self._splice = Splice.of_successor(self)

    def leave(self) -> None:
        """Another process goes on: pass on what was kept, when it is there, and hang up without a word."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._leave())

    async def _leave(self) -> None:
        if self._watching is not None:
            await self._watching.abort()
        if self._splice is not None:
            await self._splice.pass_on()
            with contextlib.suppress(BusError):
                await self._bus.round_trip()
        await self._bus.close()

    def own_subject(self, what: str) -> str:
        """Return a subject of this worker."""
        return worker_subject(self.own.key, self.worker, what)

    # --- what happens ------------------------------------------------------------

    def in_turn(self, told: Callable[..., None], *values: object) -> None:
        """Tell somebody of these in a turn of its own."""
        self._turn(lambda: told(*values))

    def _changed(self, up: bool, text: str) -> None:
        if self._closing is not None or self._leaving or self.replaced:
            return
        self._told_away = not up
        self._told_trouble = ""
        if up:
            self._report("NATS is there", server=text)
            self._epochs.ask()
            self._epochs.sweep()
            if self._splice is not None:
                self._splice.came()
        else:
            self._report("NATS is away", trouble=True, reason=text)
        for told in self.on_up:
            self.in_turn(told, up)

    def _joined(self, member: Member) -> None:
        if member.key == self.own.key:
            self._own_key_is(member)
            return
        self._know()
        for told in self.on_joined:
            self.in_turn(told, member)
        self._epochs.joined(member.key)

    def _joined_anew(self, member: Member) -> None:
        """A node says something else of itself, and is the same."""
        if member.key == self.own.key:
            self._own_key_is(member)
        else:
            self._know()

    def _own_key_is(self, member: Member) -> None:
        """Take over since when the node is there: a worker may have been started again."""
        if member.incarnation == self.own.incarnation:
            self.own = msgspec.structs.replace(self.own, since_ms=member.since_ms)
            self.members = {**self.members, self.own.key: self.own}

    def _left(self, member: Member) -> None:
        if member.key == self.own.key:
            return
        self._epochs.left(member.key)
        self._know()
        for told in self.on_left:
            self.in_turn(told, member)

    def _know(self) -> None:
        """The view has changed."""
        assert self._watching is not None  # noqa: S101 - it is what calls
        self.members = dict(self._watching.view.members) | {self.own.key: self.own}
        if self.worker == 0:
            self._report("nodes", nodes=", ".join(self.names))
            self._look_for_others()
        for told in self.on_members:
            self._turn(told)

    def _look_for_others(self) -> None:
        """Say which nodes serve other domains: what they say makes no sense here."""
        ours = self.own.offers[1]
        for member in self.members.values():
            if any(each.startswith(_SERVES) and each != ours for each in member.offers):
                event = "a node of the cluster serves other domains: give it another cluster.name, or our domains"
                self._report(event, trouble=True, node=member.name)

    def _was_replaced(self) -> None:
        self._local.publish(REPLACED_SUBJECT, b"")

    def _take_replaced(self, _: Message) -> None:
        """Another, later process has the key of this node: two with one key would be one to all others."""
        if self.replaced:
            return
        self.replaced = True
        self._report("another Megaphone uses the key of this node, which leaves the cluster", trouble=True)
        self._bus.abort()
        for told in self.on_up:
            self.in_turn(told, False)

    def _trouble(self, error: Exception) -> None:
        """What NATS complains about is said once; mistakes of ours are told as ever."""
        if not isinstance(error, BusError):
            self._fault(error)
        elif str(error) != self._told_trouble:
            self._told_trouble = str(error)
            self._report("NATS", trouble=True, reason=str(error))


class NodesSubscription:
    """One subscriber; it holds what is below it."""

    __slots__ = ("_below", "_nodes", "active", "subscriber")

    def __init__(self, nodes: Nodes, subject: str, subscriber: Callable[[Message], bytes | None]) -> None:
        self._nodes = nodes
        self.subscriber = subscriber
        self.active = True
        self._below: NATSSubscription = nodes.bus.subscribe(subject, self._take)

    def _take(self, message: Message) -> None:
        self._nodes.take(self, message)

    def end(self) -> None:
        """Call the subscriber no more."""
        self.active = False
        self._below.end()

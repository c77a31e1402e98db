"""What another process must know of the other nodes, and how nothing that they say is lost while it takes over.

    predecessor  freeze ── holds what it hears ───────────── heard `came` ─► says it on `late`, then its end ─► gone
    successor                     go on ─► connects, subscribes, says `came`
                                  └─ holds what it hears ────────────────── end of `late` ─► takes both in order

What the successor says before it is connected is said then. Between its subscriptions and the predecessor's end both
hear the same: what is in both is taken once.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from megaphone.bus.members import EPOCH_BYTES, Member
from megaphone.stream.jid import JID

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.bus.ports import Message, Subscription
    from megaphone.embedded.nodes import Nodes, NodesSubscription

HELD_LIMIT = 65_536  # messages; what comes beyond them is lost, as a connection's end would lose it
HELD_LIMIT_BYTES = 67_108_864
WAIT_SECONDS = 5.0


class NodesRecord(Struct, array_like=True, frozen=True, tag="nodes"):
    """The worker's epoch, since when its node is there, the nodes, the epochs of their workers.

    `watchers` are the sessions that are told when nodes come and go (service.nodes).
    """

    epoch: Annotated[bytes, Meta(min_length=EPOCH_BYTES, max_length=EPOCH_BYTES)]
    since_ms: int
    members: tuple[Member, ...]
    epochs: tuple[tuple[str, int, bytes], ...]
    watchers: tuple[JID, ...] = ()


class Late(Struct, array_like=True, frozen=True, tag="late"):
    """A message that the predecessor has held; an empty subject ends them."""

    subject: str
    payload: bytes = b""
    inbox: bytes = b""  # where an answer goes


class Splice:
    """Holds what is heard, in one of the two processes."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._held: deque[tuple[NodesSubscription, Message]] = deque()
        self._held_bytes = 0
        self._late: list[Late] = []
        self._until: float | None = None
        self._own: list[Subscription] = []
        self._came = asyncio.Event()
        self._waits = False  # for a predecessor
        self._ended = False
        self._unsaid: deque[Callable[[], object]] | None = None  # of a successor that is not connected yet
        self._unsaid_bytes = 0
        self._connects_by = 0.0

    @classmethod
    def of_predecessor(cls, nodes: Nodes) -> Splice:
        """Hold until `release`, or until the successor has come."""
        splice = cls(nodes)
        splice._own = [nodes.bus.subscribe(nodes.own_subject("came"), splice._take_came)]
        return splice

    @classmethod
    def of_successor(cls, nodes: Nodes) -> Splice:
        """Hold until the predecessor has said what it has held."""
        splice = cls(nodes)
        splice._waits = True
        splice._unsaid = deque()
        splice._own = [nodes.bus.subscribe(nodes.own_subject("late"), splice._take_late)]
        return splice

    @property
    def waits(self) -> bool:
        """Whether it is the successor's, and has not heard of the predecessor yet."""
        return self._waits and not self._ended

    def hold(self, subscription: NodesSubscription, message: Message) -> bool:
        """Keep a message for later; False if it is for now."""
        if self._ended:
            return False
        self._held_bytes += len(message.payload)
        if len(self._held) < HELD_LIMIT and self._held_bytes <= HELD_LIMIT_BYTES:
            self._held.append((subscription, message))
        return True

    def release(self) -> None:
        """Take what was held, in order: what was said late and heard here too is taken once."""
        if self._ended:
            return
        self._ended = True
        for each in self._own:
            each.end()
        bus = self._nodes.bus
        for late in self._late:
            bus.deliver_to(late.subject, late.payload, late.inbox)
        twice = Counter((late.subject, late.payload, late.inbox) for late in self._late)
        left: dict[tuple[object, ...], int] = {}
        for subscription, message in self._held:
            what = (message.subject, message.payload, message.inbox)
            key = (id(subscription), *what)
            left.setdefault(key, twice[what])
            if left[key]:
                left[key] -= 1
            else:
                self._nodes.deliver(subscription, message)
        self._held.clear()
        self._late.clear()

    # --- the successor ------------------------------------------------------------

    def delay(self, size: int, say: Callable[[], object]) -> bool:
        """Say this as soon as there is a connection, at most 5 s from now; False if it can be said now, or never."""
        if self._unsaid is None or self._nodes.bus.up:
            return False
        self._unsaid_bytes += size
        if len(self._unsaid) >= HELD_LIMIT or self._unsaid_bytes > HELD_LIMIT_BYTES:
            return False
        self._unsaid.append(say)
        return True

    def _say_all(self) -> None:
        unsaid, self._unsaid = self._unsaid, None
        for say in unsaid or ():
            say()

    def came(self) -> None:
        """NATS is there, and knows our subscriptions: the predecessor may say what it has held."""
        if not self._waits:
            return
        self._say_all()
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + WAIT_SECONDS
        self._nodes.publish(self._nodes.own_subject("came"), b"")

    def sweep(self, now: float) -> bool:
        """Whether it is over: when NATS, or then the predecessor, says nothing, it is after 5 s."""
        if self._unsaid is not None:
            self._connects_by = self._connects_by or now + WAIT_SECONDS
            if now >= self._connects_by:
                self._say_all()
        if not self._ended and self._until is not None and now >= self._until:
            self.release()
        return self._ended

    def _take_late(self, message: Message) -> None:
        late = msgspec.msgpack.decode(message.payload, type=Late)
        if late.subject:
            if len(self._late) < HELD_LIMIT:
                self._late.append(late)
        else:
            self.release()

    # --- the predecessor ------------------------------------------------------------

    def _take_came(self, _: Message) -> None:
        self._came.set()

    async def pass_on(self) -> None:
        """Say what was held, when the successor has come."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._came.wait()
        except TimeoutError:
            return
        said: set[int] = set()
        subject = self._nodes.own_subject("late")
        for _, message in self._held:
            if id(message) not in said:  # once for all subscribers to its subject
                said.add(id(message))
                late = Late(message.subject, message.payload, message.inbox)
                self._nodes.publish(subject, msgspec.msgpack.encode(late))
        self._nodes.publish(subject, msgspec.msgpack.encode(Late("")))

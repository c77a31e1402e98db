"""Carries what rooms say to the same rooms on other nodes: `rooms.other_nodes.Wire` over the bus between nodes.

Rooms ─► OtherNodes ─► publish ─► m.<token of the room>.occupants ─► the room's home worker on every node
                    └► tell ────► n.<node>.<worker>.rooms ─────────► one of them
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from megaphone.bus.tokens import room_subject, worker_subject
from megaphone.errors import SubjectError
from megaphone.rooms.events import Origin, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from megaphone.bus.members import Member
    from megaphone.bus.ports import Message, Subscription
    from megaphone.embedded.nodes import Nodes
    from megaphone.rooms.events import Event
    from megaphone.rooms.rooms import Rooms
    from megaphone.stream.jid import JID

NODE_CHARACTERS: Final = 16
_BEGINNING: Final = 40  # bytes of a payload in which the node that says it is named
PAYLOAD_BYTES: Final = 524_288  # after which a list of events becomes several payloads


class RoomNodes:
    """The wire of one worker's rooms. `now` gives Unix seconds; `fault` is told of what nobody can read."""

    def __init__(
        self,
        nodes: Nodes,
        rooms: Rooms,
        *,
        resume_seconds: float,
        now: Callable[[], float],
        fault: Callable[[Exception], None],
    ) -> None:
        self._nodes = nodes
        self._now = now
        self._fault = fault
        self._heard: dict[JID, Subscription] = {}
        self._own = nodes.own.key[:NODE_CHARACTERS].encode()
        self.refused = 0  # events that could not be sent: the bus is away, or full
        self.others = rooms.join_nodes(self, resume_seconds)
        nodes.subscribe(worker_subject(nodes.own.key, nodes.worker, "rooms"), self._take)
        nodes.on_joined.append(self._joined)
        nodes.on_left.append(self._left)
        nodes.on_up.append(lambda up: self.others.up(up, self._now()))
        nodes.on_worker.append(self._worker)

    # --- Wire ------------------------------------------------------------

    @property
    def origin(self) -> Origin:
        """Who we are: a successor in an upgrade is the same."""
        nodes = self._nodes
        return Origin(nodes.own.key[:NODE_CHARACTERS], nodes.worker, nodes.epoch)

    @property
    def name(self) -> str:
        """Our node's name."""
        return self._nodes.own.name

    @property
    def nodes(self) -> Collection[str]:
        """The other nodes that can be reached."""
        nodes = self._nodes
        return [key[:NODE_CHARACTERS] for key in nodes.members if key != nodes.own.key] if nodes.up else ()

    @property
    def found(self) -> bool:
        """Whether it is known which other nodes there are."""
        return self._nodes.found

    def home(self, room: JID, node: str) -> int:
        """Which worker of a node a room is at home in."""
        return self._nodes.home(room, self._key(node))

    def _key(self, node: str) -> str:
        return next((key for key in self._nodes.members if key.startswith(node)), "")

    def hear(self, room: JID) -> None:
        """Take what is published about a room; beyond the limit of the bus it is not heard of."""
        if room not in self._heard:
            try:
                self._heard[room] = self._nodes.subscribe(f"{room_subject(str(room))}.occupants", self._take)
            except SubjectError as error:
                self._fault(error)

    def hear_no_more(self, room: JID) -> None:
        """Take it no longer."""
        subscription = self._heard.pop(room, None)
        if subscription is not None:
            subscription.end()

    def publish(self, room: JID, event: Event) -> bool:
        """Say it to all nodes that have this room."""
        if self._nodes.alone:
            return False
        sent = self._nodes.publish(f"{room_subject(str(room))}.occupants", encode([event]))
        self.refused += not sent
        return sent

    def tell(self, node: str, worker: int, events: list[Event]) -> bool:
        """Say it to one worker of a node, in as many payloads as it takes."""
        subject = worker_subject(node, worker, "rooms")
        return all(self._send(subject, part) for part in _payloads(events))

    def _send(self, subject: str, payload: bytes) -> bool:
        sent = self._nodes.publish(subject, payload)
        self.refused += not sent
        return sent

    # --- from the bus ------------------------------------------------------------

    def _take(self, message: Message) -> None:
        if self._own in message.payload[:_BEGINNING]:
            return  # our own words come back
        try:
            events = decode(message.payload)
        except ValueError as error:
            self._fault(error)
            return
        now = self._now()
        for event in events:
            self.others.take(event, now)

    def _joined(self, member: Member) -> None:
        self.others.joined(member.key[:NODE_CHARACTERS], self._now())

    def _left(self, member: Member) -> None:
        self.others.left(member.key[:NODE_CHARACTERS], self._now())

    def _worker(self, node: str, worker: int, epoch: bytes) -> None:
        self.others.now = self._now()
        self.others.lives(Origin(node[:NODE_CHARACTERS], worker, epoch))

    def freeze(self) -> None:
        """Another process goes on: nothing waits for other nodes any more."""
        self.others.hold_no_more(self._now())
        self.others.keep_orphans()

    def sweep(self) -> None:
        """Do what is due; called several times a second."""
        self.others.sweep(self._now())


def _payloads(events: list[Event]) -> list[bytes]:
    """Encode events in order, in payloads that are not much larger than PAYLOAD_BYTES."""
    payload = encode(events)
    if len(payload) <= PAYLOAD_BYTES or len(events) == 1:
        return [payload]
    half = len(events) // 2
    return _payloads(events[:half]) + _payloads(events[half:])

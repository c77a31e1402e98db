"""The wire of rooms: which subjects, how much in one payload, and what becomes of what nobody can read."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from megaphone.bus.members import Member
from megaphone.bus.ports import Message
from megaphone.bus.tokens import token_of
from megaphone.embedded.nodes import Nodes
from megaphone.embedded.room_nodes import PAYLOAD_BYTES, RoomNodes
from megaphone.errors import SubjectError
from megaphone.rooms.events import Claim, Closed, Event, Origin, Still, Whole, decode, encode
from megaphone.stream.jid import JID
from tests.unit.rooms.town import ROOM, Town, person

OTHER = Origin("b" * 16, 1, b"epoch  b")
SUBJECT = f"m.{token_of(str(ROOM))}.occupants"


def member(letter: str) -> Member:
    return Member(
        name=letter, node_key=bytes.fromhex(letter * 64), incarnation=bytes(8), since_ms=0, offers=("workers=2",)
    )


class FakeSubscription:
    def __init__(self, bus: FakeNodes, subject: str) -> None:
        self._bus, self._subject = bus, subject

    def end(self) -> None:
        del self._bus.subscribers[self._subject]


class FakeNodes:
    """What `Nodes` is to rooms; what is published is noted."""

    def __init__(self) -> None:
        self.own, self.worker, self.epoch = member("a"), 0, b"epoch  a"
        self.members = {"a" * 64: self.own, "b" * 64: member("b")}
        self.up = self.found = True
        self.on_joined: list[Callable[[Member], None]] = []
        self.on_left: list[Callable[[Member], None]] = []
        self.on_up: list[Callable[[bool], None]] = []
        self.on_worker: list[Callable[[str, int, bytes], None]] = []
        self.subscribers: dict[str, Callable[[Message], None]] = {}
        self.published: list[tuple[str, bytes]] = []
        self.limit = 99

    @property
    def alone(self) -> bool:
        return self.found and len(self.members) == 1

    def subscribe(self, subject: str, subscriber: Callable[[Message], None]) -> FakeSubscription:
        if len(self.subscribers) >= self.limit:
            raise SubjectError("too many")
        self.subscribers[subject] = subscriber
        return FakeSubscription(self, subject)

    def publish(self, subject: str, payload: bytes) -> bool:
        if self.up:
            self.published.append((subject, payload))
        return self.up

    def home(self, jid: JID, node: str) -> int:
        return 1 if node == "b" * 64 else 0


class Worker:
    def __init__(self) -> None:
        self.nodes, self.town, self.faults = FakeNodes(), Town(), list[Exception]()
        self.wire = RoomNodes(
            cast("Nodes", self.nodes),
            self.town.rooms,
            resume_seconds=60.0,
            now=lambda: self.town.now,
            fault=self.faults.append,
        )

    def hear(self, subject: str, *events: Event) -> None:
        self.nodes.subscribers[subject](Message(subject, encode(list(events))))


def test_subjects() -> None:
    worker = Worker()
    assert set(worker.nodes.subscribers) == {"n.aaaaaaaaaaaaaaaa.0.rooms"}
    worker.town.enter("romeo")
    assert worker.town.rooms.room(ROOM) is None  # it waits for the other node
    asked = worker.nodes.published.pop()
    assert asked[0] == "n.bbbbbbbbbbbbbbbb.1.rooms"
    worker.hear("n.aaaaaaaaaaaaaaaa.0.rooms", Whole(OTHER, ROOM, 0))
    assert worker.town.rooms.room(ROOM) is not None
    assert SUBJECT in worker.nodes.subscribers
    assert worker.nodes.published[-1][0] == SUBJECT
    worker.town.say("romeo", f"<presence to='{ROOM}' type='unavailable'/>")
    worker.wire.sweep()
    worker.hear("n.aaaaaaaaaaaaaaaa.0.rooms", Whole(OTHER, ROOM, 0))
    assert worker.town.rooms.room(ROOM) is None
    assert SUBJECT not in worker.nodes.subscribers


def test_without_nats_nobody_is_asked() -> None:
    worker = Worker()
    worker.nodes.up = False
    worker.town.enter("romeo")
    assert worker.town.rooms.room(ROOM) is not None
    assert not worker.nodes.published
    assert worker.wire.refused > 0
    assert not worker.wire.nodes


def test_a_node_that_goes_is_waited_for_no_longer() -> None:
    worker = Worker()
    worker.town.enter("romeo")
    gone = worker.nodes.members.pop("b" * 64)
    for told in worker.nodes.on_left:
        told(gone)
    assert worker.town.rooms.room(ROOM) is not None


def test_long_lists_are_several_payloads_in_order() -> None:
    worker = Worker()
    claims = tuple(Claim(person(f"p{number}"), f"p{number}", "visitor", 0, 0, b"x" * 1000) for number in range(200))
    events: list[Event] = [Whole(worker.wire.origin, ROOM, number, claims) for number in range(9)]
    assert worker.wire.tell("b" * 16, 1, events)
    payloads = [payload for _, payload in worker.nodes.published]
    assert len(payloads) > 1
    assert all(len(payload) <= PAYLOAD_BYTES for payload in payloads)
    assert [event for payload in payloads for event in decode(payload)] == events


def test_what_nobody_can_read_and_own_words() -> None:
    worker = Worker()
    subject = "n.aaaaaaaaaaaaaaaa.0.rooms"
    for payload in (b"", b"\x93", b"no MessagePack", encode([])[:0] + b"\x91\x92\xa5never\xc0"):
        worker.nodes.subscribers[subject](Message(subject, payload))
    assert len(worker.faults) == 4
    worker.hear(subject, Closed(worker.wire.origin, ROOM, 1, 2), Still(worker.wire.origin, ROOM, 2))
    assert len(worker.faults) == 4


def test_a_subscription_too_many() -> None:
    worker = Worker()
    worker.nodes.limit = 1
    worker.nodes.up = False
    worker.town.enter("romeo")
    assert worker.town.rooms.room(ROOM) is not None  # its own people can talk
    assert [type(each) for each in worker.faults] == [SubjectError]

"""Subjects (bus.ports.Bus) over the mesh of one node's workers.

Every worker tells every other which subjects it subscribes to, so that what is published crosses to each worker with
subscribers once, and nobody there is known without asking. Frames (in PUBLISH and REQUEST the subject has its
length, 1 byte, before it):

    SUBJECTS     subjects, a line each     all that this process subscribes to, and no others: the first thing said to a
                                           peer, and to its successor
    SUBSCRIBE    subject                   this one too
    UNSUBSCRIBE  subject                   this one no longer
    PUBLISH      subject · payload
    REQUEST      id 8 · subject · payload
    REPLY        id 8 · payload
    NOBODY       id 8                      the subscription has ended while the request was on its way

    request ─┬─► own subscribers ─┐          first REPLY               ─► bytes
             ├─► worker 1 ────────┼─► asked: all NOBODY, or dead, none ─► NobodyThere
             └─► worker 2 ────────┘          sweep, and the time is over ─► NoAnswer
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING

from megaphone.bus.ports import SUBJECT_LIMIT_BYTES, Limits, Message, NobodyThere, encode_subject
from megaphone.bus.requests import ID_BYTES, Requests, Responder
from megaphone.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.bus.local import LocalBus
    from megaphone.bus.ports import Answer

_LIMIT_BYTES = 4_190_000  # a frame of the mesh has 4 MiB, and there is something beside the payload
_WAITING_OVERHEAD_BYTES = 256  # what a message to our own subscribers takes beside its payload


class SubjectFrame(IntEnum):
    """What a frame is about; other kinds are those of whoever else uses the mesh (embedded.frames)."""

    SUBJECTS = 16
    SUBSCRIBE = 17
    UNSUBSCRIBE = 18
    PUBLISH = 19
    REQUEST = 20
    REPLY = 21
    NOBODY = 22


class LocalSubscription:
    """One subscriber of this worker."""

    __slots__ = ("_subjects", "active", "subject", "subscriber")

    def __init__(self, subjects: Subjects, subject: str, subscriber: Callable[[Message], bytes | None]) -> None:
        self._subjects = subjects
        self.subject = subject
        self.subscriber = subscriber
        self.active = True

    def end(self) -> None:
        """Call the subscriber no more."""
        if self.active:
            self.active = False
            self._subjects.ended(self)


class Subjects:
    """The subjects of one worker; without `bus` it is the only one.

    `later(work)` calls `work` when what is under way has returned; `fault` is told of what subscribers raise. Whoever
    takes the frames of the mesh passes those of SubjectFrame on to `take_frame`, and every `peer_lost`.
    """

    def __init__(
        self,
        bus: LocalBus | None,
        *,
        later: Callable[[Callable[[], None]], object],
        fault: Callable[[Exception], None],
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        if max(self.limits.payload_bytes, self.limits.subscriptions * (SUBJECT_LIMIT_BYTES + 1)) > _LIMIT_BYTES:
            raise ValueError(f"{self.limits} do not fit into a frame of the mesh")
        self._bus = bus
        self._index = bus.index if bus is not None else 0
        self._peers = [peer for peer in range(bus.workers) if peer != bus.index] if bus is not None else []
        self._later = later
        self._fault = fault
        self._own: dict[str, tuple[LocalSubscription, ...]] = {}
        self._subscriptions = 0
        self._theirs: dict[str, set[int]] = {}  # peers with subscribers
        self._untold: set[int] = set()  # peers to which the next sweep says all subjects, there was no room before
        self._requests = Requests(self.limits.requests, fault)
        self._waiting: deque[tuple[int, Callable[[], object]]] = deque()  # bytes, what to do
        self._waiting_bytes = 0
        self._scheduled = False
        self.on_peer_lost: list[Callable[[int], None]] = []
        """Told of the index of a worker whose process is gone, when that is known here."""
        for peer in self._peers:
            self._tell_all(peer)

    # --- the port ------------------------------------------------------------

    def publish(self, subject: str, payload: bytes) -> bool:
        """Bring this to everybody who subscribes; see bus.ports.Bus."""
        encoded = encode_subject(subject)
        if len(payload) > self.limits.payload_bytes:
            return False
        complete = True
        if subscriptions := self._own.get(subject):
            message = Message(subject, payload)
            complete = self._wait(len(payload), lambda: self._deliver(subscriptions, message))
        if peers := self._theirs.get(subject):
            frame = b"%c%b%b" % (len(encoded), encoded, payload)
            for peer in list(peers):
                complete = self._send(peer, SubjectFrame.PUBLISH, frame) and complete
        return complete

    def subscribe(self, subject: str, subscriber: Callable[[Message], bytes | None]) -> LocalSubscription:
        """Call `subscriber` for each message; see bus.ports.Bus."""
        encoded = encode_subject(subject)
        if self._subscriptions >= self.limits.subscriptions:
            raise SubjectError(f"more than {self.limits.subscriptions} subscriptions")
        self._subscriptions += 1
        subscription = LocalSubscription(self, subject, subscriber)
        before = self._own.get(subject, ())
        self._own[subject] = (*before, subscription)
        if not before:
            self._tell(SubjectFrame.SUBSCRIBE, encoded)
        return subscription

    def ended(self, subscription: LocalSubscription) -> None:
        """Take note that a subscription has ended; it says so itself."""
        subject = subscription.subject
        self._subscriptions -= 1
        left = tuple(each for each in self._own[subject] if each is not subscription)
        if left:
            self._own[subject] = left
        else:
            del self._own[subject]
            self._tell(SubjectFrame.UNSUBSCRIBE, encode_subject(subject))

    def request(self, subject: str, payload: bytes, timeout_seconds: float, answered: Callable[[Answer], None]) -> bool:
        """Ask everybody who subscribes; see bus.ports.Bus."""
        encoded = encode_subject(subject)
        if len(payload) > self.limits.payload_bytes:
            return False
        request_id = self._requests.add(timeout_seconds, answered)
        if request_id is None:
            return False
        subscriptions, peers = self._own.get(subject), self._theirs.get(subject)
        if not subscriptions and not peers:
            self._wait(0, lambda: self._requests.answer(request_id, NobodyThere(asked=False)), must=True)
            return True
        if subscriptions and self._wait(
            len(payload), lambda: self._ask(self._index, request_id, subscriptions, Message(subject, payload))
        ):
            self._requests.ask(request_id, self._index)
        if peers:
            frame = b"%b%c%b%b" % (request_id, len(encoded), encoded, payload)
            for peer in list(peers):
                self._requests.ask(request_id, peer)  # first, since sending may show that the peer is lost
                if not self._send(peer, SubjectFrame.REQUEST, frame):
                    self._requests.take_back(request_id, peer)
        return not self._requests.drop_unasked(request_id)

    def sweep(self, now: float) -> None:
        """End the requests whose time is over; called several times a second, `now` in seconds of any steady clock."""
        for peer in list(self._untold):
            self._tell_all(peer)
        self._requests.sweep(now)

    # --- another process goes on ------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether nothing of ours is under way: a request, or something for our own subscribers."""
        return not self._requests and not self._waiting

    def theirs(self) -> list[tuple[str, list[int]]]:
        """Return what the peers subscribe to: subject, peers."""
        return [(subject, sorted(peers)) for subject, peers in self._theirs.items()]

    def restore(self, theirs: list[tuple[str, list[int]]]) -> None:
        """Know what the process before this one knew of its peers; they are told what we subscribe to, as ever."""
        self._theirs = {subject: set(peers) for subject, peers in theirs}

    # --- the mesh ------------------------------------------------------------

    def take_frame(self, peer: int, kind: int, payload: bytes) -> None:
        """Take a frame of another worker. SubjectError if it is none of ours, or cut short."""
        if kind == SubjectFrame.PUBLISH:
            subject, at = _read_subject(payload, 0)
            self._deliver(self._own.get(subject, ()), Message(subject, payload[at:]))
        elif kind == SubjectFrame.REQUEST:
            subject, at = _read_subject(payload, ID_BYTES)
            self._ask(peer, payload[:ID_BYTES], self._own.get(subject, ()), Message(subject, payload[at:]))
        elif kind == SubjectFrame.REPLY:
            if self._requests.asks(payload[:ID_BYTES], peer):
                self._requests.answer(payload[:ID_BYTES], payload[ID_BYTES:])
        elif kind == SubjectFrame.NOBODY:
            self._requests.cannot_answer(payload, peer, maybe_done=False)
        elif kind == SubjectFrame.SUBSCRIBE:
            self._theirs.setdefault(payload.decode(), set()).add(peer)
        elif kind == SubjectFrame.UNSUBSCRIBE:
            self._forget(peer, payload.decode())
        elif kind == SubjectFrame.SUBJECTS:
            self._forget_all(peer)
            for subject in payload.decode().split("\n") if payload else ():
                self._theirs.setdefault(subject, set()).add(peer)
        else:
            raise SubjectError(f"a frame of kind {kind}")

    def peer_lost(self, peer: int) -> None:
        """A worker is gone and answers nothing any more; its successor, which gets what is said next, knows nothing."""
        self._forget_all(peer)
        self._tell_all(peer)
        for request_id in self._requests.asked_of(peer):
            self._wait(0, partial(self._requests.cannot_answer, request_id, peer, maybe_done=True), must=True)
        for told in self.on_peer_lost:
            self._wait(0, partial(told, peer), must=True)

    def _send(self, peer: int, kind: int, payload: bytes, *, must: bool = False) -> bool:
        return self._bus is not None and self._bus.send_frame(peer, kind, payload, must=must)

    def _tell(self, kind: int, subject: bytes) -> None:
        """Say a change to all peers, but those that wait for the whole list anyway."""
        for peer in self._peers:
            if peer not in self._untold and not self._send(peer, kind, subject, must=True):
                self._untold.add(peer)

    def _tell_all(self, peer: int) -> None:
        if self._send(peer, SubjectFrame.SUBJECTS, "\n".join(self._own).encode(), must=True):
            self._untold.discard(peer)
        else:
            self._untold.add(peer)

    def _forget(self, peer: int, subject: str) -> None:
        peers = self._theirs.get(subject)
        if peers is not None:
            peers.discard(peer)
            if not peers:
                del self._theirs[subject]

    def _forget_all(self, peer: int) -> None:
        for subject in [subject for subject, peers in self._theirs.items() if peer in peers]:
            self._forget(peer, subject)

    # --- this worker ------------------------------------------------------------

    def _deliver(self, subscriptions: tuple[LocalSubscription, ...], message: Message) -> bool:
        """Call the subscribers; False if there is none any more. What they raise is told, and answers nothing."""
        anybody = False
        for subscription in subscriptions:
            if subscription.active:
                anybody = True
                try:
                    answer = subscription.subscriber(message)
                    if answer is None or message.reply is None:
                        continue
                    if len(answer) > self.limits.payload_bytes:
                        raise SubjectError(f"an answer of {len(answer)} bytes on {message.subject}")
                    message.reply(answer)
                except Exception as error:  # noqa: BLE001 - one subscriber's trouble must not cost the others
                    self._fault(error)
        return anybody

    def _ask(
        self, peer: int, request_id: bytes, subscriptions: tuple[LocalSubscription, ...], message: Message
    ) -> None:
        """Bring the request of a worker, which may be this one, to the subscribers here."""
        responder = Responder(lambda payload: self._respond(peer, request_id, payload))
        if self._deliver(subscriptions, Message(message.subject, message.payload, responder)):
            return
        if peer == self._index:
            self._requests.cannot_answer(request_id, peer, maybe_done=False)
        else:
            self._send(peer, SubjectFrame.NOBODY, request_id, must=True)

    def _respond(self, peer: int, request_id: bytes, payload: bytes) -> bool:
        if len(payload) > self.limits.payload_bytes:
            return False
        if peer != self._index:
            return self._send(peer, SubjectFrame.REPLY, request_id + payload)
        return request_id in self._requests and self._wait(
            len(payload), lambda: self._requests.answer(request_id, payload)
        )

    def _wait(self, size: int, work: Callable[[], object], *, must: bool = False) -> bool:
        """Do this when what is under way has returned; False if too much waits already."""
        size += _WAITING_OVERHEAD_BYTES
        if self._waiting_bytes + size > self.limits.own_bytes and not must:
            return False
        self._waiting.append((size, work))
        self._waiting_bytes += size
        self._schedule()
        return True

    def _schedule(self) -> None:
        if self._waiting and not self._scheduled:
            self._scheduled = True
            self._later(self._work_off)

    def _work_off(self) -> None:
        """Do what waits now; what comes of it has its turn after others."""
        for _ in range(len(self._waiting)):
            size, work = self._waiting.popleft()
            self._waiting_bytes -= size
            work()
        self._scheduled = False
        self._schedule()


def _read_subject(payload: bytes, at: int) -> tuple[str, int]:
    """Return the subject of a frame, and where it ends."""
    end = at + 1 + payload[at] if at < len(payload) else 0
    if not at < end <= len(payload):
        raise SubjectError("a frame that is cut short")
    return payload[at + 1 : end].decode(), end

"""Subjects (bus.ports.Bus) over NATS core publish/subscribe: what the nodes of a cluster say to each other.

All subjects of a cluster have its prefix, so that several may share one NATS:

    mp.<cluster>.s.<subject>          what is published, and requests
    mp.<cluster>.r.<process>.<id>     answers to the requests of one process

Own subscribers hear through the server too, so that its "no responders" speaks for all. Nothing is kept for anybody: a
subscriber that takes too little is hung up on by the server (Slow Consumer) and told so like any lost connection, and
the others go on. While there is no connection, `publish` and `request` return False; requests that were under way when
it was lost end with NobodyThere(asked=True). Who must know everything syncs when `on_change` says that it is up again.
"""

from __future__ import annotations

import asyncio
import os
from functools import partial
from typing import TYPE_CHECKING

from megaphone.bus.nats_access import check_cluster
from megaphone.bus.nats_connection import Connection, Pace
from megaphone.bus.ports import Limits, Message, encode_subject
from megaphone.bus.requests import Requests, Responder
from megaphone.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.bus.nats_access import Access
    from megaphone.bus.nats_wire import Delivery
    from megaphone.bus.ports import Answer

SWEEP_SECONDS = 0.125

_NOBODY = 503  # "no responders": nobody subscribes to what was asked
_SERVER = 0  # of whom a request is asked: one server, which asks all subscribers


class NATSSubscription:
    """One subscriber of this process."""

    __slots__ = ("_interest", "active", "subscriber")

    def __init__(self, interest: _Interest, subscriber: Callable[[Message], bytes | None]) -> None:
        self._interest = interest
        self.subscriber = subscriber
        self.active = True

    def end(self) -> None:
        """Call the subscriber no more."""
        if self.active:
            self.active = False
            self._interest.ended(self)


class _Interest:
    """All subscribers of this process to one subject: one subscription of the server's."""

    __slots__ = ("_bus", "sid", "subject", "subscriptions")

    def __init__(self, bus: NATSBus, subject: str) -> None:
        self._bus = bus
        self.subject = subject
        self.subscriptions: tuple[NATSSubscription, ...] = ()
        self.sid = 0

    def take(self, delivery: Delivery) -> None:
        """Bring one message to all of them."""
        self._bus.deliver(self, delivery)

    def ended(self, subscription: NATSSubscription) -> None:
        """Take note that one of them has ended."""
        self.subscriptions = tuple(each for each in self.subscriptions if each is not subscription)
        self._bus.ended(self)


class NATSBus:
    """The bus of one process to all processes of a cluster.

    `fault` is told of what subscribers raise and the server complains about; `on_change(up, text)` of each connection
    (text: the server) and each loss (text: why). `clock` is any steady clock, in seconds.
    """

    def __init__(
        self,
        access: Access,
        cluster: str,
        *,
        fault: Callable[[Exception], None],
        on_change: Callable[[bool, str], None] | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] | None = None,
        pace: Pace | None = None,
        name: str = "megaphone",
    ) -> None:
        self.limits = limits or Limits()
        self.cluster = check_cluster(cluster)
        self.prefix = b"mp.%b." % cluster.encode()
        self.connection = Connection(
            access,
            payload_bytes=self.limits.payload_bytes,
            waiting_bytes=self.limits.own_bytes,
            fault=fault,
            name=name,
            pace=pace,
        )
        self._fault = fault
        self._clock = clock
        self._interests: dict[str, _Interest] = {}
        self._subscriptions = 0
        self._requests = Requests(self.limits.requests, fault)
        self._inbox = b"%br.%b." % (self.prefix, os.urandom(8).hex().encode())
        self._sweeping: asyncio.TimerHandle | None = None
        self.connection.subscribe(self._inbox + b"*", self._take_answer)
        self.connection.listeners.append(self._changed)
        if on_change is not None:
            self.connection.listeners.append(on_change)

    # --- the life of it ------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether a server is there."""
        return self.connection.up

    async def open(self) -> None:
        """Connect, and stay so. BusRefusedError if we are not let in, BusUnreachableError if there is no server."""
        await self.connection.open()
        self._sweep_on()

    def start(self) -> None:
        """Connect as soon as a server takes us, and stay so; until then all is refused."""
        self.connection.start()
        self._sweep_on()

    async def close(self) -> None:
        """Say what waits and hang up; requests under way end with NobodyThere(asked=True)."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        await self.connection.close()

    def abort(self) -> None:
        """End at once, as the death of the process would; for tests."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        self.connection.listeners.clear()
        self.connection.abort()

    async def round_trip(self) -> None:
        """Return when the server knows all that was said and subscribed to before. BusError if it is lost."""
        await self.connection.round_trip()

    def _sweep_on(self) -> None:
        loop = asyncio.get_running_loop()
        self.sweep((self._clock or loop.time)())
        self._sweeping = loop.call_later(SWEEP_SECONDS, self._sweep_on)

    # --- the port ------------------------------------------------------------

    def publish(self, subject: str, payload: bytes) -> bool:
        """Bring this to everybody who subscribes; see bus.ports.Bus. False while there is no connection."""
        return self.connection.publish(b"%bs.%b" % (self.prefix, encode_subject(subject)), payload)

    def subscribe(self, subject: str, subscriber: Callable[[Message], bytes | None]) -> NATSSubscription:
        """Call `subscriber` for each message; see bus.ports.Bus. It holds across connections."""
        encoded = encode_subject(subject)
        if self._subscriptions >= self.limits.subscriptions:
            raise SubjectError(f"more than {self.limits.subscriptions} subscriptions")
        self._subscriptions += 1
        interest = self._interests.get(subject)
        if interest is None:
            interest = self._interests[subject] = _Interest(self, subject)
            interest.sid = self.connection.subscribe(b"%bs.%b" % (self.prefix, encoded), interest.take)
        subscription = NATSSubscription(interest, subscriber)
        interest.subscriptions = (*interest.subscriptions, subscription)
        return subscription

    def ended(self, interest: _Interest) -> None:
        """Take note that a subscription to this subject has ended; it says so itself."""
        self._subscriptions -= 1
        if not interest.subscriptions:
            del self._interests[interest.subject]
            self.connection.unsubscribe(interest.sid)

    def request(self, subject: str, payload: bytes, timeout_seconds: float, answered: Callable[[Answer], None]) -> bool:
        """Ask everybody who subscribes; see bus.ports.Bus. False while there is no connection."""
        encoded = encode_subject(subject)
        if len(payload) > self.limits.payload_bytes:
            return False
        request_id = self._requests.add(timeout_seconds, answered)
        if request_id is None:
            return False
        inbox = self._inbox + request_id.hex().encode()
        if self.connection.publish(b"%bs.%b" % (self.prefix, encoded), payload, inbox):
            self._requests.ask(request_id, _SERVER)
        return not self._requests.drop_unasked(request_id)

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return not self._requests

    def sweep(self, now: float) -> None:
        """End the requests whose time is over; `open` sees to it."""
        self._requests.sweep(now)

    # --- what is heard ------------------------------------------------------------

    def _respond(self, inbox: bytes, payload: bytes) -> bool:
        return len(payload) <= self.limits.payload_bytes and self.connection.publish(inbox, payload)

    def deliver(self, interest: _Interest, delivery: Delivery) -> None:
        """Call the subscribers to one subject. What they raise is told, and answers nothing."""
        self._deliver(interest, delivery.payload, delivery.reply)

    def deliver_to(self, subject: str, payload: bytes, inbox: bytes = b"") -> None:
        """Call the subscribers here, as if this had come; an answer goes to `inbox`."""
        interest = self._interests.get(subject)
        if interest is not None:
            self._deliver(interest, payload, inbox)

    def _deliver(self, interest: _Interest, payload: bytes, inbox: bytes) -> None:
        reply = Responder(partial(self._respond, inbox)) if inbox else None
        message = Message(interest.subject, payload, reply, inbox)
        for subscription in interest.subscriptions:
            if subscription.active:
                try:
                    answer = subscription.subscriber(message)
                    if answer is None or reply is None:
                        continue
                    if len(answer) > self.limits.payload_bytes:
                        raise SubjectError(f"an answer of {len(answer)} bytes on {message.subject}")
                    reply(answer)
                except Exception as error:  # noqa: BLE001 - one subscriber's trouble must not cost the others
                    self._fault(error)

    def _take_answer(self, delivery: Delivery) -> None:
        try:
            request_id = bytes.fromhex(delivery.subject[len(self._inbox) :].decode())
        except ValueError:
            return  # somebody's word to an inbox that was never given out
        if delivery.status == _NOBODY:
            self._requests.cannot_answer(request_id, _SERVER, maybe_done=False)
        elif self._requests.asks(request_id, _SERVER):
            self._requests.answer(request_id, delivery.payload)

    def _changed(self, up: bool, _: str) -> None:
        if not up:
            for request_id in self._requests.asked_of(_SERVER):
                self.connection.loop.call_soon(self._gone, request_id)

    def _gone(self, request_id: bytes) -> None:
        self._requests.cannot_answer(request_id, _SERVER, maybe_done=True)

"""A conversation of two replicas: messages in, messages out, until both have the same entries, and on from there.

Theory of operation. Each entry has its number in its origin's feed, and each feed is a chain of hashes. So a replica
says nearly all it has by the last number of each feed ("heads"), and what it lacks it mostly knows itself: gaps between
the spans of a feed. A digest (count and sum of all ids) tells whether that is the whole truth.

    A                                                       B
    │  Heads: room, digest, how far in each feed             │
    ├───────────────────────────────────────────────────────►│  the digest is B's own            ─► Same
    │                                                        │  A is behind in some feeds        ─► Batches, B's digest
    │                                                        │  B is behind, or has gaps         ─► Batches, Get
    │                                                        │  neither, and yet another digest  ─► Symbols (or Days)
    │  Batches: entries, the last of each feed first         │
    │◄───────────────────────────────────────────────────────┤
    │  the digest is A's own: settled, nothing more is said  │
    │  gaps are left: Get, Batches, …, Same                  │
    │  neither, and yet another digest: Heads again          │

    A                                                       B        forks, which heads do not tell
    │  Heads ──────────────────────────────────────────────► │
    │ ◄───────────────── Symbols: 360 sums of ids (riblt.pyx) │
    │  Batches: what only A has; Want: what only B has ─────► │  finds the fork, has the proof
    │ ◄─────────────────────────────────────── Proofs, Batches│
    │  Same ───────────────────────────────────────────────► │

A room that is empty here begins with `Interested`: the answer is the newest page and all heads (`Info`), and the rest
is asked for page by page, newest first. What is new afterwards is pushed. The replica with the lower key speaks first;
the other speaks of rooms that were not mentioned. Proofs of forks are told to whoever has none, or a worse one.

Nothing is lost by a message that is lost, comes twice or out of order: whoever waits for an answer asks again, a gap
is asked for, and after changes digests are compared again (`RECHECK_MS`). What goes with each state is in
sync_topic.py, which message is heeded in which of them in sync_exchange.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from megaphone.errors import HistoryError
from megaphone.history import batch as batches
from megaphone.history import digest as digests
from megaphone.history.clock import day
from megaphone.history.messages import (
    REF_BYTES,
    End,
    Heads,
    Info,
    Interested,
    ManifestOf,
    Message,
    Push,
    Unknown,
)
from megaphone.history.messages_codec import decode, encode
from megaphone.history.sync_answers import parts
from megaphone.history.sync_budget import Budget
from megaphone.history.sync_exchange import ANSWER_MS, Answer, Exchange
from megaphone.history.sync_topic import WAITING, State, Topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.history.batch import Batch
    from megaphone.history.entry import Origin
    from megaphone.history.log import Log
    from megaphone.history.manifest import RoomID
    from megaphone.history.replica import Replica

RECHECK_MS: Final = 60_000
"""After a change, until digests are compared although nothing speaks against their being the same."""
HOLD_MS: Final = 300
"""How long a gap is left to fill itself."""
SEEK_MS: Final = 30_000
"""Until a peer is asked again for a room whose manifest is not known."""
OFFERS: Final = 64
"""Rooms spoken of in one tick, of those that have come since."""


class Conversation:
    """With one peer that is connected. Messages are whole: the transport frames them.

    After `closed` says why, nothing is said or heard any more, and the connection is to be closed. Times are
    milliseconds since 1970. `tick` wants to be called about once a second. `offers` says of which rooms we speak to
    this peer; of others it may speak to us.
    """

    def __init__(self, replica: Replica, peer: Origin, offers: Callable[[Log], bool] = lambda _: True) -> None:
        self.replica = replica
        self.peer = peer
        self._offers = offers
        self.closed = ""
        """Why it has ended: a word of `Refusal`, and what was wrong; empty while it goes on."""
        self._exchanges: dict[bytes, Exchange] = {}
        self._budget = Budget()
        self._begun = False
        self._start_ms = 0
        self._seek_ms = 0

    def start(self, now_ms: int) -> list[bytes]:
        """Begin, when the connection stands; both do so."""
        self._start_ms = now_ms
        if self.replica.origin >= self.peer:
            return []
        self._begun = True
        said = self._seek(now_ms)
        offered = [room for room, log in self.replica.logs.items() if self._offers(log)]
        exchanges = [exchange for room in offered if (exchange := self._exchange(room)) is not None]
        exchanges.sort(key=lambda exchange: exchange.topic.digest().entries)
        for exchange in exchanges:
            is_end = exchange is exchanges[-1] and exchange.topic.digest().entries > 0
            said += exchange.offer(now_ms, is_end=is_end)
        if not said or not isinstance(said[-1], Heads):
            said.append(End())
        return self._sent(said)

    def receive(self, data: bytes, now_ms: int) -> list[bytes]:
        """Return what is said to a message. One that is a lie, or none at all, ends the conversation."""
        if self.closed:
            return []
        try:
            return self._sent(self._hear(decode(data), now_ms))
        except HistoryError as error:
            self.closed = str(error)
            self._exchanges.clear()
            return []

    def push(self, batch: Batch) -> list[bytes]:
        """Tell the peer a batch that is new, if it is interested in the room."""
        exchange = self._exchanges.get(batch.room[:REF_BYTES])
        if exchange is None or not exchange.topic.is_interested or exchange.topic.room != batch.room:
            return []
        topic = exchange.topic
        topic.is_live = True
        if topic.agreed is not None:
            ids = batches.ids(batch)
            counting = [id_ for id_, each in zip(ids, batch.entries, strict=True) if day(each.clock) >= topic.window]
            topic.agreed = topic.agreed.plus(digests.of(counting))
        return self._sent([Push(batches.encode(part)) for part in parts(batch)])

    def tick(self, now_ms: int) -> list[bytes]:
        """Return what is to be said because time has passed."""
        if self.closed:
            return []
        self._begun = self._begun or now_ms - self._start_ms >= ANSWER_MS
        said = self._offer_others(now_ms) if self._begun else []
        if self._begun and self.replica.sought and now_ms >= self._seek_ms:
            said += self._seek(now_ms)
        for exchange in list(self._exchanges.values()):
            if self._is_open(exchange.topic):
                said += self._revisit(exchange, now_ms)
            else:
                del self._exchanges[exchange.topic.ref]
        return self._sent(said)

    def offer(self, room: RoomID, now_ms: int) -> list[bytes]:
        """Speak of an open room, if nothing is under way about it: it has just been opened here."""
        exchange = self._exchange(room)
        if self.closed or not self._begun or exchange is None or exchange.topic.state in WAITING:
            return []
        return self._sent(exchange.offer(now_ms))

    def is_busy(self, room: RoomID) -> bool:
        """Tell whether an answer about a room is waited for."""
        exchange = self._exchanges.get(room[:REF_BYTES])
        return exchange is not None and exchange.topic.state in WAITING

    def is_settled(self, room: RoomID) -> bool:
        """Tell whether both have the same of a room, as far as we know."""
        exchange = self._exchanges.get(room[:REF_BYTES])
        if exchange is None or exchange.topic.state is not State.SETTLED:
            return False
        return exchange.topic.agreed == exchange.topic.digest()

    def _hear(self, message: Message, now_ms: int) -> Answer:
        match message:
            case End():
                return self._peer_has_begun(now_ms)
            case ManifestOf():
                return self._on_manifest(message, now_ms)
            case Push():
                return self._on_push(message, now_ms)
            case Heads() | Interested() | Info():
                exchange = self._exchange(message.room)
                if exchange is None:
                    said: Answer = [] if isinstance(message, Info) else [Unknown(message.room[:REF_BYTES])]
                else:
                    said = exchange.hear(message, now_ms)
                return said + (self._peer_has_begun(now_ms) if isinstance(message, Heads) and message.is_end else [])
            case _:
                known = self._exchanges.get(message.ref)
                return known.hear(message, now_ms) if known is not None and self._is_open(known.topic) else []

    def _on_push(self, message: Push, now_ms: int) -> Answer:
        """Take a batch that is new to the peer; others may want to hear of it too."""
        batch = batches.decode(message.batch)
        exchange = self._exchange(batch.room)
        if exchange is not None:
            exchange.topic.is_live = True
            if exchange.accept(batch, now_ms):
                self.replica.on_batch(batch, self.peer)
        return []

    def _on_manifest(self, message: ManifestOf, now_ms: int) -> Answer:
        """Open a room that was looked for."""
        room = message.manifest.id
        if room in self.replica.sought:
            self.replica.open(message.manifest, self.replica.sought[room])
            exchange = self._exchange(room)
            if exchange is not None:
                exchange.topic.state = State.OFFERED
                exchange.topic.due_ms = now_ms + ANSWER_MS
        return []

    def _peer_has_begun(self, now_ms: int) -> Answer:
        """Speak of the rooms that the peer has not mentioned."""
        self._begun = True
        return self._seek(now_ms) + self._offer_others(now_ms)

    def _offer_others(self, now_ms: int) -> Answer:
        """Speak of some of the rooms that have not been mentioned yet."""
        said: Answer = []
        count = 0
        for room, log in self.replica.logs.items():
            known = self._exchanges.get(room[:REF_BYTES])
            if (known is not None and known.topic.log is log and known.topic.state is not State.NEW) or (
                not self._offers(log)
            ):
                continue
            exchange = self._exchange(room)
            if exchange is not None and exchange.topic.state is State.NEW:
                said += exchange.offer(now_ms)
                count += 1
                if count == OFFERS:
                    break
        return said

    def _seek(self, now_ms: int) -> Answer:
        """Ask for the rooms whose manifest is looked for."""
        self._seek_ms = now_ms + SEEK_MS
        return [Interested(room, from_day, True) for room, from_day in self.replica.sought.items()]

    def _revisit(self, exchange: Exchange, now_ms: int) -> Answer:
        """Do what time has brought about in one room."""
        topic = exchange.topic
        if topic.state in WAITING:
            return exchange.offer(now_ms) if now_ms >= topic.due_ms else []
        if topic.state is not State.SETTLED or not topic.is_interested:
            return []
        said = exchange.proofs()
        if topic.gap_since_ms is not None and now_ms - topic.gap_since_ms >= HOLD_MS:
            topic.gap_since_ms = None
            said += exchange.pull(now_ms)
        if topic.state is State.SETTLED and self._is_due(topic, now_ms):
            said += exchange.offer(now_ms)
        return said

    def _is_due(self, topic: Topic, now_ms: int) -> bool:
        """Tell whether digests are to be compared."""
        if now_ms < topic.due_ms:
            return False
        if topic.agreed is None:
            return True
        version = self.replica.version(topic.room)
        if version != topic.seen_version:
            topic.seen_version = version
            if topic.digest() != topic.agreed:
                return True
        if version == topic.confirmed_version:
            topic.recheck_ms = None
            return False
        if topic.recheck_ms is None:
            topic.recheck_ms = now_ms + RECHECK_MS
        return now_ms >= topic.recheck_ms

    def _exchange(self, room: RoomID) -> Exchange | None:
        """Return that about an open room; None if it is not open, or if it cannot be told from another one."""
        ref = room[:REF_BYTES]
        exchange = self._exchanges.get(ref)
        if exchange is not None and not self._is_open(exchange.topic):
            exchange = None
        if exchange is None and room not in self.replica.logs:
            self.replica.on_asked(room)
        if exchange is None and room in self.replica.logs:
            exchange = self._exchanges[ref] = Exchange(Topic(self.replica, room), self.peer, self._budget)
        return exchange if exchange is not None and exchange.topic.room == room else None

    def _is_open(self, topic: Topic) -> bool:
        """Tell whether a topic's room is still the one that it was."""
        return self.replica.logs.get(topic.room) is topic.log

    def _sent(self, said: Answer) -> list[bytes]:
        return [encode(message) for message in said]

"""Reads all keys of a bucket at the reader's pace: first as they are, then every change, in the order of revisions.

For a bucket too large to be pushed (bus.keys_watch): an ephemeral consumer gives as many changes as are asked for, so
that no more than that is ever on its way or in memory.

    open ─► ask for 256 ─► they come, as soon as they are there ─► taken ─► ask for the next ...
                └─► a gap, a silence, another connection, no such consumer or bucket ─► BusError: open another
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from megaphone.bus.keys import Change, Keys, is_deleted, new_name
from megaphone.bus.keys_watch import read_position
from megaphone.errors import BusError, BusUnreachableError, KeysError

if TYPE_CHECKING:
    from megaphone.bus.nats_wire import Delivery

BATCH = 256
BATCH_BYTES = 4_194_304
GATHER_SECONDS = 0.01  # how long the first change of a batch waits for others
_EXPIRES_SECONDS = 10.0  # of one request
_FORGOTTEN_SECONDS = 60  # after which the store drops a consumer that nobody asks
_NANOSECONDS = 1_000_000_000
_HEARTBEAT = 100
_TIMEOUT = 408
_CONFLICT = 409
_REQUEST_ENDS = (b"batch completed", b"exceeds maxbytes", b"maxbytes")  # 409s after which the consumer is still there


class Reading:
    """One reading of a bucket, or of what was written after a revision.

    `heartbeat_seconds`, at least 0.1: a store that is silent for three of them is gone.
    """

    def __init__(self, keys: Keys, *, after: int = 0, batch: int = BATCH, heartbeat_seconds: float = 1.0) -> None:
        self.pending: int | None = None
        """How many changes the store had still to give behind the last one that was taken; None: not known yet."""
        self._keys = keys
        self._after = after
        self._batch = batch
        self._heartbeat_seconds = heartbeat_seconds
        self._name = new_name()
        self._subject = keys.delivery_prefix + self._name.encode()
        self._sid = 0
        self._taken: list[Change] = []
        self._asked = 0  # how many changes of the request under way have not come yet
        self._last = 0  # number of the consumer's last message
        self._pending = 0
        self._trouble: BusError | None = None
        self._something = asyncio.Event()

    async def open(self) -> None:
        """Begin; BusError if that cannot be, BucketMissingError if there is no bucket."""
        self._sid = self._keys.connection.subscribe(self._subject, self._take)
        self._keys.connection.listeners.append(self._changed)
        # a key has one message in the bucket, its last
        begins = {"deliver_policy": "by_start_sequence", "opt_start_seq": self._after + 1}
        config = begins if self._after else {"deliver_policy": "all"}
        forgotten = {"inactive_threshold": _FORGOTTEN_SECONDS * _NANOSECONDS}
        if not await self._keys.create_consumer(self._name, config | forgotten):
            self.pending = 0

    async def next(self) -> list[Change]:
        """Return the next changes, at most `batch`, when there are some; BusError if any may have been missed."""
        while not self._taken:
            self._check()
            if not self._asked:
                self._ask()
            self._something.clear()
            try:
                async with asyncio.timeout(3 * self._heartbeat_seconds):
                    await self._something.wait()
            except TimeoutError:
                raise BusUnreachableError("nothing is heard of the store") from None
        if self._asked:
            await asyncio.sleep(GATHER_SECONDS)
        self._check()
        changes, self._taken = self._taken, []
        self.pending = self._pending
        return changes

    async def close(self) -> None:
        """End it."""
        self._keys.connection.unsubscribe(self._sid)
        if self._changed in self._keys.connection.listeners:
            self._keys.connection.listeners.remove(self._changed)
        await self._keys.delete_consumer(self._name)

    def _check(self) -> None:
        if self._trouble is not None:
            raise self._trouble

    def _ask(self) -> None:
        request = {
            "batch": self._batch,
            "max_bytes": BATCH_BYTES,
            "expires": int(_EXPIRES_SECONDS * _NANOSECONDS),
            "idle_heartbeat": int(self._heartbeat_seconds * _NANOSECONDS),
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._keys.stream}.{self._name}"
        if not self._keys.connection.publish(subject.encode(), msgspec.json.encode(request), self._subject):
            raise BusUnreachableError(self._keys.connection.trouble or "too much waits for NATS already")
        self._asked = self._batch

    def _take(self, delivery: Delivery) -> None:
        self._something.set()
        status = delivery.status
        if status == _HEARTBEAT:
            return
        if status:
            self._asked = 0
            said = delivery.headers.lower()
            ended = status == _TIMEOUT or (status == _CONFLICT and any(word in said for word in _REQUEST_ENDS))
            if not ended:
                self._trouble = KeysError(f"the store ended the reading: {delivery.headers[:80]!r}", status)
            return
        number, revision, pending = read_position(delivery.reply)
        if number != self._last + 1:
            self._trouble = KeysError("a change was missed")
            return
        self._last = number
        self._asked -= 1
        self._pending = pending
        key = delivery.subject.decode("utf-8", "replace").removeprefix(self._keys.prefix)
        value, note = (None, delivery.payload) if is_deleted(delivery) else (delivery.payload, b"")
        self._taken.append(Change(key, value, revision, note))

    def _changed(self, up: bool, text: str) -> None:
        self._trouble = self._trouble or BusUnreachableError("the connection is new" if up else text)
        self._something.set()

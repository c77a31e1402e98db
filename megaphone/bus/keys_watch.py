"""Watches all keys of a bucket: first as they are, then as they change, in order; from the beginning when in doubt.

Of several changes of one key in quick succession the last is told for certain: the store keeps no other.

A watch is an ephemeral consumer that pushes. Its messages are numbered, and heartbeats come when there is nothing to
say: a gap or a silence means that something was missed, or that consumer or bucket is gone, and the watch begins anew.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from megaphone.bus.keys import Change, Keys, is_deleted, new_name
from megaphone.errors import BucketMissingError, BusError, KeysError

if TYPE_CHECKING:
    from megaphone.bus.nats_wire import Delivery

_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
_SILENT_HEARTBEATS = 3
_HEARTBEAT_STATUS = 100
_NANOSECONDS = 1_000_000_000


class WatchTaker(Protocol):
    """Who is told what a watch sees; called from the loop."""

    def began(self) -> None:
        """All keys are said from the beginning: the first time, and after something may have been missed."""

    def changed(self, change: Change) -> None:
        """One key is so."""

    def current(self) -> None:
        """All that was there when the watch began has been said."""

    def interrupted(self, reason: str) -> None:
        """Changes may be missed from now on, until `began`."""


class Watch:
    """A watch of a bucket, which it makes if it is not there; `heartbeat_seconds` at least 0.1."""

    def __init__(self, keys: Keys, taker: WatchTaker, *, heartbeat_seconds: float = 1.0) -> None:
        self._keys = keys
        self._taker = taker
        self._heartbeat_seconds = heartbeat_seconds
        self._again = asyncio.Event()
        self._reason = ""
        self._heard = 0.0  # when the consumer said something, by the loop's clock
        self._last = 0  # number of its last message
        self._is_current = False
        self._sid = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._keys.connection.listeners.append(self._connection_changed)
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End it; nothing is told any more."""
        if self._connection_changed in self._keys.connection.listeners:
            self._keys.connection.listeners.remove(self._connection_changed)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        pause = _PAUSE_SECONDS
        while True:
            try:
                if await self._follow():
                    pause = _PAUSE_SECONDS
            except BucketMissingError as error:
                self._reason = str(error)
                with contextlib.suppress(BusError):
                    await self._keys.create_bucket()
            except BusError as error:
                self._reason = str(error)
            self._taker.interrupted(self._reason)
            self._again.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._again.wait()
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _follow(self) -> bool:
        """Watch until something may have been missed; whether it got so far that all had been said."""
        name = new_name()
        subject = self._keys.delivery_prefix + name.encode()
        loop = asyncio.get_running_loop()
        self._again.clear()
        self._last = 0
        self._is_current = False
        self._heard = loop.time()
        self._taker.began()
        sid = self._sid = self._keys.connection.subscribe(subject, lambda delivery: self._take(sid, delivery))
        try:
            config = {
                "deliver_subject": subject.decode(),
                "deliver_policy": "last_per_subject",
                "idle_heartbeat": int(self._heartbeat_seconds * _NANOSECONDS),
                "inactive_threshold": 30 * _NANOSECONDS,
            }
            if not await self._keys.create_consumer(name, config) and self._last == 0:
                self._now_current()
            await self._until_in_doubt()
        finally:
            self._keys.connection.unsubscribe(sid)
            self._sid = 0
        await self._keys.delete_consumer(name)
        return self._is_current

    async def _until_in_doubt(self) -> None:
        loop = asyncio.get_running_loop()
        silence = _SILENT_HEARTBEATS * self._heartbeat_seconds
        while not self._again.is_set():
            left = self._heard + silence - loop.time()
            if left <= 0:
                self._reason = f"nothing was heard of the store for {silence:g} s"
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._again.wait()

    def _take(self, sid: int, delivery: Delivery) -> None:
        if sid != self._sid:
            return
        self._heard = asyncio.get_running_loop().time()
        if delivery.status:
            last = delivery.fields.get("Nats-Last-Consumer", "")
            if delivery.status != _HEARTBEAT_STATUS:
                self._doubt(f"the store ended the watch: {delivery.headers[:80]!r}")
            elif last.isdigit() and int(last) != self._last:
                self._doubt("a change was missed")
            return
        number, revision, pending = read_position(delivery.reply)
        if number != self._last + 1:
            self._doubt("a change was missed")
            return
        self._last = number
        key = delivery.subject.decode("utf-8", "replace").removeprefix(self._keys.prefix)
        if is_deleted(delivery):
            self._taker.changed(Change(key, None, revision, delivery.payload))
        else:
            self._taker.changed(Change(key, delivery.payload, revision))
        if pending == 0:
            self._now_current()

    def _now_current(self) -> None:
        if not self._is_current:
            self._is_current = True
            self._taker.current()

    def _doubt(self, reason: str) -> None:
        self._reason = reason
        self._again.set()

    def _connection_changed(self, up: bool, text: str) -> None:
        self._doubt("the connection is new" if up else text)


def read_position(reply: bytes) -> tuple[int, int, int]:
    """Read number, revision and how many are still to come from the reply subject of a consumer's message.

    `$JS.ACK.[domain.account hash.]stream.consumer.delivered.revision.number.time.pending[.random]`
    """
    words = reply.split(b".")
    at = 2 if len(words) == 9 else 4
    try:
        return int(words[at + 4]), int(words[at + 3]), int(words[at + 6])
    except (IndexError, ValueError):
        raise KeysError(f"the store sends a message without its place: {reply[:120]!r}") from None

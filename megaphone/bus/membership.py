"""This node as a member of a cluster: its own key with a lease, said again and again; and the view of all (members).

There is no list that anybody overwrites: each node writes its own key, named by its node key, and nothing else. So
joins and leaves cannot lose each other, and a store that was deleted or rolled back is whole again as soon as everybody
has said its key again.

    put(own key, at our last revision) ─► done: again after a third of the lease
        │ wrong revision ─► get ─► ours of before, gone, or of an earlier start of this node ─► put at that revision
        │                     └─► a later start of this node ─► replaced: we say no more, and tell
        │ no such bucket ─► make it ─► put
        └ no answer ─► again soon

The other workers of a node look on: they say nothing, and see the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, ParamSpec

import msgspec

from megaphone.bus.keys import Keys
from megaphone.bus.keys_watch import Watch
from megaphone.bus.members import Member, View, decode_member, encode_member
from megaphone.errors import BucketMissingError, BusError, BusUnreachableError, KeysError, WrongRevisionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from megaphone.bus.keys import Change
    from megaphone.bus.nats import NATSBus

_P = ParamSpec("_P")

TICK_SECONDS = 0.2
RENEWALS_PER_LEASE = 3
OPEN_SECONDS = 20.0
_AGAIN_SECONDS = 0.5  # after a renewal that failed


def bucket_of(bus: NATSBus) -> str:
    """Return the name of the bucket of a cluster's nodes."""
    return f"mp-{bus.cluster}-nodes"


class Onlooker:
    """Sees who is in the cluster of `bus`, and says nothing: its nodes are the keys of the bucket `mp-<cluster>-nodes`.

    `own_key` is that of the node it belongs to. `joined`, `left` and `changed` (was, is) are told of every node;
    `fault` gets the rest.
    """

    def __init__(
        self,
        bus: NATSBus,
        *,
        own_key: str,
        lease_seconds: int,
        joined: Callable[[Member], None],
        left: Callable[[Member], None],
        changed: Callable[[Member, Member], None],
        fault: Callable[[Exception], None],
        timeout_seconds: float = 5.0,
    ) -> None:
        self.view = View(joined=self._told(joined), left=self._told(left), changed=self._told(changed), own=own_key)
        self.keys = Keys(bus.connection, bus.prefix, bucket_of(bus), timeout_seconds=timeout_seconds)
        self._fault = fault
        self._watch = Watch(self.keys, self, heartbeat_seconds=min(1.0, lease_seconds / 8))
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def members(self) -> Mapping[str, Member]:
        """The members by key, as far as this node knows."""
        return self.view.members

    def start(self) -> None:
        """See them as soon as the store can be reached, from now on."""
        self._watch.start()
        self._tasks = [asyncio.create_task(self._tick())]

    async def close(self) -> None:
        """See nothing any more."""
        await self._stop()
        self.keys.close()

    async def abort(self) -> None:
        """End without a word, as the death of the process would."""
        await self._stop()
        self.keys.close()

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._watch.close()

    # --- what the watch tells ------------------------------------------------------------

    def began(self) -> None:
        """The watch begins."""

    def changed(self, change: Change) -> None:
        """A key is so."""
        if change.value is None:
            self.view.leave(change.key, change.note)
        else:
            try:
                self.view.take(change.key, change.value, asyncio.get_running_loop().time())
            except KeysError as error:
                self._fault(error)

    def current(self) -> None:
        """All has been said."""
        self.view.hear(True, asyncio.get_running_loop().time())

    def interrupted(self, reason: str) -> None:
        """The store cannot be heard for now."""
        self.view.hear(False, asyncio.get_running_loop().time())

    # --- the view ------------------------------------------------------------

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.view.tick(loop.time())
            await asyncio.sleep(TICK_SECONDS)

    def _told(self, callback: Callable[_P, None]) -> Callable[_P, None]:
        def tell(*args: _P.args, **kwargs: _P.kwargs) -> None:
            try:
                callback(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - the trouble of who is told is not the view's
                self._fault(error)

        return tell


class Membership(Onlooker):
    """The membership of `own` in the cluster of `bus`.

    `joined`, `left` and `changed` are told of every node, this one included; `replaced` when the same node was started
    elsewhere: two processes have one node key, and this one is no member any more.
    """

    def __init__(
        self,
        bus: NATSBus,
        own: Member,
        *,
        joined: Callable[[Member], None],
        left: Callable[[Member], None],
        changed: Callable[[Member, Member], None],
        replaced: Callable[[Member], None],
        fault: Callable[[Exception], None],
        timeout_seconds: float = 5.0,
        replicas: int = 1,
    ) -> None:
        super().__init__(
            bus,
            own_key=own.key,
            lease_seconds=own.lease_seconds,
            joined=joined,
            left=left,
            changed=changed,
            fault=fault,
            timeout_seconds=timeout_seconds,
        )
        self.own = own
        self.replaced = False
        self._replicas = replicas
        self._on_replaced = self._told(replaced)
        self._revision: int | None = None
        self._say = asyncio.Event()
        self._current = asyncio.Event()

    async def open(self) -> None:
        """Become a member; return when all who were members before are in the view. BusError if it cannot be now."""
        await self.keys.create_bucket(replicas=self._replicas)
        await self._come_after()
        await self._renew()
        self._watch.start()
        self._tasks = [asyncio.create_task(self._stay()), asyncio.create_task(self._tick())]
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await self._current.wait()
        except TimeoutError:
            await self.close()
            raise BusUnreachableError(f"the nodes of the cluster could not be read within {OPEN_SECONDS:g} s") from None

    def start(self) -> None:
        """Become a member as soon as the store can be reached, and stay one: for those who cannot wait for it."""
        super().start()
        self._tasks.append(asyncio.create_task(self._come()))

    async def _come(self) -> None:
        while True:
            try:
                await self.keys.create_bucket(replicas=self._replicas)
                await self._come_after()
            except BusError as error:
                if isinstance(error, KeysError):
                    self._fault(error)
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                break
        await self._stay()

    async def _come_after(self) -> None:
        """Be later than an earlier start of this node, whatever the clock said then: the last to open counts.

        What another process of this start has said is ours.
        """
        try:
            found = await self.keys.get(self.own.key)
        except BucketMissingError:
            return
        if found is not None and found.value is not None:
            with contextlib.suppress(KeysError):
                earlier = decode_member(self.own.key, found.value)
                same = earlier.incarnation == self.own.incarnation
                self._revision = found.revision if same else None
                since_ms = earlier.since_ms if same else max(self.own.since_ms, earlier.since_ms + 1)
                self.own = msgspec.structs.replace(self.own, since_ms=since_ms)

    async def close(self) -> None:
        """Leave: the own key goes at once, if the store can be told; else its lease runs out."""
        await self._stop()
        if not self.replaced:
            with contextlib.suppress(BusError):
                if self._revision is None:  # we have said nothing yet, and perhaps another process of this start has
                    await self._come_after()
                if self._revision is not None:
                    await self.keys.delete(self.own.key, revision=self._revision, note=self.own.incarnation)
        self.keys.close()

    async def change(self, *, addresses: tuple[str, ...] | None = None, offers: tuple[str, ...] | None = None) -> None:
        """Say something else of ourselves from now on."""
        self.own = msgspec.structs.replace(
            self.own,
            addresses=self.own.addresses if addresses is None else addresses,
            offers=self.own.offers if offers is None else offers,
        )
        self._say.set()

    # --- our key ------------------------------------------------------------

    async def _stay(self) -> None:
        """Say our key again before its lease ends, or at once when the store has lost it."""
        pause = self.own.lease_seconds / RENEWALS_PER_LEASE
        while not self.replaced:
            self._say.clear()
            try:
                await self._renew()
                wait = pause
            except BusError as error:
                wait = min(_AGAIN_SECONDS, pause)
                if isinstance(error, KeysError):
                    self._fault(error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._say.wait()

    async def _renew(self) -> None:
        """Write our key, whatever the store knows of it. BusError if that cannot be."""
        for _ in range(4):  # each time round, somebody has written our key in between
            try:
                self._revision = await self.keys.put(
                    self.own.key,
                    encode_member(self.own),
                    revision=self._revision or 0,
                    lease_seconds=self.own.lease_seconds,
                )
            except BucketMissingError:
                await self.keys.create_bucket(replicas=self._replicas)
                self._revision = None
            except WrongRevisionError:
                found = await self.keys.get(self.own.key)
                if found is not None and self._is_later(found.value):
                    self._revision = None
                    self.replaced = True
                    self._on_replaced(self.own)
                    return
                self._revision = found.revision if found is not None else None
            else:
                return
        raise KeysError("our own key changes faster than we can write it: does another process write it?")

    def _is_later(self, value: bytes | None) -> bool:
        """Whether this is the word of a later start of the same node."""
        if value is None:
            return False
        try:
            found = decode_member(self.own.key, value)
        except KeysError:
            return False
        return (found.since_ms, found.incarnation) > (self.own.since_ms, self.own.incarnation)

    # --- what the watch tells ------------------------------------------------------------

    def changed(self, change: Change) -> None:
        """A key is so."""
        super().changed(change)
        # What is not of our last renewal may be what we say right now; else the store has lost ours.
        ours = change.revision == self._revision or change.value == encode_member(self.own)
        if change.key == self.own.key and not ours:
            self._say.set()

    def current(self) -> None:
        """All has been said: if our key was not among it, the store has lost it."""
        super().current()
        if self._current.is_set():
            self._say.set()
        self._current.set()

"""Whole nodes of a LAN in one process, over real sockets on loopback: a replica in memory, a mesh and a listener."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from megaphone.history.clock import HybridClock
from megaphone.history.entry import Kind
from megaphone.history.manifest import LAN, Manifest, RoomID
from megaphone.history.memory import MemoryStore
from megaphone.history.ports import Placed
from megaphone.history.replica import Replica
from megaphone.history.sync import Conversation
from megaphone.peers.connection import Address
from megaphone.peers.events import Connected, Event, Lost
from megaphone.peers.hello import INSTANCE_BYTES
from megaphone.peers.known import Known
from megaphone.peers.listener import Listener, listen
from megaphone.peers.mesh import Mesh
from megaphone.peers.pins import Pins
from megaphone.peers.room import line, said
from megaphone.storage.node_key import verify
from tests.unit.peers.people import Key, ourselves

DEADLINE_SECONDS = 20.0
LOOPBACK = "127.0.0.1"
ROOM = Manifest(LAN, "tea")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Node:
    """Somebody who keeps key, store and known peers while his program is started and killed."""

    def __init__(self, name: str, directory: Path, key: Key | None = None) -> None:
        self.name = name
        self.key = key or Key()
        self.store = MemoryStore()
        self.known = Known(str(directory / f"{name}-{os.urandom(4).hex()}.db"))
        self.port = 0
        self.events: list[Event] = []
        self.heard: list[str] = []
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, *dialled: "Node", trusted: Sequence[str] = (), known: bool = False) -> None:
        """Start, and dial others; `known` dials those of the table."""
        listening = listen(LOOPBACK, [self.port])
        self.port = listening.getsockname()[1]
        self.replica = Replica(self.store, HybridClock(), self.key, verify, lambda _: True)
        self.log = self.replica.open(ROOM)
        self.replica.on_entries = self._on_entries
        us = ourselves(self.name, self.key, port=self.port, instance=os.urandom(INSTANCE_BYTES))
        self.pins = Pins(self.known, trusted)
        self.mesh = Mesh(
            us, self.known, self.pins, verify, lambda peer: Conversation(self.replica, peer), self._on_event
        )
        self.replica.on_batch = self.mesh.push
        running = (Listener(listening, self.mesh.serve).run(), self.mesh.run())
        self._tasks = {asyncio.create_task(each) for each in running}
        for other in dialled:
            self.mesh.dial(other.address)
        if known:
            for met in self.known.peers():
                self.mesh.dial(met.address)

    @property
    def address(self) -> Address:
        return LOOPBACK, self.port

    async def kill(self) -> None:
        """End without a goodbye."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = set()

    def say(self, *texts: str) -> None:
        for text in texts:
            self.replica.append(ROOM.id, Kind.NOTE, said(self.name, text), now_ms())
        for batch in self.replica.flush(now_ms()):
            self.mesh.push(batch)

    def lines(self) -> list[str]:
        """What the log holds, in its order."""
        return [found.text for found in map(line, self.log.page(10_000)) if found is not None]

    def _on_entries(self, room: RoomID, entries: Sequence[Placed]) -> None:
        self.heard += [found.text for found in map(line, entries) if found is not None]
        self._changed.set()

    def _on_event(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until something that happens here fulfils the condition."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{self.name}: never {what}: {self.heard} {self.events}") from None

    async def hears(self, *texts: str) -> None:
        await self.until(lambda: set(texts) <= set(self.lines()), f"heard {texts}")

    async def connects(self, other: "Node") -> None:
        await self.until(lambda: self.is_connected(other), f"connected with {other.name}")

    async def loses(self, other: "Node") -> None:
        await self.until(lambda: not self.is_connected(other), f"lost {other.name}")

    def is_connected(self, other: "Node") -> bool:
        return any(peer.connection.remote.key == other.key.origin for peer in self.mesh.peers.values())

    def happened(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    def connections(self) -> list[str]:
        """Who came and went, in order."""
        return [
            f"{'+' if isinstance(event, Connected) else '-'}{event.name}"
            for event in self.events
            if isinstance(event, Connected | Lost)
        ]


@contextlib.asynccontextmanager
async def nodes(directory: Path, *names: str) -> AsyncIterator[list[Node]]:
    """Nodes that are not started yet, and all gone at the end."""
    found = [Node(name, directory) for name in names]
    try:
        yield found
    finally:
        await asyncio.gather(*(node.kill() for node in found))
        for node in found:
            node.known.close()

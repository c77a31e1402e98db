"""All peers of this node: who is dialled and when, who is let in, which of two connections stays, what each is told.

    addresses ──► Target ── dial ──┐
    (typed, known, mDNS)           ├── greeting ── pins ──► Peer: a Connection and a Conversation, one for each node
    Listener ──────────── accept ──┘

When two peers dial each other at once, the connection dialled by the smaller key stays, for both come to that answer
alone. A peer that has been restarted (another `instance`) takes the place of what was left of it.

What is new is pushed to every peer but the one it came from; who has it already drops it. So what A says reaches C
through B. A push that is left out because the peer's outbox is full, and what came in another way, are made up for by
the next `tick`: digests differ, and heads are told.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Final

from megaphone.errors import PeerError, StorageError
from megaphone.peers.connection import Connection, Remote, accept, dial, greet
from megaphone.peers.events import Connected, Lost, NewPeer, PeerRefused, RefusedByPeer, Trouble
from megaphone.peers.hello import Reason
from megaphone.peers.known import Met
from megaphone.peers.names import fingerprint_digits
from megaphone.peers.peer import Peer
from megaphone.peers.pins import Verdict
from megaphone.peers.targets import Target

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from megaphone.history.batch import Batch
    from megaphone.history.entry import Origin
    from megaphone.history.ports import Verifier
    from megaphone.peers.connection import Address, Ourselves, Resolve, Stream
    from megaphone.peers.events import Event
    from megaphone.peers.known import Known
    from megaphone.peers.peer import Conversation
    from megaphone.peers.pins import Pins

PEERS_LIMIT: Final = 128
TARGETS_LIMIT: Final = 512
DIALS_AT_ONCE: Final = 8
TICK_SECONDS: Final = 1.0
WARN_AGAIN_SECONDS: Final = 600.0
WARNINGS_LIMIT: Final = 1_000
LEAVE_SECONDS: Final = 1.0
TURN_SECONDS: Final = 1.5  # that the greater of two nodes waits to be dialled by the other


class Mesh:
    """`peers` are those connected, by node (`fingerprint_digits` of the key). `show` gets what the user is told."""

    def __init__(
        self,
        us: Ourselves,
        known: Known,
        pins: Pins,
        verifier: Verifier,
        converse: Callable[[Origin], Conversation],
        show: Callable[[Event], None],
    ) -> None:
        self.peers: dict[str, Peer] = {}
        self.us = us
        self.resolve: Resolve | None = None
        """What tells the addresses of names ".local", if anything does."""
        self._node = fingerprint_digits(us.identity.origin)
        self._known = known
        self._pins = pins
        self._verifier = verifier
        self._converse = converse
        self._show = show
        self._targets: dict[Address, Target] = {}
        self._dials = asyncio.Semaphore(DIALS_AT_ONCE)
        self._promised: set[str] = set()  # nodes to which we have proved our key and that have not answered yet
        self._leaving = False
        self._warned: dict[tuple[str, bytes], float] = {}

    # Whom to dial ---------------------------------------------------------------------------------------------------

    def dial(
        self, address: Address, node: str | None = None, *, advertised: bool = False, after_seconds: float = 0.0
    ) -> None:
        """Keep up a connection with whoever listens there; `node` says who that is, if it is known.

        An address that is `advertised` again is dialled at once. Beyond TARGETS_LIMIT a new address takes the place of
        that one which has failed most often, of those at which somebody has been known.
        """
        if node == self._node:
            return
        target = self._targets.get(address)
        if target is not None:
            target.node = node or target.node
        elif len(self._targets) < TARGETS_LIMIT or self._forget_one():
            if advertised and node is not None and node < self._node:
                after_seconds += TURN_SECONDS
            target = self._targets[address] = Target(address, node, random.random)
            target.task = asyncio.create_task(self._pursue(target, after_seconds))
        if target is not None and advertised:
            target.seen()

    def _forget_one(self) -> bool:
        candidates = [each for each in self._targets.values() if each.node is not None and each.node not in self.peers]
        worst = max(candidates, key=lambda target: target.failures, default=None)
        if worst is None or not worst.failures:
            return False
        if worst.task is not None:
            worst.task.cancel()
        del self._targets[worst.address]
        return True

    async def _pursue(self, target: Target, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        while not self._leaving:
            while (peer := self.peers.get(target.node or "")) is not None:
                await peer.ended.wait()
            began = time.monotonic()
            refused = await self._dial(target)
            if target.node == self._node:
                return
            if refused == Reason.CONNECTED and target.node in self.peers:
                continue
            await target.pause(time.monotonic() - began, refused)

    async def _dial(self, target: Target) -> str:
        """Connect, talk until the end; returns why we were refused, "" if we were not."""
        stream: Stream | None = None
        promised = ""

        def judge(remote: Remote) -> Reason | None:
            nonlocal promised
            target.node = fingerprint_digits(remote.key)
            if (reason := self._judge(remote, dialled=True)) is None:
                promised = target.node
                self._promised.add(promised)
            return reason

        try:
            async with self._dials:
                stream = await dial(self.us.identity, target.address, self.resolve)
                remote = await greet(stream, self.us, self._verifier, judge)
        except PeerError as error:
            self._failed(target.address[0], error)
            return error.reason
        except (OSError, EOFError, ValueError):  # ValueError: a name that no resolver takes
            return ""
        else:
            self._promised.discard(promised)
            promised = ""
            await self._talk(stream, remote, target.address)
            return ""
        finally:
            self._promised.discard(promised)
            if stream is not None:
                stream.writer.close()

    # Whom to let in -------------------------------------------------------------------------------------------------

    async def serve(self, connected: socket.socket, greeted: Callable[[], None]) -> None:
        """Talk with a peer that has connected, until the end; for a Listener."""
        try:
            stream = await accept(self.us.identity, connected)
        except OSError:
            return
        try:
            remote = await greet(stream, self.us, self._verifier, lambda remote: self._judge(remote, dialled=False))
            greeted()
            address = (remote.host, remote.port) if remote.port else None
            if address is not None:
                self.dial(address, fingerprint_digits(remote.key))
            await self._talk(stream, remote, address)
        except PeerError as error:
            self._failed(str(stream.writer.get_extra_info("peername")[0]), error)
        except (OSError, EOFError):
            return
        finally:
            stream.writer.close()

    def _failed(self, host: str, error: PeerError) -> None:
        """Tell the user of a greeting that came to nothing, unless there is nothing wrong, or it was told already."""
        if error.told and error.reason not in (Reason.CONNECTED, Reason.OURSELVES):
            self.warn(host, error.reason.encode(), RefusedByPeer(host, error.reason))
        elif not error.told and error.reason in ("", Reason.VERSION):
            self.warn(host, str(error).encode(), Trouble(f"somebody at {host} {error}"))

    def _judge(self, remote: Remote, *, dialled: bool) -> Reason | None:
        node = fingerprint_digits(remote.key)
        if node == self._node:
            if remote.instance != self.us.instance:
                self.warn(node, b"", Trouble(f"somebody at {remote.host} uses our own key; was the database copied?"))
            return Reason.OURSELVES
        verdict = self._pins.check(remote.name, remote.key)
        if verdict in _REFUSALS:
            reason = _REFUSALS[verdict]
            known = self._pins.key_of(remote.name)
            self.warn(remote.name, remote.key, PeerRefused(remote.name, remote.key, remote.host, reason, known))
            return reason
        present = self.peers.get(node)
        if present is None:
            if dialled and node in self._promised:
                return Reason.CONNECTED
            return Reason.FULL if self._leaving or len(self.peers) >= PEERS_LIMIT else None
        return None if self._takes_its_place(remote, dialled, present) else Reason.CONNECTED

    def _takes_its_place(self, remote: Remote, dialled: bool, present: Peer) -> bool:
        if remote.instance != present.connection.remote.instance:
            return True
        if dialled == present.connection.dialled:
            return not dialled  # it would not dial again if it still had the other one
        return dialled == (self._node < fingerprint_digits(remote.key))

    def warn(self, who: str, key: bytes, event: Event) -> None:
        """Tell the user of something that will be the same again soon."""
        now = time.monotonic()
        last = self._warned.get((who, key))
        if last is not None and now - last < WARN_AGAIN_SECONDS:
            return
        self._warned.pop((who, key), None)
        self._warned[who, key] = now  # the newest last
        if len(self._warned) > WARNINGS_LIMIT:
            del self._warned[next(iter(self._warned))]
        self._show(event)

    # Talking --------------------------------------------------------------------------------------------------------

    async def _talk(self, stream: Stream, remote: Remote, address: Address | None) -> None:
        node = fingerprint_digits(remote.key)
        present = self.peers.get(node)
        if present is not None and not self._takes_its_place(remote, stream.dialled, present):
            return
        peer = self.peers[node] = Peer(Connection(stream, remote), self._converse(remote.key))
        if present is not None:
            present.connection.close("came again")
        self._meet(remote, address)
        if present is None:
            self._show(Connected(remote.name, remote.key))
        connection, conversation = peer.connection, peer.conversation
        connection.send(conversation.start(_now_ms()))
        reason = "was left"
        try:
            reason = await connection.run(lambda message: self._answer(peer, message))
        finally:
            if self.peers.get(node) is peer:
                del self.peers[node]
                self._show(Lost(remote.name, remote.key, reason))
            peer.ended.set()

    def _meet(self, remote: Remote, address: Address | None) -> None:
        """Remember name, key and address."""
        try:
            if self._pins.check(remote.name, remote.key) is Verdict.NEW:
                self._show(NewPeer(remote.name, remote.key))
                self._pins.pin(remote.name, remote.key)
            if address is not None:
                self._known.met(Met(address, remote.key, remote.name, time.time()))
        except StorageError as error:
            self.warn("", b"storage", Trouble(f"cannot remember {remote.name}: {error}"))

    def _answer(self, peer: Peer, message: bytes) -> list[bytes]:
        try:
            answer = peer.conversation.receive(message, _now_ms())
        except StorageError as error:
            self.warn("", b"storage", Trouble(str(error)))
            raise PeerError(f"cannot be heard: {error}") from None
        if peer.conversation.closed:
            raise PeerError(f"says what none may say: {peer.conversation.closed}")
        return answer

    def push(self, batch: Batch, came_from: Origin | None = None) -> None:
        """Tell every peer, but the one it came from, of a new batch."""
        for peer in self.peers.values():
            if peer.connection.remote.key != came_from and not peer.connection.is_full:
                peer.connection.send(peer.conversation.push(batch))

    async def run(self) -> None:
        """Let the conversations say what is due, until cancelled; then nobody is dialled any more."""
        try:
            while True:
                await asyncio.sleep(TICK_SECONDS)
                self._tick()
        finally:
            tasks = [target.task for target in self._targets.values() if target.task is not None]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    def _tick(self) -> None:
        try:
            for peer in list(self.peers.values()):
                if not peer.connection.is_full:
                    peer.connection.send(peer.conversation.tick(_now_ms()))
        except StorageError as error:
            self.warn("", b"storage", Trouble(str(error)))

    async def leave(self) -> None:
        """Give each peer what is queued for it, and close its connection."""
        self._leaving = True
        peers = list(self.peers.values())
        self.peers.clear()  # nobody is told that they are lost
        await asyncio.gather(*(peer.connection.leave(LEAVE_SECONDS) for peer in peers))


_REFUSALS: Final = {Verdict.CHANGED: Reason.KEY_CHANGED, Verdict.TOO_MANY_NAMES: Reason.TOO_MANY_NAMES}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

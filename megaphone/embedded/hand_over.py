"""Gives a client's connection to the home of its user: the descriptor and a record of what the next process must know.

    worker 2: <success/> is due, the user's home is worker 0
       surrender() ─► descriptor + Record ─► sendmsg(SCM_RIGHTS) on the Unix socket to worker 0 ─► adopt()
                                                                              <success/>, and the client's new stream

One message, one connection; with TLS 1.3 its keys are in the record, which is nowhere but in memory. The socket in
between is SOCK_SEQPACKET: records do not run together, and what a worker that has died did not read goes to its
successor, as the listening socket is the supervisor's.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator

WAITING_LIMIT = 4096  # connections that wait for one worker; one more is closed, and its client tries again
RECORD_LIMIT_BYTES = 160_000
_RECORDS_PER_TURN = 32


class Record(msgspec.Struct, array_like=True, frozen=True):
    """What goes along with a descriptor."""

    account: tuple[str, str]  # local part and domain
    anonymous: bool
    address: bytes  # of the client, 16 bytes
    port: int
    listen: int  # index in [[listen]]
    say: bytes  # what the client is to hear first
    received: bytes  # what it has said already and nobody has taken
    tls: bytes = b""  # the state of its TLS, as secret as keys; empty without TLS


@dataclass(slots=True)
class _Peer:
    path: str
    socket: socket.socket | None
    waiting: deque[tuple[bytes, int]]
    writing: bool = False


class HandOver:
    """The connections that come to one worker and go from it.

    `adopt` takes a record and a descriptor, which it owns from then on.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listening: int,
        paths: list[str],
        adopt: Callable[[Record, int], None],
        fault: Callable[[Exception], None],
    ) -> None:
        self.given = 0
        self.refused = 0
        self._loop = loop
        self._listening = socket.socket(fileno=os.dup(listening))
        self._peers = [_Peer(path, None, deque()) for path in paths]
        self._adopt = adopt
        self._fault = fault
        self._incoming: set[socket.socket] = set()

    def open(self) -> None:
        """Start taking connections."""
        self._listening.setblocking(False)
        self._loop.add_reader(self._listening, self._accept)
        for incoming in self._incoming:  # of the process before this one
            self._loop.add_reader(incoming, self._read, incoming)

    def close(self) -> None:
        """End all sockets; connections that wait are closed."""
        self._loop.remove_reader(self._listening)
        self._listening.close()
        for incoming in list(self._incoming):
            self._hang_up(incoming)
        for peer in self._peers:
            self._lose(peer)
            while peer.waiting:
                os.close(peer.waiting.popleft()[1])

    def give(self, peer_index: int, record: Record, descriptor: int) -> None:
        """Send a connection to another worker; the descriptor is ours no more."""
        peer = self._peers[peer_index]
        encoded = msgspec.msgpack.encode(record)
        if len(peer.waiting) >= WAITING_LIMIT or len(encoded) > RECORD_LIMIT_BYTES:
            self.refused += 1
            os.close(descriptor)
            return
        peer.waiting.append((encoded, descriptor))
        self._send(peer)

    def sweep(self) -> None:
        """Try again those that could not be reached; called 8 times a second."""
        for peer in self._peers:
            if peer.waiting and not peer.writing:
                self._send(peer)

    # --- another process goes on ------------------------------------------------------------

    def freeze(self) -> None:
        """Take and give nothing more."""
        self._loop.remove_reader(self._listening)
        for incoming in self._incoming:
            self._loop.remove_reader(incoming)
        for peer in self._peers:
            if peer.writing and peer.socket is not None:
                peer.writing = False
                self._loop.remove_writer(peer.socket)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        self.open()

    def waiting(self) -> Iterator[tuple[int, bytes, int]]:
        """Yield the connections that wait for another worker: its index, Record, descriptor, which stays ours."""
        for index, peer in enumerate(self._peers):
            for record, descriptor in peer.waiting:
                yield index, record, descriptor

    def incoming(self) -> list[int]:
        """Return the descriptors of the sockets by which other workers give; they stay ours."""
        return [each.fileno() for each in self._incoming]

    def restore(self, waiting: Iterable[tuple[int, bytes, int]], incoming: Iterable[int]) -> None:
        """Go on where another process was, from `open` on; the descriptors are ours."""
        for peer, record, descriptor in waiting:
            self._peers[peer].waiting.append((record, descriptor))
        for descriptor in incoming:
            made = socket.socket(fileno=descriptor)
            made.setblocking(False)
            self._incoming.add(made)

    # --- out ------------------------------------------------------------

    def _send(self, peer: _Peer) -> None:
        if peer.socket is None and not self._dial(peer):
            return
        while peer.waiting and peer.socket is not None:
            record, descriptor = peer.waiting[0]
            try:
                socket.send_fds(peer.socket, [record], [descriptor], socket.MSG_DONTWAIT)
            except BlockingIOError:
                if not peer.writing:
                    peer.writing = True
                    self._loop.add_writer(peer.socket, self._send, peer)
                return
            except OSError:
                self._lose(peer)
                return
            peer.waiting.popleft()
            os.close(descriptor)
            self.given += 1
        if peer.writing and peer.socket is not None:
            peer.writing = False
            self._loop.remove_writer(peer.socket)

    def _dial(self, peer: _Peer) -> bool:
        dialled = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        dialled.setblocking(False)
        try:
            dialled.connect(peer.path)
        except OSError:
            dialled.close()
            return False
        peer.socket = dialled
        return True

    def _lose(self, peer: _Peer) -> None:
        if peer.socket is None:
            return
        if peer.writing:
            peer.writing = False
            self._loop.remove_writer(peer.socket)
        peer.socket.close()
        peer.socket = None

    # --- in ------------------------------------------------------------

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                incoming, _ = self._listening.accept()
                incoming.setblocking(False)
                self._incoming.add(incoming)
                self._loop.add_reader(incoming, self._read, incoming)

    def _read(self, incoming: socket.socket) -> None:
        for _ in range(_RECORDS_PER_TURN):
            try:
                data, descriptors, _, _ = socket.recv_fds(incoming, RECORD_LIMIT_BYTES, 1)
            except BlockingIOError:
                return
            except OSError:
                self._hang_up(incoming)
                return
            if not data and not descriptors:
                self._hang_up(incoming)
                return
            try:
                record = msgspec.msgpack.decode(data, type=Record)
                (descriptor,) = descriptors
            except ValueError as error:
                for each in descriptors:
                    os.close(each)
                self._fault(error)
                continue
            try:
                self._adopt(record, descriptor)
            except Exception as error:  # noqa: BLE001 - one connection's trouble must not cost the others
                self._fault(error)

    def _hang_up(self, incoming: socket.socket) -> None:
        self._incoming.discard(incoming)
        self._loop.remove_reader(incoming)
        incoming.close()

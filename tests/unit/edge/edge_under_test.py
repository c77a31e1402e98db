"""An edge in this process on real loopback sockets: all that a worker wires up, turned by hand and not by a loop."""

from __future__ import annotations

import itertools
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megaphone.config.schema import Config, Domain, Limits, WebSocket
from megaphone.config.schema import Upstream as UpstreamTable
from megaphone.dispatch.counters import BOARD_BYTES, Board, Reason, Slot, UpstreamSlot
from megaphone.dispatch.dispatcher import Dispatcher
from megaphone.dispatch.websocket_slots import WebSocketSlot
from megaphone.edge import opening
from megaphone.edge.admission import Admission
from megaphone.edge.clients import Clients
from megaphone.edge.limits import ClientLimits, ListenerFacts, WebSocketLimits
from megaphone.edge.listener import Listener
from megaphone.edge.sketch import Sketch, sketch_bytes
from megaphone.sockets.poller import Poller
from megaphone.uplink.direct import DirectCarrier
from megaphone.uplink.link_carrier import LinkCarrier
from megaphone.uplink.pool import Pool
from megaphone.uplink.uplink import Uplink
from tests.unit.edge.peer import Peer

if TYPE_CHECKING:
    from megaphone.edge.connection import ClientConnection
    from megaphone.sockets.tls_contexts import CertificateChoice, ClientContext

PATIENCE_SECONDS = 60.0  # on a busy machine; nothing waits this long when it works
SWEEP_SECONDS = 0.02
GAUGES = ("OPEN_NEGOTIATING", "OPEN_CONNECTING", "OPEN_RELAYING_PREAUTH", "OPEN_AUTHENTICATED", "OPEN_CLOSING")


def is_readable(file: Any, timeout_seconds: float) -> bool:
    """Whether there is something to read within that time; of descriptors beyond 1023, too, as select() is not."""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(timeout_seconds * 1000))


class ScriptedServer:
    """A listening socket that stands for an XMPP server; a test accepts and speaks for it."""

    def __init__(self, path: Path | None = None, *, backlog: int = 64) -> None:
        if path is None:
            self.socket = socket.create_server(("127.0.0.1", 0), backlog=backlog)
            self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.bind(str(path))
            self.socket.listen(backlog)
            self.address = f"unix:{path}"
        self.socket.setblocking(False)
        self.edge: EdgeUnderTest | None = None

    def accept(self) -> Peer:
        """The edge's next connection to this server."""
        accepted: list[socket.socket] = []

        def try_once() -> bool:
            try:
                accepted.append(self.socket.accept()[0])
            except BlockingIOError:
                return False
            return True

        assert self.edge is not None
        self.edge.until(try_once, "a connection to the server")
        return Peer(self.edge, accepted[0])

    def expect_no_connection(self, turns: int = 20) -> None:
        assert self.edge is not None
        for _ in range(turns):
            self.edge.step()
        readable = is_readable(self.socket, 0)
        assert not readable, "there is a connection to the server"

    def close(self) -> None:
        self.socket.close()


class EdgeUnderTest:
    """One worker's edge. `step` is one round of everything; `until` goes on until a condition holds."""

    def __init__(
        self,
        *servers: ScriptedServer | str,
        limits: Limits | None = None,
        websocket: WebSocket | None = None,
        domains: Sequence[str] = ("example.org",),
        upstream: dict[str, Any] | None = None,
        capacity: int = 64,
        worker: int = 0,
        workers: int = 1,
        sketch_memory: bytearray | None = None,
        secret: bytes = bytes(range(32)),
        link_tls: ClientContext | None = None,
    ) -> None:
        self.secret = secret
        self.link_tls = link_tls
        self.servers = [server for server in servers if isinstance(server, ScriptedServer)]
        for server in self.servers:
            server.edge = self
        limits = limits or Limits()
        tables = [
            UpstreamTable(
                **{"name": f"u{index}", "address": server if isinstance(server, str) else server.address}
                | {"proxy_protocol": False}
                | (upstream or {})
                | ({"mode": "link"} if hasattr(server, "pump") else {})
            )
            for index, server in enumerate(servers)
        ]
        names = tuple(table.name for table in tables)
        config = Config(
            upstream=tuple(tables), domain=tuple(Domain(name=domain, upstreams=names) for domain in domains)
        )
        self.woken = False
        self.faults: list[Exception] = []
        self.closed: list[tuple[Reason, dict[str, Any]]] = []
        self.peers: list[Peer] = []
        self.at_the_end: list[Callable[[], None]] = []
        self.listeners: list[Listener] = []
        self._next_sweep = 0.0
        self.board = Board(bytearray(BOARD_BYTES))
        self.sketch = Sketch(sketch_memory or bytearray(sketch_bytes(workers)), worker, workers)
        self.poller = Poller(self._wake)
        self.dispatcher = Dispatcher(worker, capacity)
        self.clients = Clients(self.poller, self.dispatcher, self.board, ClientLimits(limits))
        self.clients.admission = Admission(self.sketch, limits)
        self.clients.websocket = WebSocketLimits(websocket or WebSocket())
        self.pool = Pool(config, self.board, 1)
        self.reports: list[tuple[int, str]] = []  # link, trouble
        self.changes: list[str] = []
        self.direct = DirectCarrier(self.poller, opening.proxy_header, self.clients.limits)
        self.carriers = [
            self.direct if table.mode == "direct" else self._links(table, place) for place, table in enumerate(tables)
        ]
        self.uplink = Uplink(self.poller, self.dispatcher, self.board, self.pool, self.carriers)
        self.clients.open_uplink = self.uplink.open
        self.clients.domains = frozenset(self.pool.domains)
        self.clients.on_closed = lambda connection, reason: self.closed.append((Reason(reason), connection.describe()))
        self.clients.on_fault = self.poller.on_fault = self.faults.append
        self.peers += [server for server in self.servers if hasattr(server, "pump")]
        self.count_references()

    def _links(self, table: UpstreamTable, place: int) -> LinkCarrier:
        return LinkCarrier(
            self.poller,
            self.dispatcher,
            self.board,
            self.pool,
            self.pool.upstreams[place],
            self.clients.limits,
            secret=self.secret,
            name="node/0",
            links=table.links,
            opening_limit=table.opening_streams,
            facts=opening.link_facts,
            is_returning=opening.is_returning,
            report=lambda _, link, text: self.reports.append((link, text)),
            changed=lambda _, text: self.changes.append(text),
            tls=self.link_tls,
        )

    # --- running ---

    def _wake(self) -> None:
        self.woken = True

    def step(self) -> None:
        """One round: every peer, one turn if there is a reason for one, the sweep if it is due."""
        for peer in self.peers:
            peer.pump()
        self.turn(0.0002)
        if time.monotonic() >= self._next_sweep:
            self.sweep()

    def turn(self, timeout_seconds: float = 0.0) -> None:
        """One turn of the poller, but as under a loop: only for an event, or when it asked for one."""
        readable = is_readable(self.poller.fd, 0 if self.woken else timeout_seconds)
        if readable or self.woken:
            self.woken = False
            self.poller.turn()

    def sweep(self) -> None:
        self._next_sweep = time.monotonic() + SWEEP_SECONDS
        self.clients.sweep(1)
        self.uplink.sweep()
        for listener in self.listeners:
            listener.retry()

    def until(self, condition: Callable[[], object], what: str, peer: Peer | None = None) -> None:
        """Runs until the condition holds; fails the test when it never does."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                got = "" if peer is None else f", but {bytes(peer.received[-300:])!r}"
                raise AssertionError(f"never came: {what}{got}")
            self.step()

    # --- people ---

    def listen(
        self,
        tls: str = "none",
        *,
        starttls_required: bool = True,
        websocket: bool = False,
        web: Any = None,
        proxy_from: tuple[str, ...] = (),
        certificates: CertificateChoice | None = None,
        host: str = "127.0.0.1",
        buffers: int | None = None,
    ) -> tuple[str, int]:
        """Open a listener; returns where. What it accepts has socket buffers of about so many bytes."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, 0), family=family, backlog=512)
        listening.setblocking(False)
        if buffers is not None:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
        address = listening.getsockname()[:2]
        facts = ListenerFacts(tls, starttls_required, proxy_from, certificates, 0, websocket, web)
        listener = Listener(self.clients, facts, listening.detach())
        listener.open()
        self.listeners.append(listener)
        return address

    def connect(self, address: tuple[str, int], *, source: str | None = None, buffers: int | None = None) -> Peer:
        """A client that connects from `source`, with socket buffers of about so many bytes."""
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffers is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
        if source is not None:
            sock.bind((source, 0))
        sock.connect(address)
        return Peer(self, sock)

    # --- what is known ---

    def gauges(self) -> dict[str, int]:
        """The connections by state, without the zeros."""
        return {name: self.board.get(Slot[name]) for name in GAUGES if self.board.get(Slot[name])}

    def count(self, slot: Slot) -> int:
        return self.board.get(slot)

    def upstream_count(self, slot: UpstreamSlot, upstream: int = 0) -> int:
        return self.board.get(Board.upstream_slot(upstream, slot))

    def reasons(self) -> list[Reason]:
        """Why each connection ended, in order."""
        return [reason for reason, _ in self.closed]

    def wait_closed(self, *reasons: Reason) -> None:
        """All connections have ended, for these reasons."""
        self.until(lambda: len(self.closed) >= len(reasons), f"the end of {len(reasons)} connections")
        assert self.reasons() == list(reasons)

    def only(self) -> ClientConnection:
        """The only connection."""
        (connection,) = self.dispatcher.connections()
        return connection

    def poller_ticks(self) -> int:
        """The clock that all times are measured by, in 1/16 s."""
        return time.monotonic_ns() * 16 // 1_000_000_000

    def references(self) -> dict[str, int]:
        """How often the shared objects are referred to: every connection, receiver, sender and stream does."""
        return {
            "connections": sys.getrefcount(self.clients),
            "receivers and senders": sys.getrefcount(self.poller),
            "streams": sys.getrefcount(self.uplink),
        }

    def count_references(self) -> None:
        """At the end there must be as many again."""
        self.references_at_first = self.references()

    # --- the end ---

    def close(self) -> None:
        """Ends everything and checks that nothing is left behind."""
        while self.listeners:
            self.listeners.pop().close()
        self.uplink.close()
        for peer in self.peers:
            peer.abort()
        self.peers.clear()
        for server in self.servers:
            server.close()
        self.until(lambda: not self.dispatcher.open_connections, "the end of all connections")
        self.until(lambda: self.references() == self.references_at_first, "the end of all streams and sockets")
        self.until(lambda: not self.woken, "the end of all turns")
        self.check_nothing_left()
        for let_go in self.at_the_end:
            let_go()

    def check_nothing_left(self) -> None:
        assert not self.faults, self.faults
        assert self.gauges() == {}
        self.clients.sweep(1)
        assert self.count(Slot.MAILBOX_BYTES) == 0
        assert self.board.get(WebSocketSlot.OPEN) == self.board.get(WebSocketSlot.HTTP_OPEN) == 0
        assert sum(self.count(Slot(Slot.CLOSED_BY_REASON + reason)) for reason in range(Reason.REASONS)) == (
            self.count(Slot.ACCEPTED) + self.count(Slot.LIMIT_WORKER_CONNECTIONS)
        )
        for upstream in self.pool.upstreams:
            assert upstream.open == self.upstream_count(UpstreamSlot.UP_OPEN, upstream.index) == 0
        assert self.references() == self.references_at_first
        assert is_empty(self.sketch)


def open_descriptors() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}")}


def is_empty(sketch: Sketch) -> bool:
    """Whether no connection is counted under any of many addresses: each shares cells with those that were."""
    return all(sketch.opened(key) == 1 and sketch.closed(key) == 0 for key in some_keys())


def some_keys() -> Iterable[bytes]:
    mapped = b"\0" * 10 + b"\xff\xff"
    for last in range(16):
        yield mapped + bytes([127, 0, 0, last])
    yield from (mapped + bytes([127, 0, 0]), b"\0" * 15 + b"\1", b"\0" * 8)
    yield from (mapped + bytes(address) for address in itertools.product((192,), (0,), (2,), range(16)))

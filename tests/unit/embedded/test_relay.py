"""A connection in one worker, its session in another: bytes both ways, room for them, every way to end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from megaphone.bus.local import BusListener, LocalBus
from megaphone.dispatch.counters import Reason, Slot
from megaphone.embedded.frames import HomeFrames
from megaphone.embedded.relay import Relay
from megaphone.stream.jid import JID
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.edge_under_test import EdgeUnderTest
from tests.unit.edge.peer import Peer
from tests.unit.embedded.host_under_test import ScriptedHost
from tests.unit.embedded.mesh import Sockets

DEADLINE_SECONDS = 20.0
SUCCESS = b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
ROMEO = JID("romeo", "example.org")
WINDOW_BYTES = 262_144  # relay.pyx


class Worker:
    """One of two workers: an edge, its streams, its relay and its end of the mesh; stands for the router, too."""

    def __init__(self, pair: Pair, index: int, edge: EdgeUnderTest) -> None:
        self.index = index
        self.edge = edge
        self.lost: list[int] = []
        self.attached: list[tuple[Any, tuple[str, str], bool]] = []
        before = edge.references()
        host = self.host = ScriptedHost(edge, binding=False)
        self.bus = LocalBus(edge.poller, index, pair.sockets.paths, HomeFrames(host.streams, self), pair.limit_bytes)
        self.relay = Relay(self.bus, edge.dispatcher, edge.board, self.attach)
        self._listener = BusListener(self.bus, pair.sockets.listening[index].dup().detach())
        after = edge.references()
        edge.references_at_first = {name: pair.references[index][name] + after[name] - before[name] for name in after}
        pair.references[index] = edge.references_at_first
        self._listener.open()
        self.bus.open()
        self.alive = True

    def attach(self, connection: Any, account: tuple[str, str], anonymous: bool) -> Any:
        self.attached.append((connection.id, account, anonymous))
        return self.host.open(connection, "")

    # what a router is asked

    def take_frame(self, peer: int, kind: int, payload: bytes) -> None:
        self.relay.take_frame(peer, kind, payload)

    def take_batch_end(self, peer: int) -> None:
        """Nothing is kept here."""

    def confirmed(self, peer: int, serial: int) -> None:
        """Nothing is kept here."""

    def peer_lost(self, peer: int) -> None:
        self.lost.append(peer)
        self.relay.peer_lost(peer)

    def count(self) -> int:
        return self.edge.board.get(Slot.RELAYED_OPEN)

    def close(self) -> None:
        """Every socket to other workers ends."""
        if self.alive:
            self.alive = False
            self._listener.close()
            self.bus.close()


class Pair:
    """Worker 0 has the sockets, worker 1 the sessions."""

    def __init__(self, directory: Path, make_edge: MakeEdge, limit_bytes: int = 33_554_432) -> None:
        self.limit_bytes = limit_bytes
        self.sockets = Sockets(directory, 2)
        self.edges = [make_edge(worker=index, workers=2) for index in range(2)]
        self.references = [edge.references() for edge in self.edges]
        self.workers = [Worker(self, index, edge) for index, edge in enumerate(self.edges)]
        self.here, self.home = self.workers
        for edge in self.edges:  # a peer that waits for one lets both run
            edge.step = self.step  # type: ignore[method-assign]
        self.until(lambda: self.here.bus.is_up(1) and self.home.bus.is_up(0))

    def step(self) -> None:
        for worker in self.workers:
            EdgeUnderTest.step(worker.edge)
            if worker.alive:
                worker.bus.sweep()
                worker.edge.turn()

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            self.step()
            assert time.monotonic() < deadline

    def client(self, received: bytes = b"") -> Peer:
        """A client whose session is in the other worker; `received` is what it has said too early."""
        peer = self.here.host.client()
        stream = self.here.host.opened[-1]
        connection = self.here.edge.dispatcher.connection(stream.connection_id)
        stream.say(SUCCESS)
        stream.let_go()
        before = len(self.home.attached)
        self.here.relay.open(connection, 1, ROMEO, False, received)
        self.until(lambda: len(self.home.attached) > before)
        return peer.expect(SUCCESS)

    def close(self) -> None:
        for worker in self.workers:
            for peer in worker.edge.peers:
                peer.abort()
        if all(worker.alive for worker in self.workers):
            self.until(lambda: self.here.count() == self.home.count() == 0)
        for worker in self.workers:
            worker.close()
            worker.edge.step = lambda worker=worker: EdgeUnderTest.step(worker.edge)  # type: ignore[method-assign,misc]
        self.sockets.close()


@pytest.fixture
def pair(tmp_path: Path, make_edge: MakeEdge) -> Iterator[Pair]:
    made = Pair(tmp_path, make_edge)
    yield made
    made.close()


HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" to='example.org' version='1.0'>"
)
OPENED = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" id='1' from='example.org' version='1.0'>"
)


def restarted(pair: Pair) -> tuple[Peer, Any]:
    """A relayed client that has begun its stream anew, and that stream."""
    client = pair.client()
    client.send(HEADER)
    client.expect(OPENED)
    return client, pair.home.host.opened[-1]


def test_both_ways(pair: Pair) -> None:
    client, stream = restarted(pair)
    assert pair.home.attached == [(stream.connection_id, tuple(ROMEO), False)]
    for number in range(50):
        client.send(b"<a n='%d'/>" % number)
        stream.say(b"<b n='%d'/>" % number)
    client.expect(b"".join(b"<b n='%d'/>" % number for number in range(50)))
    pair.until(lambda: len(pair.home.host.elements) == 50)
    assert pair.home.host.elements == [b"<a n='%d'/>" % number for number in range(50)]
    assert pair.here.host.elements == []
    assert pair.here.count() == pair.home.count() == 1


def test_what_was_said_too_early_goes_along(pair: Pair) -> None:
    client = pair.client(HEADER + b"<early/>")
    client.expect(OPENED)
    client.send(b"<late/>")
    pair.until(lambda: len(pair.home.host.elements) == 2)
    assert pair.home.host.elements == [b"<early/>", b"<late/>"]


@pytest.mark.parametrize("early", [b"\n", b""])
def test_a_line_break_between_the_streams(pair: Pair, early: bytes) -> None:
    """It belongs to the stream that has ended, although it comes before a declaration here (go-xmpp sends it)."""
    client = pair.client(early)
    client.send(b"\r\n" + HEADER)
    client.expect(OPENED)
    client.send(b"<a/>")
    pair.until(lambda: pair.home.host.elements == [b"<a/>"])


def test_credit(pair: Pair) -> None:
    """While the session does not take, the client's bytes stay in its socket."""
    client, stream = restarted(pair)
    stream.wait()
    client.queue(b"<x>%b</x>" % (b"y" * 200_000))
    for _ in range(200):
        pair.step()
    assert pair.home.bus.bytes_in < 200_000
    stream.go_on()
    client.send(b"<end/>")
    pair.until(lambda: len(pair.home.host.elements) == 2)
    assert len(pair.home.host.elements[0]) == 200_007
    assert pair.home.bus.bytes_in > 200_000


def test_much_for_the_client(pair: Pair) -> None:
    """Far more than the window, and all of it arrives, in order; who reads nothing makes its session wait."""
    client, stream = restarted(pair)
    client.reading = False
    pieces = [b"<m n='%d'>%b</m>" % (number, b"x" * 9_000) for number in range(400)]
    for piece in pieces:
        stream.say(piece)
    for _ in range(100):
        pair.step()
    assert pair.home.host.overflows == 0
    client.reading = True
    client.expect(b"".join(pieces))
    # there is room again: as much once more
    for piece in pieces:
        stream.say(piece)
    client.expect(b"".join(pieces))


def test_room_is_told_of(pair: Pair) -> None:
    client, stream = restarted(pair)
    client.reading = False
    piece = b"<m>%b</m>" % (b"x" * 60_000)
    total = 0
    while total < 9_000_000:  # what a burst may be (stream.pyx), and more
        stream.say(piece)
        total += len(piece)
        if total > 2_000_000 and pair.home.host.overflows:
            break
    assert pair.home.host.overflows == 1
    client.reading = True
    pair.until(lambda: client.total >= total)
    for _ in range(100):  # the session hears that all has been taken
        stream.say(b"<n>%b</n>" % (b"x" * 60_000))
        total += 60_007
        pair.until(lambda total=total: client.total >= total)  # type: ignore[misc]
    assert pair.home.host.overflows == 1


@pytest.mark.parametrize(("condition", "reason"), [("", Reason.CLIENT_CLOSED), ("conflict", Reason.POLICY_VIOLATION)])
def test_the_session_ends_it(pair: Pair, condition: str, reason: Reason) -> None:
    client, stream = restarted(pair)
    stream.say(b"<last/>")
    stream.end(condition, reason)
    assert pair.home.host.gone == [(stream, reason)]
    client.expect(b"<last/>")
    if condition:
        client.expect_error(condition)
    else:
        client.expect(b"</stream:stream>") if client.received else None
        client.expect_end()
    client.abort()
    pair.until(lambda: pair.here.count() == 0)
    assert pair.home.count() == 0


def goodbye(client: Peer) -> None:
    client.send(b"</stream:stream>").finish()


@pytest.mark.parametrize(
    ("leave", "ended", "reason"),
    [
        (goodbye, [None], Reason.CLIENT_CLOSED),
        (lambda client: client.finish(), [False], Reason.CLIENT_RESET),
        (lambda client: client.abort(), [], Reason.CLIENT_RESET),
        (lambda client: client.send(b"<!-- -->"), [], Reason.RESTRICTED_XML),
    ],
    ids=["goodbye", "fin", "reset", "bad"],
)
def test_the_client_ends_it(
    pair: Pair, leave: Callable[[Peer], None], ended: list[bool | None], reason: Reason
) -> None:
    """Whoever leaves without a goodbye may come back: the session hears of a lost connection."""
    client, stream = restarted(pair)
    client.send(b"<last/>")
    leave(client)
    if ended == [None]:
        pair.until(lambda: bool(pair.home.host.ended))
        stream.end("", Reason.CLIENT_CLOSED)
    pair.until(lambda: bool(pair.home.host.gone))
    assert pair.home.host.elements == [b"<last/>"]
    assert pair.home.host.ended[: len(ended)] == ended
    assert pair.home.host.gone == [(stream, reason)]
    assert stream.connection_id == 0
    pair.until(lambda: pair.here.count() == 0)


def test_the_home_dies(pair: Pair) -> None:
    clients = [restarted(pair)[0] for _ in range(3)]
    pair.home.close()
    for client in clients:
        client.expect_error("remote-connection-failed")
    assert pair.here.lost == [1]
    assert pair.here.count() == 0
    pair.home.relay.peer_lost(0)  # only here does a dead process tidy up


def test_the_worker_with_the_socket_dies(pair: Pair) -> None:
    streams = [restarted(pair)[1] for _ in range(3)]
    pair.here.close()
    pair.until(lambda: len(pair.home.host.gone) == 3)
    assert {reason for _, reason in pair.home.host.gone} == {Reason.CLIENT_RESET}
    assert {stream for stream, _ in pair.home.host.gone} == set(streams)
    streams[0].say(b"<nobody/>")
    assert pair.home.count() == 0


def test_who_comes_while_the_home_is_away_waits_for_its_successor(pair: Pair) -> None:
    pair.home.close()
    pair.until(lambda: pair.here.lost == [1])
    client = pair.here.host.client()
    stream = pair.here.host.opened[-1]
    connection = pair.here.edge.dispatcher.connection(stream.connection_id)
    stream.let_go()
    pair.here.relay.open(connection, 1, ROMEO, True, b"")
    client.queue(HEADER)
    for _ in range(30):
        pair.step()
    successor = Worker(pair, 1, pair.home.edge)
    pair.workers[1] = pair.home = successor
    client.expect(OPENED)
    assert [each[1:] for each in successor.attached] == [(tuple(ROMEO), True)]


def test_bytes_for_a_session_that_is_not_there_end_the_connection(pair: Pair) -> None:
    """As when a frame comes behind the loss of a home; the client gets an error, and nothing is left lying."""
    pair.home.relay.take_frame(0, 9, (4711).to_bytes(8, "big") + b"<x/>")  # PUT: answered, to nobody
    for kind in range(8, 16):
        for payload in (b"", b"\0" * 7, (4711).to_bytes(8, "big"), (4711).to_bytes(8, "big") + b"\0"):
            if kind != 8:
                pair.home.relay.take_frame(0, kind, payload)
                pair.here.relay.take_frame(1, kind, payload)
    client, stream = restarted(pair)
    stream.say(b"<fine/>")
    client.expect(b"<fine/>")


def test_too_much_for_the_other_worker(tmp_path: Path, make_edge: MakeEdge) -> None:
    """Bytes that the mesh has no room for end the connection on both sides, since none may be missing."""
    pair = Pair(tmp_path, make_edge, limit_bytes=200_000)
    client, stream = restarted(pair)
    piece = b"<m>%b</m>" % (b"x" * 50_000)
    for _ in range(200):
        stream.say(piece)
        if not stream.connection_id:
            break
    assert pair.home.host.gone == [(stream, Reason.RESOURCE_CONSTRAINT)]
    client.edge.until(lambda: client.ended, "the end")
    assert bytes(client.received).endswith(
        b"<resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
    )
    whole = client.received[: client.received.rfind(b"<stream:error>")]
    assert bytes(whole) == piece * (len(whole) // len(piece))
    pair.until(lambda: pair.here.count() == pair.home.count() == 0)
    pair.close()

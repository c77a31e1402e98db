"""The mesh of workers: frames arrive in order, each once; what was to be kept outlives the process that got it."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.bus.local import BusListener, LocalBus, PythonTaker
from megaphone.sockets.poller import Poller

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEADLINE_SECONDS = 10.0


class Mesh:
    """Workers in one process, their listening sockets held by somebody who outlives them."""

    def __init__(
        self,
        directory: Path,
        workers: int,
        limit_bytes: int = 1_000_000,
        taker: Callable[[], PythonTaker] = PythonTaker,
    ) -> None:
        self.limit_bytes = limit_bytes
        self.taker = taker
        self.paths = [str(directory / f"{index}.sock") for index in range(workers)]
        self.sockets = []
        for path in self.paths:
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listening.setblocking(False)
            listening.bind(path)
            listening.listen(64)
            self.sockets.append(listening)
        self.workers: dict[int, Member] = {}
        self.faults: list[Exception] = []

    def start(self, index: int) -> Member:
        self.workers[index] = Member(self, index)
        return self.workers[index]

    def kill(self, index: int) -> None:
        """As the kernel does: every socket of the process ends, whatever was in it."""
        member = self.workers.pop(index)
        member.listener.close()
        member.bus.close()

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            for member in self.workers.values():
                member.bus.sweep()
                member.poller.turn()
            assert time.monotonic() < deadline
        assert not self.faults

    def close(self) -> None:
        for index in list(self.workers):
            self.kill(index)
        for listening in self.sockets:
            listening.close()


class Member:
    """One worker's end."""

    def __init__(self, mesh: Mesh, index: int) -> None:
        self.poller = Poller()
        self.poller.on_fault = mesh.faults.append
        self.taker = mesh.taker()
        self.bus = LocalBus(self.poller, index, mesh.paths, self.taker, mesh.limit_bytes)
        self.listener = BusListener(self.bus, mesh.sockets[index].dup().detach())
        self.listener.open()
        self.bus.open()

    def heard_from(self, peer: int) -> list[bytes]:
        return [payload for source, _, payload in self.taker.frames if source == peer]


@pytest.fixture
def mesh(tmp_path: Path):  # type: ignore[no-untyped-def]
    made = Mesh(tmp_path, 3)
    yield made
    made.close()


def test_everybody_hears_everybody_in_order(mesh: Mesh) -> None:
    members = [mesh.start(index) for index in range(3)]
    for number in range(200):
        for source in members:
            for target in range(3):
                if target != source.bus.index:
                    assert source.bus.send_frame(target, 7, b"%d" % number)
    expected = [b"%d" % number for number in range(200)]
    mesh.until(lambda: all(len(member.taker.frames) == 400 for member in members))
    for member in members:
        assert all(member.heard_from(peer) == expected for peer in range(3) if peer != member.bus.index)
        assert {kind for _, kind, _ in member.taker.frames} == {7}


def test_what_is_said_to_somebody_who_is_away_waits(mesh: Mesh) -> None:
    first = mesh.start(0)
    assert not first.bus.is_up(1)
    assert first.bus.send_frame(1, 2, b"early")
    assert first.bus.send_frame(1, 2, b"kept", keep=True)
    second = mesh.start(1)
    mesh.until(lambda: second.heard_from(0) == [b"early", b"kept"])
    assert first.bus.is_up(1)


def test_a_successor_hears_what_was_not_confirmed(mesh: Mesh) -> None:
    first, second = mesh.start(0), mesh.start(1)
    first.bus.send_frame(1, 2, b"a", keep=True)
    first.bus.send_frame(1, 2, b"b", keep=True)
    mesh.until(lambda: len(second.heard_from(0)) == 2)
    second.bus.incoming_from(0).confirm(1)
    mesh.until(lambda: first.bus.has_confirmed(1) == 1)
    first.bus.send_frame(1, 2, b"lost")
    first.bus.send_frame(1, 2, b"c", keep=True)
    mesh.until(lambda: len(second.heard_from(0)) == 4)
    mesh.kill(1)
    mesh.until(lambda: first.taker.lost == [1])
    first.bus.send_frame(1, 2, b"d")
    successor = mesh.start(1)
    mesh.until(lambda: successor.heard_from(0) == [b"b", b"c", b"d"])
    assert first.bus.has_confirmed(1) == 1 < first.bus.promised(1) == 3
    heard = successor.bus.incoming_from(0)
    heard.confirm(heard.number)
    mesh.until(lambda: first.bus.has_confirmed(1) == 3)


def test_a_sender_that_dies_is_followed_by_another(mesh: Mesh) -> None:
    first, second = mesh.start(0), mesh.start(1)
    first.bus.send_frame(1, 2, b"a")
    mesh.until(lambda: second.heard_from(0) == [b"a"])
    mesh.kill(0)
    mesh.start(0).bus.send_frame(1, 2, b"b")
    mesh.until(lambda: second.heard_from(0) == [b"a", b"b"])
    assert second.bus.incoming_from(0).number == 1
    assert second.taker.lost == [0]


def test_what_waits_is_bounded(tmp_path: Path) -> None:
    mesh = Mesh(tmp_path, 2, limit_bytes=10_000)
    first = mesh.start(0)
    taken = 0
    while first.bus.send_frame(1, 2, bytes(1000)):
        taken += 1
        assert taken < 20
    assert first.bus.refused == 1
    second = mesh.start(1)
    mesh.until(lambda: len(second.heard_from(0)) == taken)
    assert first.bus.send_frame(1, 2, b"again")
    mesh.close()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=20), st.lists(st.integers(1, 4000), min_size=1))
def test_frames_survive_any_split(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], cuts: list[int]
) -> None:
    """Bytes of a peer come in pieces of any size."""
    mesh = Mesh(tmp_path_factory.mktemp("bus"), 2)
    member = mesh.start(1)
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.connect(mesh.paths[1])
    stream = (27).to_bytes(4, "big") + b"\0" + bytes(16) + b"\0\0" + (1).to_bytes(8, "big")
    for payload in payloads:
        stream += (len(payload) + 1).to_bytes(4, "big") + b"\x09" + payload
    at = step = 0
    while at < len(stream):
        size = cuts[step % len(cuts)]
        peer.sendall(stream[at : at + size])
        member.poller.turn()
        at, step = at + size, step + 1
    mesh.until(lambda: member.heard_from(0) == payloads)
    peer.close()
    mesh.close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0\0\0\0\0",
        b"\xff\xff\xff\xff\0",
        b"\0\0\0\x02\x07x",
        b"\0\0\0\x1b\0" + bytes(16) + b"\0\x01" + bytes(8),
        b"\0\0\0\x1b\0" + bytes(16) + b"\0\x09" + bytes(8),
    ],
)
def test_who_speaks_otherwise_is_hung_up_on(mesh: Mesh, garbage: bytes) -> None:
    member = mesh.start(1)
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.connect(mesh.paths[1])
    peer.sendall(garbage)
    peer.setblocking(False)
    heard = bytearray()

    def hung_up() -> bool:
        try:
            data = peer.recv(1000)
        except BlockingIOError:
            return False
        heard.extend(data)
        return not data

    mesh.until(hung_up)
    assert len(heard) == 21  # its HELLO and nothing else
    assert member.taker.frames == []

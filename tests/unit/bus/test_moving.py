"""The mesh of a worker goes on in another process: its peers get every frame once, in order, and lose nobody."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.bus.local import BusListener, LocalBus, PythonTaker
from megaphone.bus.moving import MovingBus
from megaphone.sockets.poller import Poller
from tests.unit.bus.test_local import Member, Mesh

if TYPE_CHECKING:
    from pathlib import Path


class Successor(Member):
    """A worker's end that takes over from another one in this process, with descriptors of its own."""

    def __init__(self, mesh: Mesh, index: int) -> None:
        self.poller = Poller()
        self.poller.frozen = True  # until it goes on: as in a worker that takes over
        self.poller.on_fault = mesh.faults.append
        self.taker = PythonTaker()
        self.bus = LocalBus(self.poller, index, mesh.paths, self.taker, mesh.limit_bytes)
        self.listener = BusListener(self.bus, mesh.sockets[index].dup().detach())


def export(member: Member) -> tuple[MovingBus, bytes, list[int]]:
    moving = MovingBus(member.bus)
    moving.freeze()
    data, descriptors = moving.export()
    return moving, data, [os.dup(descriptor) for descriptor in descriptors]


def move(mesh: Mesh, index: int) -> Successor:
    """Let a worker go on as another one, which knows all frames that the one before it has taken."""
    before = mesh.workers[index]
    moving, data, descriptors = export(before)
    successor = Successor(mesh, index)
    taking = MovingBus(successor.bus)
    taking.restore(data, descriptors)
    successor.poller.turn()  # nothing moves before it may
    successor.taker.frames.extend(before.taker.frames)
    successor.taker.confirmations.extend(before.taker.confirmations)
    before.listener.close()
    moving.leave()
    before.poller.turn()
    mesh.workers[index] = successor
    successor.poller.frozen = False
    taking.go_on()
    successor.listener.open()
    successor.bus.open()
    return successor


@pytest.fixture
def mesh(tmp_path: Path):  # type: ignore[no-untyped-def]
    made = Mesh(tmp_path, 3)
    yield made
    made.close()


def test_whose_a_socket_is_goes_along(mesh: Mesh) -> None:
    members = [mesh.start(index) for index in range(3)]
    mesh.until(lambda: all(member.bus.is_up(peer) for member in members for peer in range(3)))
    mesh.until(lambda: all(members[0].bus.incoming_from(peer) is not None for peer in (1, 2)))
    before = [incoming.instance for peer in (1, 2) if (incoming := mesh.workers[0].bus.incoming_from(peer)) is not None]
    assert [len(instance) for instance in before] == [16, 16]
    move(mesh, 0)
    after = [incoming.instance for peer in (1, 2) if (incoming := mesh.workers[0].bus.incoming_from(peer)) is not None]
    assert after == before


def test_peers_do_not_notice(mesh: Mesh) -> None:
    members = [mesh.start(index) for index in range(3)]
    mesh.until(lambda: all(member.bus.is_up(peer) for member in members for peer in range(3)))
    said: list[bytes] = []
    for round_ in range(20):
        for index in (0, 1, 2):
            for number in range(5):
                word = b"%d.%d" % (round_, number)
                for target in {0, 1, 2} - {index}:
                    assert mesh.workers[index].bus.send_frame(target, 7, word)
                if index == 0:
                    said.append(word)
        if round_ % 3 == 0:
            mesh.workers[0].poller.turn()
        if round_ % 2 == 0:
            move(mesh, round_ // 2 % 3)
    mesh.until(lambda: all(len(member.taker.frames) == 200 for member in mesh.workers.values()))
    for index, member in mesh.workers.items():
        assert all(member.heard_from(peer) == said for peer in range(3) if peer != index)
        assert member.taker.lost == []


def test_what_is_kept_is_confirmed_to_the_successor(mesh: Mesh) -> None:
    first, second = mesh.start(0), mesh.start(1)
    for number in range(3):
        first.bus.send_frame(1, 2, b"%d" % number, keep=True)
    mesh.until(lambda: len(second.heard_from(0)) == 3)
    heard = second.bus.incoming_from(0)
    assert heard is not None
    heard.confirm(heard.number - 1)
    second.poller.turn()  # the confirmation waits in the socket
    successor = move(mesh, 0)
    assert (successor.bus.promised(1), successor.bus.has_confirmed(1)) == (3, 0)
    mesh.until(lambda: successor.bus.has_confirmed(1) == 2)
    heard.confirm(heard.number)
    mesh.until(lambda: successor.bus.has_confirmed(1) == 3)
    # and the one who hears may move, too
    successor.bus.send_frame(1, 2, b"3", keep=True)
    mesh.until(lambda: len(second.heard_from(0)) == 4)
    again = move(mesh, 1)
    heard = again.bus.incoming_from(0)
    assert heard is not None
    assert heard.number == 4
    heard.confirm(heard.number)
    mesh.until(lambda: successor.bus.has_confirmed(1) == 4)


def test_unconfirmed_frames_are_said_again_by_the_successor_when_the_peer_dies(mesh: Mesh) -> None:
    first, second = mesh.start(0), mesh.start(1)
    first.bus.send_frame(1, 2, b"kept", keep=True)
    mesh.until(lambda: second.heard_from(0) == [b"kept"])
    successor = move(mesh, 0)
    mesh.kill(1)
    mesh.until(lambda: successor.taker.lost == [1])
    again = mesh.start(1)
    mesh.until(lambda: again.heard_from(0) == [b"kept"])


def test_what_waits_for_a_peer_that_is_away_moves_along(mesh: Mesh) -> None:
    first = mesh.start(0)
    first.bus.send_frame(1, 2, b"a")
    first.bus.send_frame(1, 2, b"b", keep=True)
    successor = Successor(mesh, 0)
    successor.bus.send_frame(1, 2, b"c")  # said while it is being built
    moving, data, descriptors = export(first)
    taking = MovingBus(successor.bus)
    taking.restore(data, descriptors)
    first.listener.close()
    moving.leave()
    mesh.workers[0] = successor
    successor.poller.frozen = False
    taking.go_on()
    successor.listener.open()
    second = mesh.start(1)
    mesh.until(lambda: second.heard_from(0) == [b"a", b"b", b"c"])
    assert successor.bus.promised(1) == 1


def test_who_has_not_moved_after_all_goes_on(mesh: Mesh) -> None:
    first, second = mesh.start(0), mesh.start(1)
    mesh.until(lambda: first.bus.is_up(1) and second.bus.is_up(0))
    for number in range(10):
        second.bus.send_frame(0, 2, b"%d" % number)
        first.bus.send_frame(1, 2, b"%d" % number)
    moving, data, descriptors = export(first)
    failed = Successor(mesh, 0)
    taking = MovingBus(failed.bus)
    taking.restore(data, descriptors)
    second.poller.turn()
    first.poller.turn()
    assert first.heard_from(1) == []  # it stands still
    taking.leave()
    failed.listener.close()
    failed.poller.turn()
    moving.thaw()
    expected = [b"%d" % number for number in range(10)]
    mesh.until(lambda: first.heard_from(1) == second.heard_from(0) == expected)
    assert first.taker.lost == second.taker.lost == failed.taker.lost == []


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0, 1]), st.integers(0, 60_000)), max_size=25),
    st.sets(st.integers(0, 25), max_size=6),
)
def test_frames_of_any_size_survive_moves_at_any_time(
    tmp_path_factory: pytest.TempPathFactory, frames: list[tuple[int, int]], moves: set[int]
) -> None:
    mesh = Mesh(tmp_path_factory.mktemp("bus"), 2)
    for index in (0, 1):
        mesh.start(index)
    mesh.until(lambda: all(mesh.workers[index].bus.is_up(1 - index) for index in (0, 1)))
    said: dict[int, list[bytes]] = {0: [], 1: []}
    for at, (speaker, size) in enumerate(frames):
        frame = b"%d." % at + bytes(size * 7)
        bus = mesh.workers[speaker].bus  # it refuses what is too much at once
        mesh.until(partial(bus.send_frame, 1 - speaker, 9, frame, keep=at % 2 == 0))
        said[speaker].append(frame)
        mesh.workers[speaker].poller.turn()
        if at in moves:
            move(mesh, at % 2)
        if at % 3 == 0:
            mesh.workers[1 - speaker].poller.turn()
    mesh.until(lambda: all(mesh.workers[1 - index].heard_from(index) == said[index] for index in (0, 1)))
    assert all(member.taker.lost == [] for member in mesh.workers.values())
    mesh.close()


@pytest.mark.parametrize("data", [b"", b"garbage", b"\x93\xc4\x00\x90\x90"])
def test_what_is_no_mesh_is_refused_and_costs_no_descriptor(mesh: Mesh, data: bytes) -> None:
    successor = Successor(mesh, 0)
    ours, theirs = os.pipe()
    with pytest.raises((ValueError, msgspec.MsgspecError)):
        MovingBus(successor.bus).restore(data, [theirs])
    assert os.read(ours, 1) == b""  # nobody holds the other end
    os.close(ours)
    successor.listener.close()

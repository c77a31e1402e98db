"""Connections given from process to process: the descriptor arrives with its record, or is closed."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from megaphone.embedded import hand_over
from megaphone.embedded.hand_over import RECORD_LIMIT_BYTES, HandOver, Record

DEADLINE_SECONDS = 10.0


def record(number: int = 0, received: bytes = b"") -> Record:
    return Record(("romeo", "example"), False, bytes(16), number, 0, b"<success/>", received)


class Worker:
    """One end: what it has been given, and what went wrong."""

    def __init__(self, house: House, index: int) -> None:
        self.got: list[tuple[Record, int]] = []
        self.faults: list[Exception] = []
        self.over = HandOver(
            asyncio.get_running_loop(), house.listening[index].fileno(), house.paths, self.adopt, self.faults.append
        )
        self.over.open()

    def adopt(self, given: Record, descriptor: int) -> None:
        self.got.append((given, descriptor))
        if given.port == 666:
            raise RuntimeError("no luck")

    def close(self) -> None:
        self.over.close()
        for _, descriptor in self.got:
            os.close(descriptor)


class House:
    """The listening sockets, which outlive the workers."""

    def __init__(self, directory: Path, workers: int = 2) -> None:
        self.paths = [str(directory / f"{index}.connections") for index in range(workers)]
        self.listening = []
        for path in self.paths:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            made.bind(path)
            made.listen(64)
            self.listening.append(made)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    for listening in made.listening:
        listening.close()


async def until(condition: Callable[[], bool], *workers: Worker) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            for worker in workers:
                worker.over.sweep()
            await asyncio.sleep(0.005)


def pair() -> tuple[socket.socket, int]:
    """A client's end, and the descriptor of the other."""
    client, server = socket.socketpair()
    client.setblocking(False)
    return client, server.detach()


def is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


def test_a_connection_arrives_with_its_record(house: House) -> None:
    async def scene() -> None:
        first, second = Worker(house, 0), Worker(house, 1)
        clients = []
        for number in range(100):
            client, descriptor = pair()
            clients.append(client)
            first.over.give(1, record(number, b"x" * number * 100), descriptor)
        await until(lambda: len(second.got) == 100)
        assert [given for given, _ in second.got] == [record(number, b"x" * number * 100) for number in range(100)]
        for number, (_, descriptor) in enumerate(second.got):
            os.write(descriptor, b"%d" % number)
        assert [client.recv(10) for client in clients] == [b"%d" % number for number in range(100)]
        assert (first.over.given, first.over.refused, second.faults) == (100, 0, [])
        second.close()
        assert all(map(is_closed, clients))  # nobody else holds a descriptor of it
        first.close()

    asyncio.run(scene())


def test_who_is_away_finds_them_waiting(house: House) -> None:
    async def scene() -> None:
        first = Worker(house, 0)
        clients = []
        for number in range(50):
            client, descriptor = pair()
            clients.append(client)
            first.over.give(1, record(number), descriptor)
        second = Worker(house, 1)
        await until(lambda: len(second.got) == 50, first)
        second.close()
        # it has died: what it had accepted is gone, what comes later is its successor's
        client, descriptor = pair()
        first.over.give(1, record(7), descriptor)
        third = Worker(house, 1)
        await until(lambda: len(third.got) == 1, first)
        assert third.got[0][0].port == 7
        assert not is_closed(client)
        third.close()
        first.close()

    asyncio.run(scene())


def test_waiting_is_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_over, "WAITING_LIMIT", 5)

    async def scene() -> None:
        first = Worker(house, 0)
        os.unlink(house.paths[1])  # nobody can be reached
        clients = []
        for number in range(8):
            client, descriptor = pair()
            clients.append(client)
            first.over.give(1, record(number), descriptor)
        assert [is_closed(client) for client in clients] == [False] * 5 + [True] * 3
        assert first.over.refused == 3
        first.over.sweep()
        first.close()
        assert all(map(is_closed, clients))

    asyncio.run(scene())


def test_a_record_that_is_too_long_costs_that_connection_alone(house: House) -> None:
    async def scene() -> None:
        first, second = Worker(house, 0), Worker(house, 1)
        long, descriptor = pair()
        first.over.give(1, record(1, b"x" * RECORD_LIMIT_BYTES), descriptor)
        good, descriptor = pair()
        first.over.give(1, record(2), descriptor)
        longest, descriptor = pair()
        first.over.give(1, record(3, b"x" * (RECORD_LIMIT_BYTES - 200)), descriptor)
        await until(lambda: len(second.got) == 2, first)
        assert [given.port for given, _ in second.got] == [2, 3]
        assert is_closed(long)
        assert not is_closed(good)
        assert not is_closed(longest)
        first.close()
        second.close()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("data", "descriptors"),
    [
        (b"garbage", 1),
        (b"garbage", 0),
        (msgspec.msgpack.encode(record()), 0),
        (msgspec.msgpack.encode(["romeo"]), 1),
        (b"\xc1" * RECORD_LIMIT_BYTES, 1),
    ],
)
def test_garbage_costs_no_descriptor_and_nobody_else(house: House, data: bytes, descriptors: int) -> None:
    async def scene() -> None:
        second = Worker(house, 1)
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        peer.connect(house.paths[1])
        client, descriptor = pair()
        socket.send_fds(peer, [data], [descriptor] * descriptors)
        os.close(descriptor)
        good, descriptor = pair()
        socket.send_fds(peer, [msgspec.msgpack.encode(record(5))], [descriptor])
        os.close(descriptor)
        await until(lambda: len(second.got) == 1)
        assert second.got[0][0].port == 5
        assert len(second.faults) == 1
        assert is_closed(client)
        assert not is_closed(good)
        peer.close()
        second.close()

    asyncio.run(scene())


def test_one_that_cannot_be_adopted_is_told_of(house: House) -> None:
    async def scene() -> None:
        first, second = Worker(house, 0), Worker(house, 1)
        for number in (666, 2):
            _, descriptor = pair()
            first.over.give(1, record(number), descriptor)
        await until(lambda: len(second.got) == 2, first)
        assert [str(fault) for fault in second.faults] == ["no luck"]
        first.close()
        second.close()

    asyncio.run(scene())

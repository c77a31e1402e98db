"""The small parts of a worker: its heartbeat, its end of the channel, the pace of its drain."""

import asyncio
import json
import socket
import time
from typing import Any

import pytest

from megaphone.dispatch.counters import BOARD_BYTES, Board, Reason, Slot
from megaphone.worker import drain, heartbeat
from megaphone.worker.channel import Channel

MESSAGE = {"type": "start", "text": "é" * 100_000}
LINE = json.dumps(MESSAGE).encode() + b"\n"


# --- heartbeat ---


def test_a_heart_beats_and_notices_a_loop_that_was_held_up() -> None:
    board = Board(bytearray(BOARD_BYTES))

    async def scenario() -> None:
        beating = asyncio.create_task(heartbeat.beat(board))
        while not board.get(Slot.HEARTBEAT_NS):
            await asyncio.sleep(0)
        first = board.get(Slot.HEARTBEAT_NS)
        assert board.get(Slot.LOOP_LAG_NS) < 50_000_000
        time.sleep(heartbeat.INTERVAL_SECONDS + 0.1)  # the loop is held up
        while board.get(Slot.HEARTBEAT_NS) == first:
            await asyncio.sleep(0)
        beating.cancel()

    asyncio.run(scenario())
    assert board.get(Slot.LOOP_LAG_NS) >= 100_000_000
    assert board.get(Slot.LOOP_LAG_MAX_NS) >= board.get(Slot.LOOP_LAG_NS)


# --- channel ---


@pytest.fixture
def ends() -> tuple[socket.socket, Channel]:
    ours, theirs = socket.socketpair()
    return ours, Channel(theirs.detach())


def test_the_first_message_leaves_the_others_to_the_loop(ends: tuple[socket.socket, Channel]) -> None:
    ours, channel = ends
    ours.sendall(b'{"type": "start"}\n{"type": "drain"}\n{"type": "kick"}\n')
    assert channel.first_message() == {"type": "start"}

    async def rest() -> list[Any]:
        await channel.open()
        heard = [await channel.receive(), await channel.receive()]
        await channel.send({"type": "reply"})
        assert ours.recv(100) == b'{"type": "reply"}\n'
        ours.close()
        return [*heard, await channel.receive()]

    assert asyncio.run(rest()) == [{"type": "drain"}, {"type": "kick"}, None]


def test_a_long_first_message_comes_in_many_pieces(ends: tuple[socket.socket, Channel]) -> None:
    ours, channel = ends
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10**6)
    ours.sendall(LINE + LINE[:5])
    assert channel.first_message() == MESSAGE


@pytest.mark.parametrize("said", [b"", LINE[:-1]])
def test_a_supervisor_that_goes_before_its_first_message(ends: tuple[socket.socket, Channel], said: bytes) -> None:
    ours, channel = ends
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 10**6)
    ours.sendall(said)
    ours.close()
    with pytest.raises(EOFError):
        channel.first_message()


def test_half_a_message_is_the_end(ends: tuple[socket.socket, Channel]) -> None:
    ours, channel = ends

    async def scenario() -> Any:
        await channel.open()
        ours.sendall(b'{"type": "dr')
        ours.close()
        return await channel.receive()

    assert asyncio.run(scenario()) is None


def test_a_supervisor_that_is_gone_hears_nothing(ends: tuple[socket.socket, Channel]) -> None:
    ours, channel = ends

    async def scenario() -> None:
        await channel.open()
        ours.close()
        for _ in range(3):
            await channel.send({"type": "reply"})

    asyncio.run(scenario())


# --- drain ---


class SlowToGo:
    """A connection that goes some time after it was told, or never."""

    def __init__(self, registry: "Registry", after_seconds: float | None) -> None:
        self.registry = registry
        self.after_seconds = after_seconds
        self.told: list[tuple[str, int]] = []
        self.told_at = 0.0
        self.closing = False

    def finish(self, condition: str, reason: int) -> None:
        self.told.append((condition, reason))
        self.told_at = time.monotonic()
        self.closing = True
        if self.after_seconds is not None:
            asyncio.get_running_loop().call_later(self.after_seconds, self.registry.open.remove, self)


class Registry:
    """As much of a dispatcher as a drain looks at."""

    def __init__(self, *after_seconds: float | None) -> None:
        self.open = [SlowToGo(self, after) for after in after_seconds]

    def connections(self) -> list[SlowToGo]:
        return list(self.open)

    @property
    def open_connections(self) -> int:
        return len(self.open)


def drained(
    registry: Registry, pace: float, deadline_seconds: float, condition: str = "system-shutdown"
) -> drain.Drained:
    return asyncio.run(drain.drain(registry, condition, pace, deadline_seconds))  # type: ignore[arg-type]


def test_an_empty_worker_is_drained_at_once() -> None:
    began = time.monotonic()
    assert drained(Registry(), 1.0, 60.0) == drain.Drained(closed=0, cut=0)
    assert time.monotonic() - began < 1


def test_everyone_is_told_once_and_waited_for() -> None:
    registry = Registry(*[0.01] * 20)
    connections = registry.connections()
    connections[3].closing = True  # it goes anyway
    registry.open.remove(connections[3])
    assert drained(registry, 10_000.0, 60.0) == drain.Drained(closed=19, cut=0)
    for connection in connections[:3] + connections[4:]:
        assert connection.told == [("system-shutdown", Reason.SYSTEM_SHUTDOWN)]
    assert connections[3].told == []


def test_everyone_is_told_the_condition_of_the_worker() -> None:
    registry = Registry(0.0, 0.0)
    connections = registry.connections()
    assert drained(registry, 10_000.0, 60.0, "see-other-host") == drain.Drained(closed=2, cut=0)
    assert [connection.told for connection in connections] == [[("see-other-host", Reason.SYSTEM_SHUTDOWN)]] * 2


def test_who_does_not_go_is_cut_at_the_deadline() -> None:
    assert drained(Registry(0.01, None, 0.01, None), 10_000.0, 0.3) == drain.Drained(closed=2, cut=2)


def test_the_pace_is_kept() -> None:
    registry = Registry(*[0.0] * 10)
    connections = registry.connections()
    began = time.monotonic()
    drained(registry, 50.0, 60.0)
    told = sorted(connection.told_at for connection in connections)
    # since the beginning: after a pause of the whole process several are told at once
    assert told[-1] - began >= 9 / 50.0 - 2 * 0.05
    assert all(later - began >= index / 50.0 - 2 * 0.05 for index, later in enumerate(told))

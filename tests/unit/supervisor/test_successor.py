"""One worker hands over to its successor: what comes of it, whoever of the two fails or dies at whichever moment."""

import os
import signal
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from megaphone.dispatch.counters import Slot
from megaphone.errors import UpgradeError
from megaphone.supervisor import successor as successors
from megaphone.supervisor.child import Child, State
from megaphone.supervisor.conversation import WorkerUnavailableError
from megaphone.supervisor.successor import hand_over
from tests.unit.supervisor.node_under_test import Running, RunNode, make_config, until

pytestmark = pytest.mark.trio


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def failure(node: Running) -> str:
    """Why worker 0 did not hand over."""
    with trio.fail_after(30), pytest.raises(UpgradeError) as caught:
        await hand_over(node.supervisor, node.supervisor.seats[0])
    return str(caught.value)


async def goes_on(node: Running, child: Child) -> None:
    """The predecessor serves as before: its board, its heartbeat, its answers; nobody waits for it to be replaced."""
    seat = node.supervisor.seats[0]
    assert (seat.child, seat.successor, seat.state) == (child, None, State.READY)
    assert not sum(seat.restarts.values())
    assert len(await child.conversation.links(timeout_seconds=10)) == 1
    beat = seat.board.counters.get(Slot.HEARTBEAT_NS)
    await until(lambda: seat.board.counters.get(Slot.HEARTBEAT_NS) > beat, "a heartbeat")


async def test_the_successor_takes_the_place_of_its_predecessor(run_node: RunNode) -> None:
    async with run_node(workers=1, intensity=1) as node:
        await node.wait_ready()
        seat = node.supervisor.seats[0]
        for _ in range(3):  # more often than the restart intensity: none of them is a crash
            first = seat.child
            generation = seat.board.counters.get(Slot.GENERATION)
            predecessor = await hand_over(node.supervisor, seat)
            assert predecessor is first
            assert (first.handed_over.moved, first.handed_over.ended) == (5, 1)
            assert seat.child is not first
            assert seat.child.took_over.moved == 5
            assert seat.state is State.READY
            assert not alive(first.pid)
            assert seat.board.counters.get(Slot.OPEN_AUTHENTICATED) == 5, "the gauges are the successor's"
            assert seat.board.counters.get(Slot.GENERATION) == generation + 1
            await until(lambda: seat.last_exit is not None, "how it ended")
            assert seat.last_exit.text == "handed over to its successor"
        assert {cause for cause, count in seat.restarts.items() if count} == {"upgrade"}
        first, *_, last = node.told(0, "start")
        assert (first["take_over_fd"], last["board_fd"] >= 0) == (-1, True)
        order, *_ = node.told(0, "hand_over")
        assert (order["connections_per_second"], order["deadline_seconds"]) == (10_000, 120.0)
        directory = Path(order["path"]).parent
        assert not directory.exists(), "with one worker it is made for the hand-over"


async def test_the_directory_of_the_socket_is_for_this_user_alone(run_node: RunNode) -> None:
    async with run_node("end-slowly", workers=2) as node:
        await node.wait_ready()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hand_over, node.supervisor, node.supervisor.seats[1])
            await until(lambda: node.told(1, "hand_over"), "it was told")
            path = Path(node.told(1, "hand_over")[0]["path"])
            assert path.parent.stat().st_mode & 0o777 == 0o700
            nursery.cancel_scope.cancel()


async def test_the_successor_is_watched_from_when_it_took_over(run_node: RunNode) -> None:
    async with run_node(workers=1, heartbeat_timeout_seconds=2.0) as node:
        await node.wait_ready()
        seat = node.supervisor.seats[0]
        await hand_over(node.supervisor, seat)
        second = seat.child
        os.kill(second.pid, signal.SIGSTOP)
        await until(lambda: seat.child is not second and seat.state is State.READY, "it was replaced")
        assert (seat.restarts["hang"], seat.restarts["upgrade"]) == (1, 1)


async def test_nobody_is_refused_and_the_successor_accepts(run_node: RunNode) -> None:
    async with run_node("accept", workers=1) as node:
        await node.wait_ready()
        answers: list[bytes] = []
        stop = trio.Event()

        async def connect() -> None:
            while not stop.is_set():
                with trio.fail_after(10):
                    async with await trio.open_tcp_stream("127.0.0.1", node.port) as stream:
                        answers.append(bytes(await stream.receive_some()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(connect)
            await until(lambda: len(answers) > 20, "the first answers")
            first = node.supervisor.seats[0].child.pid
            await hand_over(node.supervisor, node.supervisor.seats[0])
            second = node.supervisor.seats[0].child.pid
            await until(lambda: f"0 {second}\n".encode() in answers, "the successor answers")
            stop.set()
        assert set(answers) == {f"0 {first}\n".encode(), f"0 {second}\n".encode()}


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("successor-crash", "the successor of worker 0 exited with status 7"),
        ("refuse-hand-over", "worker 0 did not hand over: too old"),
        ("successor-dies", "worker 0 did not hand over: the successor has gone"),
    ],
)
async def test_what_the_predecessor_survives(run_node: RunNode, mode: str, reason: str) -> None:
    async with run_node(mode, workers=1) as node:
        await node.wait_ready()
        child = node.supervisor.seats[0].child
        assert await failure(node) == reason
        await goes_on(node, child)


async def test_a_successor_that_never_becomes_ready_is_killed(run_node: RunNode) -> None:
    async with run_node("successor-silent", workers=1) as node:
        await node.wait_ready()
        config = node.supervisor.config  # the limit is not for the first one, however busy the machine is
        node.supervisor.config = replace(config, restart=replace(config.restart, start_timeout_seconds=1.0))
        child = node.supervisor.seats[0].child
        assert await failure(node) == "the successor of worker 0 killed: not ready within 1 s"
        await goes_on(node, child)


@pytest.mark.parametrize("mode", ["ignore-hand-over", "successor-hangs"])
async def test_there_is_a_time_limit(
    run_node: RunNode, directory: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(successors, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(successors, "VERDICT_SECONDS", 0.5)
    config = make_config(directory, workers=1, upgrade_seconds=0.5)
    async with run_node(mode, config=config) as node:
        await node.wait_ready()
        child = node.supervisor.seats[0].child
        assert "worker 0 did not hand over: " in await failure(node)
        await goes_on(node, child)


async def test_the_death_of_the_predecessor_before_the_commit_is_a_crash(run_node: RunNode) -> None:
    async with run_node("die-before-commit", workers=1) as node:
        await node.wait_ready()
        seat = node.supervisor.seats[0]
        first = seat.child
        assert await failure(node) == "worker 0 exited with status 9 while it handed over"
        await until(lambda: seat.child is not first and seat.state is State.READY, "it was replaced")
        assert (seat.restarts["exit"], seat.restarts["upgrade"]) == (1, 0)
        assert [start["take_over_fd"] < 0 for start in node.told(0, "start")] == [True, False, True]


async def test_the_death_of_the_predecessor_after_the_commit_is_nothing(run_node: RunNode) -> None:
    async with run_node("die-after-commit", workers=1) as node:
        await node.wait_ready()
        seat = node.supervisor.seats[0]
        predecessor = await hand_over(node.supervisor, seat)
        assert predecessor.how.text == "killed by SIGKILL"
        assert seat.child.took_over.moved == 5
        assert (seat.restarts["signal"], seat.restarts["upgrade"]) == (0, 1)
        assert len(await seat.child.conversation.links(timeout_seconds=10)) == 1


async def test_the_death_of_the_successor_after_the_commit_is_a_crash(run_node: RunNode) -> None:
    async with run_node("successor-dies-late", workers=1) as node:
        await node.wait_ready()
        seat = node.supervisor.seats[0]
        first = seat.child
        await hand_over(node.supervisor, seat)
        await until(lambda: seat.restarts["exit"] == 1 and seat.state is State.READY, "it was replaced")
        assert seat.child is not first
        assert len(node.told(0, "start")) == 3


async def test_a_predecessor_that_does_not_end_is_killed_at_the_deadline_of_the_drain(
    run_node: RunNode, directory: Path
) -> None:
    config = make_config(directory, workers=1, drain_seconds=0.3)
    async with run_node("end-slowly", config=config) as node:
        await node.wait_ready()
        seat = node.supervisor.seats[0]
        predecessor = await hand_over(node.supervisor, seat)
        assert predecessor.how.text == "killed: it did not finish draining in time"
        assert not seat.restarts["drain"]
        assert seat.state is State.READY


@pytest.mark.parametrize("mode", ["ignore-hand-over", "end-slowly"])
async def test_a_drain_in_the_middle_drains_both(run_node: RunNode, mode: str) -> None:
    async with run_node(mode, workers=1) as node:
        await node.wait_ready()
        seat = node.supervisor.seats[0]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hand_over, node.supervisor, seat)
            middle = (lambda: seat.predecessor) if mode == "end-slowly" else (lambda: node.told(0, "hand_over"))
            await until(middle, "it is in the middle")
            processes = [child.pid for child in seat.processes()]
            assert len(processes) == 2
            nursery.cancel_scope.cancel()  # as the upgrade does
        node.supervisor.drain()
        assert await node.wait_ended() is None
        assert {drain["pid"] for drain in node.told(0, "drain")} == set(processes)
        assert not [pid for pid in processes if alive(pid)]


async def test_new_ticket_keys_reach_both(run_node: RunNode) -> None:
    async with run_node("ignore-hand-over", workers=1) as node:
        await node.wait_ready()
        seat = node.supervisor.seats[0]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hand_over, node.supervisor, seat)
            await until(lambda: node.told(0, "hand_over"), "it is in the middle")
            node.supervisor.rotate_ticket_keys()
            await until(lambda: len(node.told(0, "ticket_keys")) == 2, "both were told")
            assert {told["pid"] for told in node.told(0, "ticket_keys")} == {seat.child.pid, seat.successor.pid}
            nursery.cancel_scope.cancel()


async def test_no_worker_is_drained_in_an_upgrade(run_node: RunNode) -> None:
    async with run_node(workers=1) as node:
        await node.wait_ready()
        node.supervisor.busy = "an upgrade"
        with pytest.raises(WorkerUnavailableError, match="an upgrade is under way"):
            node.supervisor.drain_worker(0)
        assert (await node.supervisor.reload()).reason == "an upgrade is already under way"


async def test_a_worker_that_is_not_ready_cannot_hand_over(run_node: RunNode) -> None:
    async with run_node("ignore-drain", workers=1) as node:
        await node.wait_ready()
        node.supervisor.drain_worker(0)
        assert await failure(node) == "worker 0 is draining"

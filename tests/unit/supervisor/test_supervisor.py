"""A node's life with real processes: start, crashes, hangs, draining, giving up."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from megaphone.dispatch.counters import Slot
from megaphone.errors import ConfigError, RestartLimitError
from megaphone.supervisor.child import State
from megaphone.supervisor.conversation import WorkerUnavailableError
from tests.unit.supervisor.node_under_test import Running, RunNode, make_config, until

pytestmark = pytest.mark.trio


def restarts(running: Running) -> dict[str, int]:
    """By cause, of all workers."""
    total: dict[str, int] = {}
    for seat in running.supervisor.seats:
        for cause, count in seat.restarts.items():
            total[cause] = total.get(cause, 0) + count
    return {cause: count for cause, count in total.items() if count}


async def test_start_tells_each_worker_what_it_needs(run_node: RunNode) -> None:
    async with run_node(workers=2) as node:
        await node.wait_ready()
        for index in range(2):
            (start,) = node.told(index, "start")
            assert (start["index"], start["workers"]) == (index, 2)
            assert start["config_text"] == node.supervisor.config_text
            assert start["config_path"] == node.supervisor.config_path
            assert [listen_index for listen_index, _ in start["listeners"]] == [0]
            assert [len(bytes.fromhex(key)) for key in start["ticket_keys"]] == [80]
        assert node.told(0, "start")[0]["ticket_keys"] == node.told(1, "start")[0]["ticket_keys"]


async def test_kill_minus_nine_is_replaced_within_a_second_and_nobody_is_refused(run_node: RunNode) -> None:
    async with run_node("accept", workers=2) as node:
        await node.wait_ready()
        victim, other = node.supervisor.seats[0].child, node.supervisor.seats[1].child
        os.kill(victim.pid, signal.SIGKILL)
        killed_at = time.monotonic()
        answers = 0
        while node.supervisor.seats[0].child is victim or node.supervisor.seats[0].state is not State.READY:
            with trio.fail_after(5):
                stream = await trio.open_tcp_stream("127.0.0.1", node.port)  # ConnectionRefusedError fails the test
                async with stream:
                    answers += bool(await stream.receive_some())
        assert time.monotonic() - killed_at < 1.0
        assert answers > 0
        assert restarts(node) == {"signal": 1}
        assert node.supervisor.seats[0].last_exit.text == "killed by SIGKILL"
        assert node.supervisor.seats[1].child is other


async def test_a_dead_workers_gauges_are_cleared_and_its_counters_kept(run_node: RunNode) -> None:
    async with run_node(workers=1) as node:
        await node.wait_ready()
        board = node.supervisor.seats[0].board.counters
        assert board.get(Slot.OPEN_AUTHENTICATED) == 5
        generation = board.get(Slot.GENERATION)
        first = node.supervisor.seats[0].child
        first.kill("signal", "by the test")
        await first.gone.wait()
        assert board.get(Slot.OPEN_AUTHENTICATED) == 0
        assert board.get(board.upstream_slot(0, 0)) == 0
        assert board.get(Slot.GENERATION) == generation
        await until(lambda: board.get(Slot.GENERATION) == generation + 1, "the successor counts on")


@pytest.mark.parametrize("mode", ["stopped+once", "stop-heartbeats+once"])
async def test_a_worker_that_hangs_is_killed_and_replaced(run_node: RunNode, mode: str) -> None:
    async with run_node(mode, workers=1, heartbeat_timeout_seconds=0.5) as node:
        await until(lambda: restarts(node) == {"hang": 1}, "the hanging worker was replaced")
        await until(lambda: node.supervisor.seats[0].state is State.READY, "its successor is ready")
        assert node.supervisor.seats[0].last_exit.text.startswith("killed: it hung, no heartbeat for ")


async def test_a_worker_that_gets_no_processor_is_left_alone(run_node: RunNode) -> None:
    timeout_seconds, silences = 0.5, 0
    async with run_node(workers=1, heartbeat_timeout_seconds=timeout_seconds) as node:
        await node.wait_ready()
        child = node.supervisor.seats[0].child
        board = node.supervisor.seats[0].board.counters
        processor = min(os.sched_getaffinity(0))
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
        try:
            for other in busy:
                os.sched_setaffinity(other.pid, {processor})
            os.sched_setaffinity(child.pid, {processor})
            os.sched_setscheduler(child.pid, os.SCHED_IDLE, os.sched_param(0))
            for _ in range(3):  # it does get some time now and then
                heartbeat = board.get(Slot.HEARTBEAT_NS)
                await until(lambda: board.get(Slot.HEARTBEAT_NS) != heartbeat, "a heartbeat")  # noqa: B023
                silences += board.get(Slot.HEARTBEAT_NS) - heartbeat > timeout_seconds * 1e9
            os.kill(child.pid, signal.SIGSTOP)  # now it does hang
            await until(lambda: restarts(node) == {"hang": 1}, "it was replaced")
        finally:
            for other in busy:
                other.kill()
                other.wait()
        assert silences
        assert node.supervisor.seats[0].last_exit.text.startswith("killed: it hung, no heartbeat for ")


async def test_a_worker_that_never_becomes_ready_is_killed_and_replaced(run_node: RunNode) -> None:
    async with run_node("silent+once", workers=1, start_timeout_seconds=5.0) as node:
        await node.wait_ready()
        assert restarts(node) == {"start-timeout": 1}


async def test_a_worker_that_breaks_the_protocol_is_killed_and_replaced(run_node: RunNode) -> None:
    async with run_node("garbage+once", workers=1) as node:
        await until(lambda: restarts(node) == {"channel": 1}, "the worker was replaced")
        assert "not a message" in node.supervisor.seats[0].last_exit.text


async def test_fatal_at_start_ends_the_node_with_the_reason(run_node: RunNode) -> None:
    async with run_node("fatal", workers=2) as node:
        error = await node.wait_ended()
        assert isinstance(error, ConfigError)
        assert str(error).endswith("certificate[0].chain: the key does not belong to the certificate")
        assert str(error).startswith(node.supervisor.config_path)
        assert restarts(node) == {}


async def test_gives_up_beyond_the_restart_intensity(run_node: RunNode) -> None:
    async with run_node("crash-at-start", workers=2, intensity=3, backoff_first_seconds=0.01) as node:
        error = await node.wait_ended()
        assert isinstance(error, RestartLimitError)
        assert "exited with status 7, after 3 restarts within 60 s" in str(error)
        assert restarts(node) == {"exit": 3}


async def test_giving_up_still_drains_the_healthy_workers(run_node: RunNode) -> None:
    async with run_node(workers=2, intensity=1) as node:
        await node.wait_ready()
        for _ in range(2):
            child = node.supervisor.seats[0].child
            os.kill(child.pid, signal.SIGKILL)
            await until(
                lambda child=child: (
                    node.ended.is_set()
                    or (node.supervisor.seats[0].child is not child and node.supervisor.seats[0].state is State.READY)
                ),
                "worker 0 was replaced",
            )
        assert isinstance(await node.wait_ended(), RestartLimitError)
        (drain,) = node.told(1, "drain")
        assert drain["deadline_seconds"] == 5.0


async def test_a_command_that_cannot_be_started_counts_as_a_crash(run_node: RunNode, directory: Path) -> None:
    async with run_node(config=make_config(directory, workers=1, intensity=1)) as node:
        node.supervisor.keeper._command = (str(directory / "nothing-here"),)
        error = await node.wait_ended()
        assert "could not be started: No such file or directory" in str(error)


async def test_drain_tells_all_workers_and_refuses_new_connections(run_node: RunNode) -> None:
    async with run_node("accept", workers=2) as node:
        await node.wait_ready()
        port = node.port
        node.supervisor.drain()
        assert await node.wait_ended() is None
        for index in range(2):
            (drain,) = node.told(index, "drain")
            assert (drain["connections_per_second"], drain["deadline_seconds"]) == (50.0, 5.0)
            assert node.supervisor.seats[index].last_exit.cause == "drain"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


async def test_a_worker_that_does_not_drain_is_killed_after_the_deadline(run_node: RunNode) -> None:
    async with run_node("ignore-drain", workers=1) as node:
        await node.wait_ready()
        node.supervisor.drain()
        with trio.move_on_after(0.3) as early:
            await node.ended.wait()
        assert early.cancelled_caught
        node.supervisor.drain(quick=True)
        assert await node.wait_ended() is None
        assert node.supervisor.seats[0].last_exit.text == "killed: it did not finish draining in time"
        assert [drain["deadline_seconds"] for drain in node.told(0, "drain")] == [5.0, 1.0]


async def test_one_drained_worker_is_replaced_and_is_no_crash(run_node: RunNode) -> None:
    async with run_node(workers=2, intensity=1) as node:
        await node.wait_ready()
        for _ in range(3):
            drained, other = node.supervisor.seats[1].child, node.supervisor.seats[0].child
            node.supervisor.drain_worker(1)
            await until(
                lambda drained=drained: (
                    node.supervisor.seats[1].child is not drained and node.supervisor.seats[1].state is State.READY
                ),
                "the drained worker was replaced",
            )
            assert node.supervisor.seats[0].child is other
        assert restarts(node) == {"drain": 3}
        for index in (-1, 2):
            with pytest.raises(WorkerUnavailableError):
                node.supervisor.drain_worker(index)


async def test_while_a_worker_drains_new_connections_go_to_the_others(run_node: RunNode) -> None:
    async with run_node("accept+ignore-drain", workers=2) as node:
        await node.wait_ready()
        node.supervisor.drain_worker(1)
        for _ in range(32):
            with trio.fail_after(5):
                async with await trio.open_tcp_stream("127.0.0.1", node.port) as stream:
                    assert (await stream.receive_some()).startswith(b"0 ")


async def test_a_pause_of_the_supervisor_itself_is_no_hang_of_its_workers(run_node: RunNode) -> None:
    async with run_node(workers=1, heartbeat_timeout_seconds=0.4) as node:
        await node.wait_ready()
        child = node.supervisor.seats[0].child
        await trio.sleep(0.2)
        os.kill(child.pid, signal.SIGSTOP)
        time.sleep(0.8)  # what a frozen container looks like: neither of us ran
        await trio.sleep(0.2)  # the supervisor wakes up first, and finds a heartbeat that is too old
        os.kill(child.pid, signal.SIGCONT)
        resumed_at = time.monotonic_ns()
        board = node.supervisor.seats[0].board.counters
        await until(lambda: board.get(Slot.HEARTBEAT_NS) > resumed_at + 10**9, "a second of heartbeats")
        assert node.supervisor.seats[0].child is child
        assert child.state is State.READY


async def test_signals_drain_and_a_second_one_is_quick(run_node: RunNode) -> None:
    async with run_node("ignore-drain", workers=1) as node:
        await node.wait_ready()
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: len(node.told(0, "drain")) == 1, "SIGTERM drains")
        os.kill(os.getpid(), signal.SIGINT)
        assert await node.wait_ended() is None
        assert [drain["deadline_seconds"] for drain in node.told(0, "drain")] == [5.0, 1.0]


async def test_ticket_keys_rotate_newest_first_and_three_are_kept(run_node: RunNode, directory: Path) -> None:
    config = make_config(directory, workers=1)
    async with run_node(config=config) as node:
        await node.wait_ready()
        for _ in range(3):
            node.supervisor.rotate_ticket_keys()
        await until(lambda: len(node.told(0, "ticket_keys")) == 3, "the worker got the new keys")
        first = node.told(0, "start")[0]["ticket_keys"]
        one, two, three = (message["keys"] for message in node.told(0, "ticket_keys"))
        assert one[1:] == first
        assert two[1:] == one
        assert three[1:] == two[:2]
        assert len({*one, *two, *three}) == 4


async def test_cancelling_the_supervisor_leaves_no_process(run_node: RunNode) -> None:
    async with run_node("ignore-drain", workers=2) as node:
        await node.wait_ready()
        pids = [seat.child.pid for seat in node.supervisor.seats]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

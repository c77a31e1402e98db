"""Reloading: in force in all workers or in none, and the reason when it is refused."""

import json
import os
import signal
from pathlib import Path

import pytest
import trio
import trio.testing

from megaphone.supervisor.child import State
from tests.unit.supervisor.node_under_test import Running, RunNode, until

pytestmark = pytest.mark.trio


def change(node: Running, old: str, new: str) -> str:
    """Edits the configuration file of the node and returns its new text."""
    path = Path(node.supervisor.config_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path.read_text()


def texts(node: Running, index: int) -> list[str]:
    return [message["config_text"] for message in node.told(index, "reload")]


async def test_a_good_file_goes_to_all_workers_and_to_those_that_come_later(run_node: RunNode) -> None:
    async with run_node(workers=2) as node:
        await node.wait_ready()
        text = change(node, "deadline_seconds = 5.0", "deadline_seconds = 4.0")
        status, answer = await node.control("/reload", method="POST")
        assert (status, json.loads(answer)) == (
            200,
            {"accepted": True, "reason": "", "workers": {"0": "reloaded", "1": "reloaded"}},
        )
        assert [texts(node, index) for index in range(2)] == [[text], [text]]
        assert node.supervisor.config.drain.deadline_seconds == 4.0
        victim = node.supervisor.seats[0].child
        os.kill(victim.pid, signal.SIGKILL)
        await until(
            lambda: node.supervisor.seats[0].child is not victim and node.supervisor.seats[0].state is State.READY,
            "worker 0 was replaced",
        )
        assert node.told(0, "start")[-1]["config_text"] == text
        assert json.loads((await node.control("/status"))[1])["last_reload"]["accepted"] is True


async def test_a_new_heartbeat_timeout_holds_for_workers_that_run(run_node: RunNode) -> None:
    async with run_node("stop-heartbeats+once", workers=1, heartbeat_timeout_seconds=1000) as node:
        await node.wait_ready()
        change(node, "heartbeat_timeout_seconds = 5.0", "heartbeat_timeout_seconds = 0.2")
        assert (await node.supervisor.reload()).accepted
        await until(lambda: node.supervisor.seats[0].restarts["hang"] == 1, "the worker without heartbeats is replaced")


async def test_sighup_reloads(run_node: RunNode) -> None:
    async with run_node(workers=1) as node:
        await node.wait_ready()
        text = change(node, "deadline_seconds = 5.0", "deadline_seconds = 4.0")
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: node.supervisor.holdings.reloads["accepted"], "the reload")
        assert texts(node, 0) == [text]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("deadline_seconds = 5.0", "deadline_seconds = ", "Invalid value"),
        ("deadline_seconds = 5.0", "dedline_seconds = 5.0", "deadline_seconds"),
        ("deadline_seconds = 5.0", 'deadline_seconds = "soon"', "drain.deadline_seconds"),
        ("workers = 2", "workers = 3", "node.workers: cannot change while running"),
        ("127.0.0.1:0", "127.0.0.1:1", "cannot change while running"),
    ],
)
async def test_a_file_that_cannot_be_used_reaches_no_worker(run_node: RunNode, old: str, new: str, reason: str) -> None:
    async with run_node(workers=2) as node:
        await node.wait_ready()
        before = node.supervisor.config, node.supervisor.config_text
        change(node, old, new)
        status, answer = await node.control("/reload", method="POST")
        assert status == 409
        assert json.loads(answer)["accepted"] is False
        assert json.loads(answer)["reason"].startswith(f"{node.supervisor.config_path}: ")
        assert reason in json.loads(answer)["reason"]
        assert (node.supervisor.config, node.supervisor.config_text) == before
        assert texts(node, 0) == texts(node, 1) == []
        assert node.supervisor.holdings.reloads == {"accepted": 0, "refused": 1}


async def test_a_missing_file_is_refused(run_node: RunNode) -> None:
    async with run_node(workers=1) as node:
        await node.wait_ready()
        Path(node.supervisor.config_path).unlink()
        _, answer = await node.control("/reload", method="POST")
        assert "cannot be read: No such file or directory" in json.loads(answer)["reason"]


async def test_what_the_first_worker_refuses_the_others_never_see(run_node: RunNode) -> None:
    async with run_node("refuse-reload", workers=2) as node:
        await node.wait_ready()
        change(node, "deadline_seconds = 5.0", "deadline_seconds = 4.0")
        outcome = await node.supervisor.reload()
        assert outcome.reason == "worker 0: tls.ciphers: no usable cipher"
        assert texts(node, 1) == []
        assert node.supervisor.config.drain.deadline_seconds == 5.0


async def test_what_a_later_worker_refuses_is_taken_back_from_the_others(run_node: RunNode) -> None:
    async with run_node("refuse-reload-2", workers=3) as node:
        await node.wait_ready()
        old = node.supervisor.config_text
        new = change(node, "deadline_seconds = 5.0", "deadline_seconds = 4.0")
        outcome = await node.supervisor.reload()
        assert outcome.reason == "worker 2: tls.ciphers: no usable cipher"
        assert texts(node, 0) == [new, old]
        assert texts(node, 1) == [new, old]
        assert [seat.child.conversation.config_text for seat in node.supervisor.seats] == [old] * 3


async def test_a_worker_that_dies_during_a_reload_refuses_it(run_node: RunNode) -> None:
    async with run_node("ignore-reload", workers=1) as node:
        await node.wait_ready()
        change(node, "deadline_seconds = 5.0", "deadline_seconds = 4.0")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.supervisor.reload)
            await until(lambda: texts(node, 0), "the worker was asked")
            assert (await node.supervisor.reload()).reason == "a reload is already under way"
            os.kill(node.supervisor.seats[0].child.pid, signal.SIGKILL)
        assert node.supervisor.holdings.last_reload[1].reason == "worker 0: the worker is gone"
        assert node.supervisor.config.drain.deadline_seconds == 5.0


async def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(run_node: RunNode) -> None:
    async with run_node("ignore-reload", workers=1) as node:
        await node.wait_ready()
        worker = node.supervisor.seats[0].child.conversation
        assert await worker.reload("first", timeout_seconds=0.01) == "no answer within 0.01 s"
        async with trio.open_nursery() as nursery:
            answers: list[str | None] = []

            async def second() -> None:
                answers.append(await worker.reload("second", timeout_seconds=10))

            nursery.start_soon(second)
            await trio.testing.wait_all_tasks_blocked(0.01)
            worker._reload_answered("too late, about the first")
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert answers == []
            worker._reload_answered(None)
        assert answers == [None]


async def test_no_reload_while_draining(run_node: RunNode) -> None:
    async with run_node("ignore-drain", workers=1) as node:
        await node.wait_ready()
        node.supervisor.drain()
        assert (await node.supervisor.reload()).reason == "the node is draining"

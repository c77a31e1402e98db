"""The operators' commands against a node with stand-in workers: what they print and how they exit."""

import json
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from megaphone import __version__
from megaphone.cli.main import main
from megaphone.supervisor.child import State
from tests.unit.supervisor.node_under_test import PATIENCE_SECONDS, Running, RunNode, until

pytestmark = pytest.mark.trio


class Result:
    """One command's exit code and what it printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> dict:
        return json.loads(self.out)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]):
    """`await command(node, "status", ...)` runs one command against the node."""

    async def run(node: Running, *words: str) -> Result:
        def call(argv: Sequence[str]) -> int:
            return main([*argv, "--socket", node.supervisor.config.admin.socket])

        capsys.readouterr()
        code = await trio.to_thread.run_sync(call, words)
        return Result(code, *capsys.readouterr())

    return run


async def test_status(run_node: RunNode, command) -> None:
    async with run_node(workers=2) as node:
        await node.wait_ready()
        victim = node.supervisor.seats[1].child
        os.kill(victim.pid, signal.SIGKILL)
        await until(
            lambda: node.supervisor.seats[1].child is not victim and node.supervisor.seats[1].state is State.READY,
            "worker 1 was replaced",
        )
        shown = await command(node, "status")
        assert shown.code == 0
        first, *_ = shown.out.splitlines()
        assert ", running, ready, up " in first
        assert first.endswith(", 10 connections")
        workers = shown.out.split("\n\n")[2].splitlines()
        assert workers[0].split()[:3] == ["WORKER", "VERSION", "PID"]
        assert workers[1].split()[:4] == ["0", __version__, str(node.supervisor.seats[0].child.pid), "ready"]
        assert workers[2].endswith("killed by SIGKILL")
        status = await command(node, "status", "--json")
        assert (status.code, status.json["workers"][1]["restarts"]) == (0, {"signal": 1})


async def test_status_of_a_node_that_is_not_ready(run_node: RunNode, command) -> None:
    async with run_node("silent", workers=1) as node:
        shown = await command(node, "status")
        assert shown.code == 1
        assert "not ready: worker 0 is starting" in shown.out


async def test_connections(run_node: RunNode, command) -> None:
    async with run_node(workers=2) as node:
        await node.wait_ready()
        shown = await command(node, "connections")
        assert shown.code == 0
        head, *rows = shown.out.splitlines()
        assert head.split() == [
            *("ID", "WORKER", "STATE", "ADDRESS", "JID", "DOMAIN", "VIA", "TLS", "UPSTREAM"),
            *("AGE", "ROUND", "TRIP", "IN", "OUT"),
        ]
        assert [row.split()[3:5] for row in rows] == [
            ["192.0.2.1:40000", "user0@example.org/phone"],
            ["192.0.2.1:40001", "user1@example.org/phone"],
        ]
        assert [row.split()[9:13] for row in rows] == [["10", "s", "-", "1.0"], ["9", "s", "0.08", "ms"]]
        found = await command(
            node, "connections", "--json", "--jid", "user1@example.org/phone", "--state", "authenticated"
        )
        assert [connection["worker"] for connection in found.json["connections"]] == [1]
        assert [connection["round_trip_seconds"] for connection in found.json["connections"]] == [0.000084]
        few = await command(node, "connections", "--limit", "1")
        assert "there may be more than these 1" in few.out


async def test_connections_of_a_node_with_a_worker_that_hangs(run_node: RunNode, command) -> None:
    async with run_node(workers=2, heartbeat_timeout_seconds=PATIENCE_SECONDS) as node:
        await node.wait_ready()
        os.kill(node.supervisor.seats[0].child.pid, signal.SIGSTOP)
        shown = await command(node, "connections")
        assert shown.code == 1
        assert "user1@example.org/phone" in shown.out
        assert shown.err == "megaphone: error: no answer from worker 0; its connections are not in the list\n"


async def test_links(run_node: RunNode, command) -> None:
    async with run_node(workers=2, heartbeat_timeout_seconds=PATIENCE_SECONDS) as node:
        await node.wait_ready()
        shown = await command(node, "links")
        assert shown.code == 0
        cells = [re.split(r"  +", line) for line in shown.out.splitlines()]
        assert cells == [
            [
                *("WORKER", "UPSTREAM", "LINK", "STATE", "SINCE", "STREAMS", "WAITING", "ROUND TRIP"),
                *("FRAMES IN", "FRAMES OUT", "IN", "OUT", "KEPT", "UNSENT", "RE-ATTACHED", "TROUBLE"),
            ],
            [
                *("0", "first", "edge/0/first/0", "broken", "1 m 2 s", "7", "3", "-"),
                *("10", "11", "1.0 kB", "2.0 kB", "300 B", "200 B", "1", "Connection refused"),
            ],
            [
                *("1", "first", "edge/1/first/0", "attached", "1 m 2 s", "7", "3", "1.5 ms"),
                *("10", "11", "1.0 kB", "2.0 kB", "300 B", "200 B", "1", "-"),
            ],
        ]
        found = await command(node, "links", "--json")
        assert [link["round_trip_seconds"] for link in found.json["links"]] == [None, 0.0015]
        os.kill(node.supervisor.seats[0].child.pid, signal.SIGSTOP)
        shown = await command(node, "links")
        assert (shown.code, len(shown.out.splitlines())) == (1, 2)
        assert shown.err == "megaphone: error: no answer from worker 0; its links are not in the list\n"


async def test_links_of_a_node_that_has_none(run_node: RunNode, command) -> None:
    async with run_node("no-links", workers=1, heartbeat_timeout_seconds=PATIENCE_SECONDS) as node:
        await node.wait_ready()
        shown = await command(node, "links")
        assert (shown.code, shown.out, shown.err) == (0, "there are no links\n", "")
        as_json = await command(node, "links", "--json")
        assert as_json.json == {"links": [], "missing_workers": []}
        os.kill(node.supervisor.seats[0].child.pid, signal.SIGSTOP)
        unknown = await command(node, "links")
        assert (unknown.code, unknown.out) == (1, "")


async def test_kick(run_node: RunNode, command) -> None:
    async with run_node(workers=2) as node:
        await node.wait_ready()
        kicked = await command(node, "kick", "--jid", "user1@example.org")
        assert (kicked.code, kicked.out) == (0, "kicked 1 connection\n")
        nobody = await command(node, "kick", "--jid", "nobody@example.org")
        assert (nobody.code, nobody.err) == (1, "megaphone: error: no connection matches\n")
        as_json = await command(node, "kick", "--address", "192.0.2.9", "--json")
        assert (as_json.code, as_json.json) == (1, {"kicked": 0, "missing_workers": []})


async def test_drain_of_one_worker(run_node: RunNode, command) -> None:
    async with run_node(workers=2) as node:
        await node.wait_ready()
        drained = node.supervisor.seats[1].child
        shown = await command(node, "drain", "--worker", "1")
        assert (shown.code, shown.out) == (0, "draining worker 1, at most 5 s\n")
        await until(lambda: node.supervisor.seats[1].child is not drained, "worker 1 was replaced")
        unknown = await command(node, "drain", "--worker", "9")
        assert (unknown.code, unknown.err) == (1, "megaphone: error: worker 9 is not running\n")


async def test_drain_of_the_node(run_node: RunNode, command) -> None:
    async with run_node("healthy", workers=1) as node:
        await node.wait_ready()
        shown = await command(node, "drain")
        assert (shown.code, shown.out) == (0, "draining the node, at most 5 s\n")
        assert await node.wait_ended() is None
        gone = await command(node, "status")
        assert gone.code == 3
        assert "Megaphone is not running, or not on " in gone.err


async def test_reload(run_node: RunNode, command) -> None:
    async with run_node(workers=2) as node:
        await node.wait_ready()
        done = await command(node, "reload")
        assert (done.code, done.out) == (0, "reloaded, in force in 2 workers\n")
        path = Path(node.supervisor.config_path)
        path.write_text(path.read_text().replace("workers = 2", "workers = 3"))
        refused = await command(node, "reload")
        assert refused.code == 2
        assert refused.err == (
            "megaphone: error: refused, the old configuration stays in force: "
            f"{path}: node.workers: cannot change while running; restart Megaphone to change it\n"
        )
        as_json = await command(node, "reload", "--json")
        assert (as_json.code, as_json.json["accepted"], as_json.err) == (2, False, "")
        shown = await command(node, "status")
        assert ", refused: " in shown.out

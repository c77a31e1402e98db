"""`megaphone top`: its lines from feeds made here, and the command against a node, once and in a terminal."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from megaphone.cli.top_frame import KEYS, Look, frame, rate
from tests.scenarios.terminal import Terminal
from tests.unit.supervisor.node_under_test import RunNode

PATIENCE_SECONDS = 60.0


def talker(number: int, carried: int) -> dict[str, Any]:
    return {
        **{"id": f"{number:016x}", "jid": f"user{number}@example.org/x", "address": "2001:db8::1", "port": number},
        **{"state": "authenticated", "age_seconds": 61.0, "bytes_in": carried, "bytes_out": 0},
        "round_trip_seconds": number / 1000,
    }


def look(at_seconds: float, stanzas: float, *talkers: dict[str, Any], workers: int = 2, **head: Any) -> Look:
    each = [str(index) for index in range(workers)]
    metrics = {
        "connections": [
            ({"worker": w, "state": s}, n) for w in each for s, n in (("authenticated", 1500), ("closing", 1))
        ],
        "websocket_connections": [({"worker": w}, 500) for w in each],
        "connections_accepted_total": [({"worker": w}, at_seconds * 20) for w in each],
        "connections_closed_total": [({"reason": "kicked"}, 3), ({"reason": "internal"}, 0)],
        "stanzas_total": [
            ({"direction": "in", "kind": "iq"}, stanzas),
            ({"direction": "out", "kind": "iq"}, 3 * stanzas),
        ],
        "stream_bytes_total": [({"direction": "in"}, 0), ({"direction": "out"}, at_seconds * 1500)],
        "worker_resident_memory_bytes": [({"worker": w}, 30_020_000) for w in each],
        "worker_cpu_seconds_total": [({"worker": w}, at_seconds / 4) for w in each],
        "worker_start_time_seconds": [({"worker": w}, at_seconds - 3700) for w in each],
        "worker_loop_lag_seconds": [({"worker": w}, 0.0012) for w in each],
        "client_round_trip_now_seconds": [
            ({"worker": w, "percentile": share}, int(share) / (1000 + int(w)))
            for w in each
            for share in ("50", "90", "100")
        ],
        "links": [({"upstream": "s", "state": "attached"}, 1), ({"upstream": "s", "state": "broken"}, 1)],
        "link_streams": [({"upstream": "s", "worker": "0", "link": n}, 7) for n in "01"],
        "link_round_trip_seconds": [({"upstream": "s", "worker": "0", "link": n}, int(n) / 100) for n in "01"],
        "nodes": [({"worker": w}, 0) for w in each],
    }
    feed = {
        **{"at_seconds": at_seconds, "version": "1.2", "phase": "running", "ready": True, "reasons": []},
        **{"uptime_seconds": 7200.0, "kind": "edge", "token": False},
        **{"metrics": {f"megaphone_{name}": samples for name, samples in metrics.items()}},
    }
    return Look({**feed, **head}, talkers)


def text(now: Look, before: Look | None = None, **size: Any) -> list[str]:
    return [line for line, _ in frame(now, before, **({"columns": 160, "rows": 60} | size))]


def test_the_head() -> None:
    lines = text(look(110, 600), look(100, 500))
    assert lines[0] == "Megaphone 1.2, running, ready, up 2 h"
    found = {line.split()[0]: re.split(r"  +", line)[1:] for line in lines[1:9]}
    assert (
        found
        == {
            "connections": ["3,002", "3,000 authenticated, 2 closing"],
            "transport": ["2,002 TCP, 1,000 WebSocket"],
            "opened": ["40/s", "ended 0.0/s"],
            "stanzas": ["40/s", "10/s in, 30/s out"],
            "traffic": ["1.5 kB/s", "0 B/s in, 1.5 kB/s out"],
            "memory": ["60.0 MB", "20.0 kB for each connection"],
            "round": ["trip", "50.0 ms", "90 % within 90.0 ms, worst 100.0 ms"],
            "links": ["1 of 2 attached", "round trip 10.0 ms"],
        }
        | {"": found.get("", [])}
        or "" in lines
    )


def test_the_tables() -> None:
    lines = text(look(110, 600), look(100, 500))
    cells = {line.split("  ")[0]: re.split(r"  +", line)[1:] for line in lines[9:]}
    assert cells["0"] == ["1 h 1 m", "1,501", "25.0 %", "30.0 MB", "1.2 ms", "-", "-", "-"]
    assert cells["s 0/1"] == ["7", "10.0 ms", "-", "-", "-", "-", "-", "-"]
    assert cells["kicked"] == ["3", "0.0/s"]
    assert not any("internal" in line for line in lines)
    assert not any(line.startswith("cluster") for line in lines)


def test_one_look_has_no_rates() -> None:
    lines = text(look(110, 600))
    assert "stanzas     -             - in, - out" in lines
    assert rate(look(110, 600), look(110, 500), "stanzas_total") is None


def test_talkers_by_all_they_carried_or_by_what_they_carry_now() -> None:
    before = look(100, 0, talker(1, 10_000), talker(2, 5_000))
    now = look(102, 0, talker(1, 10_200), talker(2, 9_000), talker(3, 100))
    names = re.compile(r"user\d")
    lines = text(now, before)
    assert [names.match(line)[0] for line in lines if names.match(line)] == ["user1", "user2", "user3"]
    assert re.split(r"  +", next(line for line in lines if line.startswith("user2"))) == [
        *("user2@example.org/x", "2.0 kB/s", "9.0 kB", "0 B", "2.0 ms", "1 m 1 s", "authenticated", "[2001:db8::1]:2")
    ]
    lines = text(now, before, sort="now")
    assert [names.match(line)[0] for line in lines if names.match(line)] == ["user2", "user1", "user3"]


def test_a_long_jid_leaves_the_numbers_on_the_screen() -> None:
    talkers = talker(1, 10_000), talker(2, 9_000) | {"jid": f"{'x' * 60}@example.org/{'y' * 60}"}
    now, before = look(102, 0, *talkers), look(100, 0, *talkers)
    narrow = next(line for line in text(now, before, columns=80) if line.startswith("xx"))
    assert re.split(r"  +", narrow)[:6] == ["x" * 25 + "...", "0 B/s", "9.0 kB", "0 B", "2.0 ms", "1 m 1 s"]
    wide = next(line for line in text(now, before, columns=250) if line.startswith("xx"))
    assert wide.startswith(talkers[1]["jid"] + "  ")
    assert wide.endswith("[2001:db8::1]:2")


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (20, 5), (80, 24), (200, 12), (0, 0)])
def test_any_size_of_the_screen_is_kept(columns: int, rows: int) -> None:
    many = look(110, 600, *(talker(number, 1000 - number) for number in range(100)), workers=50)
    lines = text(many, look(100, 500, workers=50), columns=columns, rows=rows)
    assert len(lines) <= rows
    assert all(len(line) <= columns for line in lines)
    assert not lines or lines[-1] == KEYS[:columns]


def test_many_rows_leave_room_for_other_tables() -> None:
    many = look(110, 600, *(talker(number, 1000 - number) for number in range(100)), workers=50)
    lines = text(many, None, rows=50)
    assert "... 31 more" in lines
    assert any(line.startswith("TALKER") for line in lines)


def test_trouble_and_what_could_steer_a_terminal() -> None:
    reasons = ["worker 0 is \x1b[31mgone"]
    styled = frame(look(1, 1, ready=False, reasons=reasons), None, columns=100, rows=50)
    assert ("  not ready: worker 0 is \\u001b[31mgone", "trouble") in styled
    assert styled[-1] == (KEYS, "keys")
    noted = frame(look(1, 1), None, columns=100, rows=50, note="really? y/n")
    assert noted[-1] == ("really? y/n", "keys")


def command(socket: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "megaphone", "top", "--socket", socket, *options]


@pytest.mark.trio
async def test_once(run_node: RunNode) -> None:
    async with run_node(workers=2) as node:
        await node.wait_ready()
        socket = node.supervisor.config.admin.socket

        def shown(*options: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                command(socket, *options), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
            )

        done = await trio.to_thread.run_sync(shown, "--once", "--interval", "0.2")
        assert (done.returncode, done.stderr) == (0, "")
        assert ", running, ready, up " in done.stdout
        assert re.search(r"^connections +10 +10 authenticated$", done.stdout, re.MULTILINE)
        assert re.search(r"^user13@worker1 .* 192.0.2.1:40013$", done.stdout, re.MULTILINE)
        as_json = json.loads((await trio.to_thread.run_sync(shown, "--json")).stdout)
        assert len(as_json["talkers"]) == 8
        assert as_json["metrics"]["megaphone_workers"]
        no_terminal = await trio.to_thread.run_sync(shown)
        assert (no_terminal.returncode, no_terminal.stderr) == (
            1,
            "megaphone: error: this is no terminal; use --once\n",
        )
        wrong = await trio.to_thread.run_sync(shown, "--interval", "0")
        assert wrong.returncode == 2
        assert "from 0.2 to 3600 seconds" in wrong.stderr


@pytest.mark.trio
async def test_in_a_terminal(run_node: RunNode, directory: Path) -> None:
    """It draws, sorts, redraws in another size, asks before it drains, does, and says so when the node has gone."""
    async with run_node(workers=1) as node:
        await node.wait_ready()
        socket = node.supervisor.config.admin.socket
        await trio.to_thread.run_sync(lambda: asyncio.run(watch_in_a_terminal(directory, socket)))
        assert await node.wait_ended() is None


async def watch_in_a_terminal(directory: Path, socket: str) -> None:
    # the size that a shell has exported is not that of the terminal
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "80", "LINES": "24"}
    async with Terminal(directory, command(socket, "--interval", "0.3"), environment) as top:
        assert "user13@worker0" in await top.until("talkers by what they carried")
        await top.until(lambda shown: shown.rstrip().splitlines()[-1].startswith("q quit   s sort talkers   d drain"))
        top.press("s")
        await top.until("talkers by what they carry now")
        top.resize(60, 12)
        await top.until(lambda shown: re.fullmatch(r"Megaphone .*(\n.*){10}\nq quit.*\n", shown) is not None)
        top.press("d")
        await top.until("send all clients away and end the node? y/n")
        top.press("n")
        await top.until("q quit")
        top.press("d")
        await top.until("y/n")
        top.press("y")
        await top.until(lambda shown: "draining the node, at most 5 s" in shown or "drained: Megaphone" in shown)
        await top.until("drained: Megaphone is not running")
        top.press("q")
        await top.ended()

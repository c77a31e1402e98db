"""What the nodes of a cluster have on their disks of a room, asked as an operator would: `megaphone history`."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from megaphone.errors import MegaphoneError
from megaphone.history.digest import NOTHING, Digest, since
from megaphone.history.manifest import MUC, Manifest
from megaphone.storage.database import database_path
from megaphone.storage.history_file import HistoryLook

EQUAL_SECONDS = 60.0
POLL_SECONDS = 0.1
COMMAND_SECONDS = 120.0


def _history(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "megaphone", "history", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)


def shown(data: Path, room: str) -> list[dict[str, Any]]:
    """All lines of a room in a node's data directory, oldest first; none if it has no such room."""
    done = _history("show", room, "--file", str(data), "--last", "100000", "--json")
    if done.returncode == 1 and f"there is no history of {room} in" in done.stderr:
        return []
    assert done.returncode == 0, done.stderr
    lines: list[dict[str, Any]] = json.loads(done.stdout)
    return lines


def said_in(lines: list[dict[str, Any]]) -> list[str]:
    """The texts of messages among lines."""
    return [line["text"] for line in lines if line["kind"] == "message"]


def texts(data: Path, room: str) -> list[str]:
    """What was said in a room, oldest first."""
    return said_in(shown(data, room))


def verified(data: Path) -> tuple[int, str]:
    """Exit code of `history verify`, and what it says."""
    done = _history("verify", str(data))
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


def digest(data: Path, room: str, kind: str = MUC) -> Digest:
    """Count and sum of the ids of all entries of a room; nothing while there is no such room."""
    try:
        look = HistoryLook(database_path(str(data)))
    except MegaphoneError:
        return NOTHING
    try:
        return since(look.digests(Manifest(kind, room).id))
    except MegaphoneError:
        return NOTHING
    finally:
        look.close_reader()


async def become_equal(
    data: Sequence[Path], room: str, entries: int, *, kind: str = MUC, timeout_seconds: float = EQUAL_SECONDS
) -> None:
    """Wait until these nodes have the same entries of a room, and at least so many."""
    found: list[Digest] = []
    try:
        async with asyncio.timeout(timeout_seconds):
            while len({*found}) != 1 or found[0].entries < entries:
                await asyncio.sleep(POLL_SECONDS if found else 0)
                found = [await asyncio.to_thread(digest, each, room, kind) for each in data]
    except TimeoutError:
        counts = [each.entries for each in found]
        raise AssertionError(f"{room}: not the same after {timeout_seconds:g} s: {counts}, {entries} wanted") from None


def assert_whole_and_equal(data: Sequence[Path], room: str) -> list[dict[str, Any]]:
    """The histories of all nodes are whole, and they show the same in the same order; returns that."""
    for each in data:
        code, said = verified(each)
        assert code == 0, said
    first, *others = [shown(each, room) for each in data]
    for other in others:
        assert [line["id"] for line in other] == [line["id"] for line in first]
        assert other == first
    return first

"""`kill -9` while batches are written, at any moment: what was said to be durable is there, and the file is right."""

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

from megaphone.cli.main import main
from megaphone.history.entry import FIRST
from megaphone.storage.history_file import HistoryFile
from megaphone.storage.node_key import verify
from tests.unit.storage.histories import ROOM, Writing

KILLS = 6
ANNA = Writing("anna").origin


def killed(path: Path, moment_seconds: float) -> list[str]:
    """Let the victim write until it has said something and a moment longer; what it has said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.storage.history_victim", str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    lines: list[str] = []
    assert process.stdout is not None
    output = process.stdout

    def read() -> None:
        lines.extend(line for line in output if line.endswith("\n"))

    first = output.readline()
    lines.append(first)
    reader = threading.Thread(target=read)
    reader.start()
    deadline = time.monotonic() + 60
    while not any("ERASED" in line for line in lines) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(moment_seconds)  # any moment will do
    process.kill()
    assert process.wait(20) == -9
    reader.join(20)
    return lines


def test_what_was_durable_survives(tmp_path: Path) -> None:
    path = tmp_path / "anna.sqlite3"
    generator = random.Random(3)
    durable, erased = 0, set[int]()
    for _ in range(KILLS):
        said = [line.split() for line in killed(path, generator.random() * 0.2)]
        last = max(int(seq) for what, seq in said if what == "DURABLE")
        assert last > durable
        durable = last
        erased |= {int(seq) for what, seq in said if what == "ERASED"}
        assert main(["history", "verify", str(path)]) == 0
        store = HistoryFile(str(path), verifier=verify)
        assert (store.found, store.put_aside) == ([], "")
        (span,) = store.spans(ROOM.id)[ANNA]
        assert span.first == 1
        assert span.before == FIRST
        assert span.last >= durable
        (head,) = store.feed(ROOM.id, ANNA, span.last, span.last)
        assert store.tip(ROOM.id, ANNA) == (span.last, span.head, head.entry.clock)
        assert (store.seal(ROOM.id, ANNA, span.last) or (0,))[0] == span.last  # a batch is there whole, with its seal
        placed = store.feed(ROOM.id, ANNA, 1, span.last)
        assert [each.seq for each in placed] == list(range(1, span.last + 1))
        assert {each.seq for each in placed if each.entry.content is None} >= erased
        assert store.close() == 0

"""What was said to be committed is there after `kill -9`, at whatever moment it comes."""

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

from megaphone.storage.database import connect, database_path
from megaphone.storage.storage import Storage
from megaphone.storage.users import SQLiteUsers
from tests.unit.storage.conftest import ROMEO

KILLS = 5


class Victim:
    """A writing process and what it has said."""

    def __init__(self, directory: str, worker: int) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.storage.killed_writer", directory, str(worker)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):
                self.lines.append(line)

    def kill(self) -> None:
        """Kill it, and wait until all that it said is read."""
        self._process.kill()
        assert self._process.wait(20) == -9
        self._reader.join(20)


def test_what_was_committed_survives(directory: str) -> None:
    kept: set[int] = set()
    generator = random.Random(7)
    for _ in range(KILLS):
        victims = [Victim(directory, worker) for worker in (0, 1)]
        deadline = time.monotonic() + 60
        while not all("REMOVED" in "".join(victim.lines[-5000:]) for victim in victims):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for victim in victims:
            time.sleep(generator.random() * 0.1)  # any moment will do
            victim.kill()
        said = [line.split() for victim in victims for line in victim.lines]
        put = {int(number) for what, number in said if what == "PUT"}
        removed = {int(number) for what, number in said if what == "REMOVED"}
        assert len(put) > 300
        connection = connect(database_path(directory))
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = {number for (number,) in connection.execute("SELECT id FROM spool")}
        connection.close()
        assert not removed & found
        removing = {int(number) for what, number in said if what == "REMOVING"}
        assert (kept | put) - removing <= found
        kept = found
    storage = Storage(directory)
    waiting = SQLiteUsers(storage).offline_messages(ROMEO)
    assert {message.key for message in waiting} == kept
    by_worker = [[int(m.stanza.split(b":")[1]) for m in waiting if m.stanza.startswith(b"%d:" % w)] for w in (0, 1)]
    assert all(by_worker)
    assert storage.close() == 0

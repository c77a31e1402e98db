"""What the loops of workers are busy with: their Python stacks, looked at by py-spy a hundred times a second.

Only what holds the interpreter's lock is looked at: who waits, in epoll or for a lock, has given it away. Other threads
are left out, as SQLite works without it; the kernel's clock of each thread knows what they take. A stack counts for the
first of these that one of its frames belongs to; what a compiled module does, for who called it:

    history         the signed log: megaphone/history, its archives, and what is read from and given to SQLite
    between nodes   the client of NATS, and what puts words to other nodes together
    edge and rooms  all else: sockets, streams, sessions, rooms
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.servers.process import ServerError, wait_until

RATE = 100
REST = "edge and rooms"
WHERE = {
    "history": re.compile(r"megaphone/(history/|storage/|embedded/(archives|histor))"),
    "between nodes": re.compile(r"megaphone/(bus/(nats|keys|member)|embedded/(nodes|\w+_nodes|tables))"),
}
PARTS = (*WHERE, REST)
OTHER_THREAD = "_bootstrap_inner ("  # of threading.py, which begins all but the first
SAYS_IT_SAMPLES = "Sampling process"
BEGIN_SECONDS = END_SECONDS = 30.0


class Stacks:
    """What was seen; complete when the sampling has ended."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()

    def read(self, text: str) -> None:
        """Add lines of py-spy's raw format: frames from the outermost one on, separated by ";", and how often."""
        for line in text.splitlines():
            frames, _, count = line.rpartition(" ")
            if frames and count.isdecimal() and OTHER_THREAD not in frames:
                self.seen[part_of(frames)] += int(count)

    def shares(self) -> dict[str, float]:
        """Of each part; ServerError if nothing was seen."""
        whole = sum(self.seen.values())
        if not whole:
            raise ServerError("py-spy has seen no worker at work: may it look at processes (ptrace)?")
        return {part: self.seen[part] / whole for part in PARTS}


def part_of(frames: str) -> str:
    """The part that a stack counts for."""
    return next((part for part, where in WHERE.items() if where.search(frames)), REST)


def program() -> str | None:
    """Where py-spy is, if it is there."""
    return shutil.which("py-spy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def _has_begun(child: "subprocess.Popen[bytes]", output: Path) -> bool:
    # one that may not look at the process ends; that it has seen nothing is found out afterwards
    return child.poll() is not None or SAYS_IT_SAMPLES in output.read_text()


@contextmanager
def sampled(pids: Sequence[int], directory: Path) -> Iterator[Stacks]:
    """Sample these processes meanwhile, from the first moment on. ServerError if py-spy is not there."""
    spy = program()
    if spy is None:
        raise ServerError("py-spy is not installed: pip install py-spy")
    stacks = Stacks()
    files = [directory / f"stacks-{pid}.txt" for pid in pids]
    outputs = [file.with_suffix(".out") for file in files]
    command = [spy, "record", "--gil", "--rate", str(RATE), "--format", "raw", "--duration", "unlimited"]
    children = []
    try:
        for pid, file, output in zip(pids, files, outputs, strict=True):
            file.unlink(missing_ok=True)
            with output.open("wb") as said:
                children.append(
                    subprocess.Popen(
                        [*command, "--full-filenames", "--output", str(file), "--pid", str(pid)],
                        stdout=said,
                        stderr=subprocess.DEVNULL,
                    )
                )
        for child, output in zip(children, outputs, strict=True):
            wait_until(partial(_has_begun, child, output), "py-spy", BEGIN_SECONDS)
        yield stacks
        for child in children:
            child.send_signal(signal.SIGINT)  # it writes what it has
        wait_until(lambda: all(child.poll() is not None for child in children), "the end of py-spy", END_SECONDS)
    finally:
        for child in children:
            child.kill()
            child.wait()
    for file in files:
        if file.exists():
            stacks.read(file.read_text())

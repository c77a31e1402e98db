"""What a tree of processes has used, from /proc: CPU time and memory."""

import os
import time
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
SETTLED_BYTES = 65_536
SETTLE_SECONDS = 0.5
SETTLE_LIMIT_SECONDS = 10.0


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += tree(int(child))
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the tree so far, in steps of a clock tick (10 ms)."""
    total = 0
    for process in tree(pid):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_SECOND


def pss_bytes(pid: int) -> int:
    """Resident memory of the tree, shared pages divided among those who share them (proportional set size)."""
    total = 0
    for process in tree(pid):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def settled_pss_bytes(pid: int) -> int:
    """The same when it has stopped changing (or after 10 s)."""
    deadline = time.monotonic() + SETTLE_LIMIT_SECONDS
    before = pss_bytes(pid)
    while True:
        time.sleep(SETTLE_SECONDS)
        after = pss_bytes(pid)
        if abs(after - before) < SETTLED_BYTES or time.monotonic() > deadline:
            return after
        before = after

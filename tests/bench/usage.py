"""What a tree of processes has used, from /proc: CPU time and memory; and its priority."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CPUCLOCK_SCHED = 2  # of all that a process runs; include/linux/posix-timers_types.h
SETTLED_BYTES = 65_536
SETTLE_SECONDS = 0.5
SETTLE_LIMIT_SECONDS = 10.0
IDLE_SHARE = 0.1  # of a core: what a server uses that has nothing to do


def tree(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += tree(int(child))
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of the tree so far, all threads included, from the kernel's clock of each process."""
    # clock_getcpuclockid(3), which Python has for threads alone: /proc/PID/stat would count steps of 10 ms
    return sum(time.clock_gettime(~process << 3 | CPUCLOCK_SCHED) for process in tree(pid))


def settled_cpu_seconds(pid: int) -> float:
    """The same when the tree is idle again (or after 10 s): what it was told to do has been done."""
    deadline = time.monotonic() + SETTLE_LIMIT_SECONDS
    before = cpu_seconds(pid)
    while True:
        time.sleep(SETTLE_SECONDS / 2)
        after = cpu_seconds(pid)
        if after - before <= IDLE_SHARE * SETTLE_SECONDS / 2 or time.monotonic() > deadline:
            return after
        before = after


def resident_bytes(pid: int) -> int:
    """Resident memory of the tree, shared pages divided among those who share them.

    File pages are left out: how many processes share a library depends on what else runs on the machine.
    """
    total = 0
    for process in tree(pid):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                total += int(line.split()[1]) * 1024
    return total


def descriptors(pid: int, kind: str = "") -> int:
    """Open descriptors of the tree whose target begins with `kind`, such as "socket:"; all of them by default."""
    found = 0
    for process in tree(pid):
        for entry in Path(f"/proc/{process}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed in the meantime
                found += entry.readlink().name.startswith(kind)
    return found


def status_bytes(pid: int, field: str) -> int:
    """The sum over the tree of a field of /proc/PID/status, such as VmRSS, or VmPTE for the page tables."""
    total = 0
    for process in tree(pid):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                total += int(line.split()[1]) * 1024
    return total


def settled_resident_bytes(pid: int) -> int:
    """The same when it has stopped changing (or after 10 s)."""
    deadline = time.monotonic() + SETTLE_LIMIT_SECONDS
    before = resident_bytes(pid)
    while True:
        time.sleep(SETTLE_SECONDS)
        after = resident_bytes(pid)
        if abs(after - before) < SETTLED_BYTES or time.monotonic() > deadline:
            return after
        before = after


@contextmanager
def preferred(pid: int) -> Iterator[bool]:
    """Let the tree run before all ordinary work of the machine, if the kernel permits; yields whether it does.

    Niceness is not enough: a wake-up waits until the process that runs has used its slice of some milliseconds.
    """
    processes = tree(pid)
    try:
        for process in processes:
            os.sched_setscheduler(process, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        yield False
        return
    try:
        yield True
    finally:
        for process in processes:
            os.sched_setscheduler(process, os.SCHED_OTHER, os.sched_param(0))

"""What one process uses, from /proc: memory and CPU time."""

import os
import time
from pathlib import Path
from typing import Final, NamedTuple

CPUCLOCK_SCHED: Final = 2  # of all that a process runs; include/linux/posix-timers_types.h


class Memory(NamedTuple):
    """Bytes of a process: its own pages, with its part of those it shares; and the kernel's tables for it."""

    user: int
    tables: int


NOTHING: Final = Memory(0, 0)


def memory_of(pid: int) -> Memory:
    """PSS, and page and descriptor tables; nothing when it has ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return NOTHING
    user = next((int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")), 0)
    fields = {name: rest.split() for name, _, rest in (line.partition(":") for line in status.splitlines())}
    slots = int(fields["FDSize"][0])
    # A pointer for each descriptor, and bits for "open" and "close on exec".
    return Memory(user, int(fields["VmPTE"][0]) * 1024 + slots * 8 + slots // 4) if "VmPTE" in fields else NOTHING


def cpu_seconds(pid: int) -> float | None:
    """User and system time so far, all threads included; None when it has ended."""
    try:
        # clock_getcpuclockid(3), which Python has for threads alone: /proc/PID/stat would count steps of 10 ms.
        return time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)
    except OSError:
        return None


def children(pid: int) -> list[int]:
    """The children of all threads of a process."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


class Busy(NamedTuple):
    """CPU seconds of the whole machine since it has started, all processors together."""

    used: float  # by whatever ran on it
    stolen: float  # by the host of this virtual machine, while something wanted to run


def stalled_seconds() -> dict[str, float]:
    """For how long something had to wait for a processor, memory or a disk since the machine has started.

    `some`: at least one process; `full`: all that had something to do. From the kernel's pressure stall information,
    empty where it has none.
    """
    found = {}
    for what in ("cpu", "memory", "io"):
        try:
            text = Path(f"/proc/pressure/{what}").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            found[f"{what}_{line.split()[0]}"] = int(line.rpartition("total=")[2]) / 1e6
    return found


def busy() -> Busy:
    """How busy the machine was so far."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    ticks = os.sysconf("SC_CLK_TCK")
    return Busy((user + nice + system + irq + softirq) / ticks, steal / ticks)

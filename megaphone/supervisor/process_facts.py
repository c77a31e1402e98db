"""What the kernel knows of a worker process; read from outside, so that one that hangs can be measured too."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int | None:
    """Resident memory of the process; None when there is no such process (proc(5), /proc/PID/statm)."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return None


def cpu_seconds(pid: int) -> float | None:
    """User and system time of the process; None when there is no such process (proc(5), /proc/PID/stat)."""
    try:
        # The command name in brackets may hold blanks and brackets: count fields from the last one.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
    except (OSError, IndexError, ValueError):
        return None


def open_descriptors(pid: int) -> int | None:
    """How many descriptors the process has open; None when there is no such process or the kernel does not count.

    Linux 6.2 and later say it as the size of /proc/PID/fd (proc(5)). Before that one would have to list them all, which
    leaves an entry for each in the kernel's caches: half a gigabyte for a million.
    """
    try:
        return os.stat(f"/proc/{pid}/fd").st_size or None
    except OSError:
        return None


def most_descriptors(pid: int) -> int | None:
    """The process's soft limit of open files; None when there is no such process or no limit (getrlimit(2))."""
    try:
        soft, _ = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    except OSError:
        return None
    return soft if soft != resource.RLIM_INFINITY else None


@dataclass(frozen=True, slots=True)
class Schedule:
    """What the main thread of a process has had of the processors, in all its life.

    `ran_ns` and `waited_ns` (ready to run, but others ran) are in nanoseconds; a wait is counted when it is over.
    `ready`: it runs or waits now, rather than sleeping or being stopped.
    """

    ran_ns: int
    waited_ns: int
    ready: bool


def schedule(pid: int) -> Schedule | None:
    """How a process was scheduled (proc(5), schedstat); None where the kernel was built without CONFIG_SCHED_INFO."""
    try:
        ran, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return Schedule(int(ran), int(waited), state == "R")
    except (OSError, IndexError, ValueError):
        return None

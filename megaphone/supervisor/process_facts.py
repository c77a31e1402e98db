"""What the kernel knows of a worker process; read from outside, so that one that hangs can be measured too."""

import os
import resource
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

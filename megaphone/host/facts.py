"""Reads what the kernel allows from a /proc tree: limits, sysctls, memory (proc(5)); None for what is not there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

UNLIMITED: Final = 2**63 - 1
_KIB: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One host, or one process's view of it."""

    open_files_soft: int | None  # RLIMIT_NOFILE of the process
    open_files_hard: int | None
    nr_open: int | None  # the most that RLIMIT_NOFILE can be
    file_max: int | None  # of the whole machine
    epoll_watches: int | None  # of one user
    map_count: int | None  # of one process
    tcp_mem_pages: tuple[int, int, int] | None  # low, pressure, high
    tcp_rmem_bytes: tuple[int, int, int] | None  # least, at first, most
    tcp_wmem_bytes: tuple[int, int, int] | None
    somaxconn: int | None
    syn_backlog: int | None
    port_range: tuple[int, int] | None  # first and last
    reserved_ports: int  # of these, not to be used
    conntrack_entries: int | None  # the most; None: connections are not tracked
    conntrack_count: int | None  # tracked now
    memory_available_bytes: int | None


def read(proc: Path, process: str = "self") -> Facts:
    """The facts of the host whose /proc this is; limits are those of `process` (a pid, or "self")."""
    sysctl = proc / "sys"
    ipv4 = sysctl / "net" / "ipv4"
    soft, hard = _limit(proc / process / "limits", "Max open files")
    ports = _numbers(ipv4 / "ip_local_port_range", 2)
    return Facts(
        open_files_soft=soft,
        open_files_hard=hard,
        nr_open=_number(sysctl / "fs" / "nr_open"),
        file_max=_number(sysctl / "fs" / "file-max"),
        epoll_watches=_number(sysctl / "fs" / "epoll" / "max_user_watches"),
        map_count=_number(sysctl / "vm" / "max_map_count"),
        tcp_mem_pages=_triple(ipv4 / "tcp_mem"),
        tcp_rmem_bytes=_triple(ipv4 / "tcp_rmem"),
        tcp_wmem_bytes=_triple(ipv4 / "tcp_wmem"),
        somaxconn=_number(sysctl / "net" / "core" / "somaxconn"),
        syn_backlog=_number(ipv4 / "tcp_max_syn_backlog"),
        port_range=(ports[0], ports[1]) if ports else None,
        reserved_ports=_reserved(ipv4 / "ip_local_reserved_ports", *ports) if ports else 0,
        conntrack_entries=_number(sysctl / "net" / "netfilter" / "nf_conntrack_max"),
        conntrack_count=_number(sysctl / "net" / "netfilter" / "nf_conntrack_count"),
        memory_available_bytes=_memory(proc / "meminfo", "MemAvailable"),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _numbers(path: Path, count: int) -> tuple[int, ...] | None:
    words = _text(path).split()
    return tuple(map(int, words)) if len(words) == count and all(word.isdecimal() for word in words) else None


def _number(path: Path) -> int | None:
    found = _numbers(path, 1)
    return found[0] if found else None


def _triple(path: Path) -> tuple[int, int, int] | None:
    found = _numbers(path, 3)
    return (found[0], found[1], found[2]) if found else None


def _limit(path: Path, name: str) -> tuple[int | None, int | None]:
    for line in _text(path).splitlines():
        if line.startswith(name):
            soft, hard = [*line.removeprefix(name).split(), "", ""][:2]
            return _of_limit(soft), _of_limit(hard)
    return None, None


def _of_limit(word: str) -> int | None:
    if word == "unlimited":
        return UNLIMITED
    return int(word) if word.isdecimal() else None


def _reserved(path: Path, first: int, last: int) -> int:
    """How many ports of the range are reserved; the file has "8080,9000-9100"."""
    taken: set[int] = set()
    for word in _text(path).strip().split(","):
        low, _, high = word.partition("-")
        if low.isdecimal() and (high or low).isdecimal():
            taken.update(range(max(int(low), first), min(int(high or low), last) + 1))
    return len(taken)


def _memory(path: Path, name: str) -> int | None:
    for line in _text(path).splitlines():
        key, _, value = line.partition(":")
        words = value.split()
        if key == name and words and words[0].isdecimal():
            return int(words[0]) * _KIB
    return None

"""What this machine has: processors, memory, descriptors, and the kernel's settings."""

import os
import resource
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtest.million import certificate

SETTINGS: Final = (
    "fs.file-max",
    "fs.epoll.max_user_watches",
    "net.core.netdev_max_backlog",
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_max_orphans",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_mem",
    "net.netfilter.nf_conntrack_max",
)
ROOT: Final = Path("/proc/sys")


@dataclass(frozen=True, slots=True)
class Host:
    """A machine; `settings` has those of SETTINGS that it knows."""

    cores: int
    memory_bytes: int
    available_bytes: int
    descriptors: int  # the hard limit of one process
    open_files: int  # of all processes now
    settings: Mapping[str, tuple[int, ...]]
    tracks_connections: bool  # whether conntrack counts connections over loopback
    may_change: bool  # whether we may write the settings
    makes_certificates: bool = True

    @property
    def ports(self) -> int:
        """Ports that one source address has for outgoing connections."""
        low, high = self.settings["net.ipv4.ip_local_port_range"]
        return high - low + 1


def read_host() -> Host:
    """This machine, now."""
    memory = {name: int(rest.split()[0]) * 1024 for name, _, rest in _lines("/proc/meminfo")}
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Host(
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=memory["MemTotal"],
        available_bytes=memory["MemAvailable"],
        descriptors=descriptors if descriptors != resource.RLIM_INFINITY else read_setting("fs.nr_open")[0],
        open_files=int(Path("/proc/sys/fs/file-nr").read_text().split()[0]),
        settings={name: read_setting(name) for name in SETTINGS if path_of(name).exists()},
        tracks_connections=_tracks_connections(),
        may_change=os.access(path_of("net.core.somaxconn"), os.W_OK),
        makes_certificates=certificate.can_be_made(),
    )


def path_of(name: str) -> Path:
    """The file of a setting as sysctl(8) names it."""
    return ROOT / name.replace(".", "/")


def read_setting(name: str) -> tuple[int, ...]:
    """The numbers of a setting; OSError when the kernel has none of that name."""
    return tuple(map(int, path_of(name).read_text().split()))


def write_setting(name: str, value: tuple[int, ...]) -> None:
    """Change a setting; OSError when we may not, or the kernel does not take it."""
    path_of(name).write_text(" ".join(map(str, value)) + "\n")


def _lines(path: str) -> list[tuple[str, str, str]]:
    return [line.partition(":") for line in Path(path).read_text().splitlines()]


def _tracks_connections() -> bool:
    """Whether a connection of ours over loopback makes conntrack's count grow: it counts only where rules need it."""
    count = path_of("net.netfilter.nf_conntrack_count")
    if not count.exists():
        return False
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        return int(count.read_text()) > 0

"""The kernel's memory for sockets: how much one takes, and so how much is each side's.

An end of a connection that is in use, watched by an epoll, consists of the objects below. What one object takes is
its part of a slab (the pages of a slab divided by the objects that fit into it); a cache that the kernel has merged
with another one has the size that is known. To that comes what lies in TCP's buffers, divided among all sockets of
the machine. We know how many sockets are ours, so others that come and go do not disturb the figure, nor do slabs
that former runs have left half empty. (What only a client's end has, the buckets of its bound port, is the load
generator's.) The report shows beside it by how much the machine's free memory has shrunk altogether.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

PAGE_BYTES: Final = 4096
# Name: bytes where the kernel does not list it.
SHARED: Final = {
    "sock_inode_cache": 832,
    "filp": 192,
    "dentry": 192,
    "eventpoll_epi": 128,
    "eventpoll_pwq": 72,
    "ep_head": 16,
    "lsm_inode_cache": 0,
    "lsm_file_cache": 0,
}
TCP: Final = {"TCP": 2368}
UNIX: Final = {"UNIX": 1088}  # between two workers
BUCKETS: Final = {"tcp_bind_bucket": 128, "tcp_bind2_bucket": 128}


class Slab(NamedTuple):
    """What /proc/slabinfo says of the slabs of a cache."""

    objects: int  # that fit into a slab
    pages: int


@dataclass(frozen=True, slots=True)
class Sockets:
    """The machine's TCP sockets, whosever they are, and what each takes."""

    count: int
    buffer_bytes: int  # of all of them
    tcp_each: float
    unix_each: float
    buckets_each: float

    def server_bytes(self, connections: int, between_workers: int) -> int:
        """What the server's ends of so many connections take, with its Unix sockets."""
        return int(connections * (self.tcp_each + self._buffers_each) + between_workers * self.unix_each)

    def client_bytes(self, connections: int) -> int:
        """What the clients' ends take."""
        return int(connections * (self.tcp_each + self._buffers_each + self.buckets_each))

    @property
    def _buffers_each(self) -> float:
        return self.buffer_bytes / self.count if self.count else 0.0


def read_sockets() -> Sockets:
    """The sockets now; PermissionError unless root, who alone may read /proc/slabinfo."""
    rows = [line.split() for line in Path("/proc/slabinfo").read_text().splitlines()[2:]]
    slabs = {row[0]: Slab(int(row[4]), int(row[5])) for row in rows}
    return sockets_of(slabs, tcp_line())


def sockets_of(slabs: Mapping[str, Slab], line: Mapping[str, int]) -> Sockets:
    """The sockets by slabinfo and the TCP line of sockstat."""
    shared = _sum(slabs, SHARED)
    return Sockets(
        count=line["alloc"],
        buffer_bytes=line["mem"] * PAGE_BYTES,
        tcp_each=shared + _sum(slabs, TCP),
        unix_each=shared + _sum(slabs, UNIX),
        buckets_each=_sum(slabs, BUCKETS),
    )


def _sum(slabs: Mapping[str, Slab], names: Mapping[str, int]) -> float:
    return sum(
        slabs[name].pages * PAGE_BYTES / slabs[name].objects if name in slabs else otherwise
        for name, otherwise in names.items()
    )


def tcp_line() -> dict[str, int]:
    """The TCP line of /proc/net/sockstat."""
    for text in Path("/proc/net/sockstat").read_text().splitlines():
        if text.startswith("TCP:"):
            words = text.split()[1:]
            return {name: int(value) for name, value in zip(words[::2], words[1::2], strict=True)}
    raise OSError("/proc/net/sockstat has no line of TCP")


def dropped_frames() -> int:
    """Frames that the kernel has dropped because a processor's backlog (net.core.netdev_max_backlog) was full."""
    return sum(int(line.split()[1], 16) for line in Path("/proc/net/softnet_stat").read_text().splitlines())


def free_bytes() -> int:
    """What is free, or would be without the cache of files.

    Not MemAvailable, which takes the inodes and names of open sockets for something that could be given back.
    """
    lines = Path("/proc/meminfo").read_text().splitlines()
    fields = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    return fields["MemFree"] + fields["Buffers"] + fields["Cached"] - fields["Shmem"]

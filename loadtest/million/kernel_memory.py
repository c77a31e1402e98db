"""The kernel's memory for TCP sockets, and how much of it is one side's.

Both ends of every connection are on this machine, so half of all new sockets are the server's. An end in use, watched
by an epoll, consists of the objects below. The first three belong to sockets and other files alone and grow only with
connections here: their slabs' growth is measured, with the slabs' own waste, and halved. The small ones are used by the
whole system, and kernels merge caches of one size, so they are counted: as many as there are sockets. (What only the
client's end has, the buckets of its bound port, is the load generator's.) To that comes what lies in TCP's buffers,
halved, too. The rest of the growth of the machine's memory is shown in the report as not accounted for.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

PAGE_BYTES: Final = 4096
MEASURED: Final = ("TCP", "sock_inode_cache", "filp")
# Name: bytes where the kernel does not list it, because it has merged it with another one or was built without it.
COUNTED: Final = {
    "dentry": 192,
    "eventpoll_epi": 128,
    "eventpoll_pwq": 72,
    "ep_head": 16,
    "lsm_inode_cache": 0,
    "lsm_file_cache": 0,
}
BUCKETS: Final = {"tcp_bind_bucket": 128, "tcp_bind2_bucket": 128}


@dataclass(frozen=True, slots=True)
class Sockets:
    """All TCP sockets of the machine, whosever they are."""

    count: int
    slab_bytes: int  # of the caches in MEASURED
    buffer_bytes: int
    counted_each: int  # of the objects in COUNTED, for each socket
    buckets_each: int

    def server_bytes(self, before: "Sockets") -> int:
        """What the server's ends of the connections since `before` take."""
        return (
            self.slab_bytes - before.slab_bytes + self.buffer_bytes - before.buffer_bytes
        ) // 2 + self.counted_each * (self.count - before.count) // 2

    def client_bytes(self, before: "Sockets") -> int:
        """What the clients' ends take."""
        return self.server_bytes(before) + self.buckets_each * (self.count - before.count) // 2


def read_sockets() -> Sockets:
    """The sockets now; PermissionError unless root, who alone may read /proc/slabinfo."""
    rows = [line.split() for line in Path("/proc/slabinfo").read_text().splitlines()[2:]]
    return sockets_of({row[0]: (int(row[4]), int(row[5]), int(row[14])) for row in rows}, tcp_line())


def sockets_of(slabs: dict[str, tuple[int, int, int]], line: dict[str, int]) -> Sockets:
    """The sockets by slabinfo (name: objects per slab, pages per slab, slabs) and the TCP line of sockstat."""

    def each(name: str, otherwise: int) -> int:
        if name not in slabs:
            return otherwise
        objects, pages, _ = slabs[name]
        return pages * PAGE_BYTES // objects

    return Sockets(
        count=line["alloc"],
        slab_bytes=sum(
            pages * PAGE_BYTES * count for _, pages, count in (slabs.get(name, (1, 0, 0)) for name in MEASURED)
        ),
        buffer_bytes=line["mem"] * PAGE_BYTES,
        counted_each=sum(each(name, otherwise) for name, otherwise in COUNTED.items()),
        buckets_each=sum(each(name, otherwise) for name, otherwise in BUCKETS.items()),
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


def available_bytes() -> int:
    """MemAvailable."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/meminfo has no MemAvailable")

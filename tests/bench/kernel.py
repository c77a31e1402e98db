"""What the kernel says of this host: the memory that its TCP sockets take, and what is free."""

from dataclasses import dataclass
from pathlib import Path

from tests.servers.process import ServerError

PAGE_BYTES = 4096
# Of each socket: itself, its inode, its open file, its place in an epoll. Its entry in the cache of file names, 192
# bytes, is left out: a million others come and go there.
SOCKET_SLABS = ("TCP", "sock_inode_cache", "filp", "eventpoll_epi", "eventpoll_pwq")


@dataclass(frozen=True, slots=True)
class Sockets:
    """All TCP sockets of the host, whosever they are: how many, and the kernel's memory for them."""

    count: int
    memory_bytes: int

    def bytes_each(self, before: "Sockets") -> float:
        """What each one that has come since `before` takes."""
        return (self.memory_bytes - before.memory_bytes) / max(1, self.count - before.count)


def sockets() -> Sockets:
    """The sockets now: their objects (SOCKET_SLABS) and what lies in TCP's buffers; ServerError unless root."""
    try:
        rows = [line.split() for line in Path("/proc/slabinfo").read_text().splitlines()[2:]]
    except PermissionError:
        raise ServerError("only root may read /proc/slabinfo, which tells the memory of sockets") from None
    slabs = sum(int(row[1]) * int(row[5]) * PAGE_BYTES // int(row[4]) for row in rows if row[0] in SOCKET_SLABS)
    return Sockets(_sockstat("alloc"), slabs + _sockstat("mem") * PAGE_BYTES)


def _sockstat(what: str) -> int:
    (words,) = [line.split() for line in Path("/proc/net/sockstat").read_text().splitlines() if line.startswith("TCP:")]
    return int(words[words.index(what) + 1])


def available_bytes() -> int:
    """MemAvailable of the host."""
    return next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemAvailable:")
    )

"""What a number of connections needs from a host: arithmetic alone, as docs/how-to/tune-linux-for-a-million.md has it.

The figures were measured: a socket in the kernel with 1.9 million of them (Linux 6.18), pages with bytes to be read or
not (exactly one for each socket), memory of connections and sessions by `make bench` (docs/explanation/performance.md).
"""

import math
from dataclasses import dataclass
from typing import Final

SOCKET_BYTES: Final = 5_000  # of the kernel, for one established TCP socket that holds nothing
CONNECTION_BYTES: Final = 1_100  # of a worker, for a client that is carried to a server
SESSION_BYTES: Final = 4_000  # of a worker, for a client that has its session here
TLS_BYTES: Final = 500  # of a worker, for a client with TLS 1.3
OPENSSL_BYTES: Final = 15_000  # of a worker, for one with TLS 1.2, or if OpenSSL keeps the records
PROCESS_BYTES: Final = 35_000_000  # of the supervisor or a worker, before the first client
OWN_DESCRIPTORS: Final = 128  # of a worker: listening sockets, database, links, log
MAPS: Final = 4_096  # of a worker: some 420, and none for a connection
OTHER_FILES: Final = 65_536  # of everybody else on the machine
STALLED_SHARE: Final = 0.01  # of the clients: how many may stop reading at the same time
LEAST_BUFFER_BYTES: Final = 65_536
CONNTRACK_MARGIN: Final = 1.25  # connections that ended stay for two minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is to be carried."""

    connections: int  # of the whole node
    workers: int
    max_connections: int  # of a worker, by the configuration
    embedded: bool  # sessions are here, and workers have a socket for each other
    direct: bool  # each client has a socket of its own to a server
    tls: bool
    openssl: bool = False  # `tls.record_layer`
    backlog: int  # of the listener with the longest
    upstream_addresses: int = 0  # TCP addresses of servers that take a socket for each client
    source_addresses: int = 1  # for each of these servers

    @property
    def of_worker(self) -> int:
        """Connections of the fullest worker: the kernel spreads them by a hash, so by 4 standard deviations more."""
        mean = self.connections / self.workers
        fullest = math.ceil(mean + (4 * math.sqrt(mean) if self.workers > 1 else 0.0))
        configured = self.max_connections * self.workers >= self.connections
        return min(fullest, self.max_connections) if configured else fullest

    @property
    def sockets(self) -> int:
        """Sockets of all connections."""
        return self.connections * sockets_per_connection(direct=self.direct)


def sockets_per_connection(*, direct: bool) -> int:
    """The client's, and with `mode = "direct"` the one to the server."""
    return 2 if direct else 1


def descriptors_of_worker(connections: int, *, direct: bool, embedded: bool, workers: int) -> int:
    """Descriptors that a worker with this many connections may have open."""
    bus = 2 * (workers - 1) if embedded else 0  # one socket for each direction of each pair
    return connections * sockets_per_connection(direct=direct) + OWN_DESCRIPTORS + bus


def connections_within(descriptors: int, *, direct: bool, embedded: bool, workers: int) -> int:
    """How many connections a worker with this limit can have."""
    own = descriptors_of_worker(0, direct=direct, embedded=embedded, workers=workers)
    return max(descriptors - own, 0) // sockets_per_connection(direct=direct)


def descriptors(load: Load) -> int:
    """Descriptors of the fullest worker."""
    return descriptors_of_worker(load.of_worker, direct=load.direct, embedded=load.embedded, workers=load.workers)


def files(load: Load) -> int:
    """Open files of the whole machine."""
    return load.sockets + load.workers * (OWN_DESCRIPTORS + 2 * load.workers) + OTHER_FILES


def tcp_pages(load: Load) -> tuple[int, int, int]:
    """low, pressure and high of tcp_mem.

    A socket that holds nothing takes no page, one that holds a stanza in one direction takes one. When all are told
    something at once, such as `system-shutdown`, that must not be pressure; twice as much must not be refused.
    """
    return load.sockets * 3 // 4, load.sockets, load.sockets * 2


def most_buffer_bytes(load: Load, high_pages: int, page_bytes: int) -> int:
    """The most that one socket's buffer may grow to, so that 1 % of stalled clients do not use up all TCP memory."""
    stalled = max(math.ceil(load.connections * STALLED_SHARE), 1)
    return max(high_pages * page_bytes // stalled, LEAST_BUFFER_BYTES)


def conntrack_entries(load: Load) -> int:
    """Entries of the connection tracking table: both sockets of a connection that is carried on over TCP."""
    tracked = load.connections * (2 if load.upstream_addresses else 1)
    return math.ceil(tracked * CONNTRACK_MARGIN)


def ports(load: Load) -> int:
    """Local ports for each pair of source address and server address; 0 when no server takes a socket per client."""
    if not load.upstream_addresses:
        return 0
    return math.ceil(load.connections / (load.upstream_addresses * load.source_addresses))


def source_addresses(load: Load, ports_of_range: int) -> int:
    """How many source addresses would do with this many ports each."""
    return math.ceil(load.connections / (max(load.upstream_addresses, 1) * max(ports_of_range, 1)))


def kernel_bytes(load: Load) -> int:
    """Memory of the kernel for sockets that hold nothing."""
    return load.sockets * SOCKET_BYTES


def process_bytes(load: Load) -> int:
    """Memory of supervisor and workers; clients are taken to have TLS 1.3 where there is TLS."""
    each = SESSION_BYTES if load.embedded else CONNECTION_BYTES
    if load.tls:
        each += OPENSSL_BYTES if load.openssl else TLS_BYTES
    return load.connections * each + (load.workers + 1) * PROCESS_BYTES

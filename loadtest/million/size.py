"""What N sessions need: processes, descriptors, addresses, ports and memory. Pure arithmetic."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import Final

from loadtest.million.shares import Share, Way, by_way, deal, least

SIGMAS: Final = 5  # of the random spread over workers that must still fit: missed once in some million runs
WORKER_OWN: Final = 200  # listening sockets, database, control, connections that are on their way to another worker
LOADER_OWN: Final = 64
MOST_WORKERS: Final = 1023  # of one node
PORTS_USED: Final = 0.2  # of an address's ports: the kernel finds a free one soon, also while others are in TIME_WAIT

# Measured on Linux 6.18, x86-64; a run says what it really was.
WORKER_BYTES: Final = 30_000_000  # before its first session
LOADER_BYTES: Final = 6_000_000
SESSION_BYTES: Final = 4_000  # in a worker: what the issue of this test allows
LOADER_SESSION_BYTES: Final = 1_000
SOCKET_BYTES: Final = 4_200  # in the kernel, of one end of a connection
TLS_BYTES: Final = 800  # of a session, both sides: records, and what handshakes leave between them
TLS12_BYTES: Final = 32_000  # likewise: OpenSSL's objects for a connection
PAGE_BYTES: Final = 4096


class TooManyError(Exception):
    """So many sessions do not fit any number of processes that this host allows; the message says why."""


@dataclass(frozen=True, slots=True)
class Size:
    """How a run is cut up."""

    sessions: int
    workers: int
    shares: tuple[Share, ...]  # of each load process
    addresses: int  # source addresses of each load process
    descriptors: int  # that one process may have
    moved: float = 0.0  # the part of all sessions that finds new homes while the workers stay as many as they are

    @property
    def loaders(self) -> int:
        """Load processes."""
        return len(self.shares)

    def coming(self, way: Way) -> int:
        """How many sessions come in this way."""
        return sum(share.sessions for share in self.shares if share.way == way)

    @property
    def has_tls(self) -> bool:
        """Whether any session has TLS."""
        return self.coming("plain") < self.sessions

    @property
    def worker_sessions(self) -> int:
        """What the fullest worker has to hold, with head-room for the random spread."""
        return spread(ceil(self.sessions * (1 + self.moved)), self.workers)

    @property
    def worker_descriptors(self) -> int:
        """Of the fullest worker, with a socket to each other worker."""
        return self.worker_sessions + self.workers - 1 + WORKER_OWN

    @property
    def max_connections(self) -> int:
        """Of a worker: one more is refused before the worker has no descriptor left to accept and refuse it with."""
        return self.descriptors - (self.workers - 1) - WORKER_OWN

    @property
    def loader_sessions(self) -> int:
        """Of the fullest load process: those of one way are dealt out evenly."""
        return max(share.sessions for share in self.shares)

    @property
    def in_flight(self) -> int:
        """Logins at once: enough for each worker to have many to do whenever it wakes up, which makes each cheaper."""
        return max(512, 80 * self.workers)

    @property
    def open_files(self) -> int:
        """Of the whole host: both ends of each connection, and what the processes have besides."""
        mesh = self.workers * (self.workers - 1)
        return 2 * self.sessions + mesh + (self.workers + self.loaders) * WORKER_OWN

    @property
    def memory_bytes(self) -> int:
        """Of the whole host, both sides and the kernel."""
        each = SESSION_BYTES + LOADER_SESSION_BYTES + 2 * SOCKET_BYTES
        tls = self.coming("tls") * TLS_BYTES + self.coming("tls1.2") * TLS12_BYTES
        return self.sessions * each + tls + self.workers * WORKER_BYTES + self.loaders * LOADER_BYTES


def spread(sessions: int, workers: int) -> int:
    """The most of `sessions` that one of `workers` gets when each goes to a random one: mean and SIGMAS deviations."""
    share = 1 / workers
    return min(sessions, ceil(sessions * share + SIGMAS * sqrt(sessions * share * (1 - share))))


def size_of(
    sessions: int,
    *,
    descriptors: int,
    ports: int,
    cores: int,
    workers: int = 0,
    loaders: int = 0,
    moved: float = 0.0,
    tls: float = 0.0,
    tls12: float = 0.0,
) -> Size:
    """Cut up a run of `sessions`; numbers of processes that are 0 are found. TooManyError if a part is too large.

    `descriptors` is the limit of one process, `ports` what one source address has. `moved` is the part of all sessions
    that come back under other names after the death of their workers, and so to all workers alike. `tls` is the part
    of all sessions that have TLS, `tls12` the part of these that have version 1.2.
    """
    counts = by_way(sessions, tls, tls12)
    loaders_needed = max(cores, least(counts, max(1, descriptors - LOADER_OWN)))
    if 0 < loaders < len(counts):
        raise TooManyError(f"{loaders} load processes are too few for {len(counts)} ways in, of which each has one")
    cut = _cut(counts, workers or cores, loaders or loaders_needed, descriptors, ports, moved)
    while not workers and cut.worker_descriptors > descriptors and cut.workers < MOST_WORKERS:
        cut = replace(cut, workers=cut.workers + 1)
    if cut.worker_descriptors > descriptors:
        raise TooManyError(
            f"{cut.workers} workers need up to {cut.worker_descriptors:,} open files each "
            f"for {sessions:,} sessions, and a process may have {descriptors:,}"
        )
    if cut.loader_sessions + LOADER_OWN > descriptors:
        raise TooManyError(
            f"{cut.loaders} load processes need {cut.loader_sessions + LOADER_OWN:,} open files each "
            f"for {sessions:,} sessions, and a process may have {descriptors:,}"
        )
    return cut


def _cut(counts: Mapping[Way, int], workers: int, loaders: int, descriptors: int, ports: int, moved: float) -> Size:
    shares = deal(counts, loaders)
    addresses = max(1, ceil(max(share.sessions for share in shares) / (ports * PORTS_USED)))
    return Size(sum(counts.values()), workers, shares, addresses, descriptors, moved)

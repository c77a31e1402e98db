"""What only the supervisor knows, for one scrape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from megaphone.dispatch.counters import Board


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """What the supervisor knows of one worker index; None where there is no process at the moment."""

    index: int
    board: Board
    state: str  # starting, ready, draining, gone
    version: str | None
    restarts: Mapping[str, int]  # by cause
    started_at_seconds: float | None  # Unix time
    resident_bytes: int | None
    cpu_seconds: float | None
    open_descriptors: int | None
    most_descriptors: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """Everything one scrape is made of."""

    version: str
    python: str
    supervisor_resident_bytes: int
    workers: Sequence[WorkerFacts]
    upstreams: Sequence[str]  # in the order of the boards' blocks
    certificates: Mapping[str, float]  # chain file to the Unix time at which its leaf expires
    admin_requests: Mapping[tuple[str, str], int]  # (endpoint, status)
    reloads: Mapping[str, int]  # by result
    upgrades: Mapping[str, int]  # by result
    upgrade_connections: Mapping[str, int]  # by what became of them
    links: Sequence[int]  # of each worker to each upstream; 0 where it takes ordinary connections

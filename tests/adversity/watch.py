"""Watches a running Megaphone from outside while something happens to it: metrics, states of processes."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from tests.servers.megaphone import Edge
from tests.servers.process import ServerError, wait_until

SCRAPE_SECONDS = 0.1
# Documented to begin again with a new process (docs/reference/metrics.md).
BEGINS_AGAIN = "megaphone_worker_cpu_seconds_total"

AnyEdge = TypeVar("AnyEdge", bound=Edge)
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(edge: Edge) -> tuple[Samples, set[str]]:
    """All samples by name and labels, and the names of those that must never go down."""
    samples: Samples = {}
    counters = set()
    for family in text_string_to_metric_families(edge.request("GET", "/metrics")):
        for sample in family.samples:
            samples[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
            if family.type in ("counter", "histogram"):
                counters.add(sample.name)
    return samples, counters - {BEGINS_AGAIN}


class CounterWatch:
    """Scrapes again and again in a thread; `backwards` names every counter that was ever lower than before."""

    def __init__(self, edge: Edge) -> None:
        self.scrapes = 0
        self.backwards: list[str] = []
        self.failures: list[str] = []
        self._edge = edge
        self._stopping = threading.Event()
        self._last: Samples = {}
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def _go_on(self) -> None:
        while not self._stopping.wait(SCRAPE_SECONDS):
            try:
                self.look()
            except (OSError, ServerError) as error:
                self.failures.append(repr(error))

    def look(self) -> None:
        """Scrape once and compare with the scrape before."""
        samples, counters = scrape(self._edge)
        for key, before in self._last.items():
            if key[0] in counters and samples.get(key, 0.0) < before:
                self.backwards.append(f"{key}: {before:g}, then {samples.get(key)}")
        self._last = samples
        self.scrapes += 1

    def __enter__(self) -> "CounterWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(10.0)


def process_state(pid: int) -> str:
    """The letter of proc(5), such as `R`, `S`, or `T` for stopped; "" when it has ended, waited for or not."""
    try:
        letter = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if letter in "ZX" else letter


def worker_rows(edge: Edge) -> list[dict[str, Any]]:
    """The workers as `megaphone status` sees them, in the order of their indexes."""
    rows: list[dict[str, Any]] = edge.request("GET", "/status")["workers"]
    return rows


def connection_rows(edge: Edge) -> list[dict[str, Any]]:
    """Every connection of the node."""
    answer = edge.request("GET", "/connections?limit=10000")
    if answer["truncated"] or answer["missing_workers"]:
        raise ServerError(f"not all connections: {answer['truncated']=} {answer['missing_workers']=}")
    rows: list[dict[str, Any]] = answer["connections"]
    return rows


def seconds_until_replaced(edge: Edge, index: int, old_pid: int, since_seconds: float) -> float:
    """Wait until worker `index` is ready in a new process; the time since `since_seconds` (monotonic)."""

    def replaced() -> bool:
        row = worker_rows(edge)[index]
        return row["pid"] not in (old_pid, None) and row["state"] == "ready"

    wait_until(replaced, f"worker {index} replaced", 20.0)
    return time.monotonic() - since_seconds


def open_descriptors(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@contextmanager
def running(edge: AnyEdge) -> Iterator[AnyEdge]:
    """Start it; stop it at the end, whatever happens."""
    try:
        edge.start()
        yield edge
    finally:
        edge.stop()

"""How a figure is taken: CPU of a relay around a command to its clients, memory around a crowd of idle ones."""

import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CalledProcessError
from types import FrameType
from typing import Any, Protocol

from tests.bench import relays, swarm, usage
from tests.bench.relays import MAKERS, Certificate, Maker, Relay
from tests.servers.process import ServerError

IDLE = 5_000  # connections whose memory is counted
WARM_UP = 0.4  # shares of at most these, which come before them ...
LEAVING = 0.3  # ... leave again ...
RETURNING = 0.6  # ... and come: more than leave, so that no hole in the heap is left for the counted ones
DESCRIPTORS = 20_000  # of a relay with two for each of all these, and some to spare


@dataclass(frozen=True, slots=True)
class Bench:
    """Where everything runs: a scratch directory, two cores, and the echo server's port.

    A relay that is named in `upstream_ports` gets that port behind it instead.
    """

    directory: Path
    relay_core: int
    load_core: int
    echo_port: int
    makers: Mapping[str, Maker]
    upstream_ports: Mapping[str, int] = field(default_factory=dict)

    @contextmanager
    def relay(self, name: str, certificate: Certificate | None = None) -> Iterator[Relay]:
        """A relay on its core, in front of the echo server."""
        make, port = self.makers[name], self.upstream_ports.get(name, self.echo_port)
        with relays.running(name, make, self.directory, self.relay_core, port, certificate) as relay:
            yield relay

    @contextmanager
    def clients(
        self, port: int, tls: str = "", *, resume: bool = False, websocket: bool = False
    ) -> Iterator[swarm.Clients]:
        """Clients on the load's core."""
        with swarm.clients(self.load_core, port, tls, resume=resume, websocket=websocket) as clients:
            yield clients


def allow_descriptors() -> None:
    """Let this process and its children open as many files as this takes; ServerError if they may not."""
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors < DESCRIPTORS:
        raise ServerError(f"a process may have {descriptors} descriptors; this takes {DESCRIPTORS} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))


@contextmanager
def bench(makers: Mapping[str, Maker] = MAKERS) -> Iterator[Bench]:
    """Take the first core for the relays and the last one for the load; with a single core they share it."""
    allow_descriptors()
    cores = sorted(os.sched_getaffinity(0))
    with (
        tempfile.TemporaryDirectory(prefix="megaphone-bench-") as name,
        swarm.echo_server(cores[-1], Path(name)) as port,
    ):
        yield Bench(Path(name), cores[0], cores[-1], port, makers)


@dataclass(frozen=True, slots=True)
class Cost:
    """What the clients saw and what CPU time the relay used meanwhile."""

    cpu_seconds: float
    answer: dict[str, Any]

    @property
    def per_cpu_second(self) -> float:
        """Round trips, logins or deliveries in a CPU-second of the server; ServerError if the clock was too coarse."""
        if self.cpu_seconds <= 0.0:
            raise ServerError("too little was done to see any CPU time: measure longer")
        return float(self.answer["completed"]) / self.cpu_seconds

    @property
    def microseconds_each(self) -> float:
        """CPU per round trip or connection."""
        return self.cpu_seconds * 1e6 / float(self.answer["completed"])


class Running(Protocol):
    """A server of which the root of its process tree is known."""

    @property
    def process_id(self) -> int:
        """The root."""


def cost(relay: Running, command: Callable[[], dict[str, Any]]) -> Cost:
    """Run a command of the clients of `relay`."""
    before = usage.cpu_seconds(relay.process_id)
    answer = command()
    return Cost(usage.cpu_seconds(relay.process_id) - before, answer)


def idle_kib(
    setting: Bench,
    name: str,
    certificate: Certificate | None = None,
    idle: int = IDLE,
    *,
    websocket: bool = False,
) -> float:
    """Memory of the relay's processes per idle, logged-in connection beyond the first (3,500 or fewer), in KiB.

    What exists once is not counted, and no kernel memory.
    """
    warm_up, leaving, returning = (max(1, int(min(idle, IDLE) * share)) for share in (WARM_UP, LEAVING, RETURNING))
    with (
        setting.relay(name, certificate) as relay,
        setting.clients(relay.port, "1.3" if certificate else "", websocket=websocket) as clients,
    ):
        clients.open(warm_up)
        clients.close(leaving)
        clients.open(returning)
        before = usage.settled_resident_bytes(relay.process_id)
        clients.open(idle)
        return (usage.settled_resident_bytes(relay.process_id) - before) / idle / 1024


def _ignore(number: int, _: FrameType | None) -> None:
    """It is ending already."""


def _interrupt(number: int, _: FrameType | None) -> None:
    """As Ctrl-C does, but only once: what has been started is stopped in peace."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _ignore)  # unlike SIG_IGN it may come while another signal is dealt with
    raise KeyboardInterrupt


def run(main: Callable[[], None]) -> None:
    """Run a benchmark; what keeps it from running is a message and exit code 1. A signal lets it clean up."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _interrupt)
    try:
        main()
    except (ServerError, CalledProcessError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")

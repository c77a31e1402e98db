"""What relaying plain XMPP over links costs, beside HAProxy `mode tcp` and Megaphone's direct mode.

As in `make bench WHAT=relay`: the relay has one core, clients and the server behind it the other. Behind the links is
a server side of its own on the load's core, which echoes as the C one does.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from tests.bench import relays
from tests.bench.link_server import link_server
from tests.bench.measure import Bench, bench, cost, idle_kib
from tests.bench.relay import ACTIVE, STANZAS_PER_SECOND, Pair, connected, measure_latency, measure_pingpong
from tests.bench.relays import Certificate, Maker
from tests.bench.report.figure import Figure, Target

LINK, DIRECT_MODE, HAPROXY = "link", "direct mode", "haproxy"
RELAYS = (LINK, DIRECT_MODE, HAPROXY)
PEERS = (HAPROXY, DIRECT_MODE)
LINKS = 2
SECRET = b"a secret of the link benchmark"
LINK_IDLE = 2  # times as many: in link mode a client is one descriptor of the edge


def link_maker(
    secret_file: Path,
    listen_keys: Mapping[str, object] | None = None,
    tables: Mapping[str, object] | None = None,
) -> Maker:
    """Megaphone with two links; `listen_keys` are more lines of its [[listen]], `tables` more of its tables."""

    def make(directory: Path, port: int, upstream: int, certificate: Certificate | None) -> list[str]:
        return relays.megaphone(
            directory,
            port,
            upstream,
            certificate,
            listen_keys=listen_keys,
            tables=tables,
            mode="link",
            links=LINKS,
            secret_file=str(secret_file),
        )

    return make


def write_secret(directory: Path) -> Path:
    """The file that both ends of the links read."""
    secret_file = directory / "link.secret"
    secret_file.touch(mode=0o600)
    secret_file.write_bytes(SECRET)
    return secret_file


@contextmanager
def setting() -> Iterator[Bench]:
    """The relay benchmark's setting, with a server side of links."""
    makers: dict[str, Maker] = {DIRECT_MODE: relays.megaphone, HAPROXY: relays.MAKERS[HAPROXY]}
    with bench(makers) as plain:
        secret_file = write_secret(plain.directory)
        makers[LINK] = link_maker(secret_file)
        with link_server(plain.load_core, plain.directory, secret_file) as port:
            yield dataclasses.replace(plain, upstream_ports={LINK: port})


def measure_paced(pairs: dict[str, Pair], rounds: int, seconds: float) -> Figure:
    """CPU per relayed stanza at 10,000 a second: less comes in one turn of the loop than when nobody waits."""
    figure = Figure(f"CPU per relayed stanza at {STANZAS_PER_SECOND:,}/s", "us", ours=LINK, peers=PEERS)
    for _ in range(rounds):
        for name, (relay, clients) in pairs.items():
            taken = cost(relay, partial(clients.paced, ACTIVE, STANZAS_PER_SECOND, seconds))
            figure.add(name, taken.microseconds_each / 2)
    return figure


def measure_cpu(rounds: int, seconds: float, idle: int) -> tuple[list[Figure], bool]:
    """All figures; also whether latency was taken at real-time priority."""
    with setting() as place:
        memory = Figure("worker memory per idle plain connection", "kB", Target("value", 1.5), ours=LINK, peers=PEERS)
        for name in RELAYS:
            memory.add(name, idle_kib(place, name, idle=idle * LINK_IDLE if name == LINK else idle) * 1.024)
        with ExitStack() as stack:
            pairs = connected(place, stack, list(RELAYS))
            figures = measure_pingpong(pairs, rounds, seconds, ours=LINK, most=0.6, peers=PEERS)
            paced = measure_paced(pairs, rounds, seconds)
            latency, preferred = measure_latency(place, pairs, 2 * rounds, seconds / 2, ours=LINK, peers=PEERS)
    return [*figures, paced, memory, *latency], preferred

"""What relaying a stanza costs over WebSocket: beside plain TCP in the same build, and nginx that passes WebSockets on.

    clients ── WebSocket ─► Megaphone ── XMPP over TCP, a socket for each ─► echo server
    clients ── WebSocket ─► Megaphone ── two links ────────────────────────► echo server
    clients ── WebSocket ─► nginx ────── WebSocket, a socket for each ─────► echo server that speaks WebSocket itself

Megaphone reads every frame, sees that each message is one stanza, and puts the stanza on the server's stream; back it
declares again what the stream has declared. nginx copies bytes: it knows no frames, and its server has to speak
WebSocket. Clients and stanzas are the same: 200 bytes on a stream, and a namespace more in a message.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from string import Template

from tests.bench import relays
from tests.bench.link_cpu import link_maker, write_secret
from tests.bench.link_server import link_server
from tests.bench.measure import Bench, bench, cost
from tests.bench.relay import ACTIVE, CONNECTIONS, Pair
from tests.bench.relays import Certificate, Maker
from tests.bench.report.figure import OURS, Figure, Target
from tests.bench.swarm import echo_server

TCP, LINK, LINK_TCP, NGINX = "tcp", "link websocket", "link tcp", "nginx"
RELAYS = (OURS, TCP, LINK, LINK_TCP, NGINX)
WEBSOCKET_RELAYS = {OURS, LINK, NGINX}
WEBSOCKET = {"web": ["websocket"]}
NO_PINGS = {"websocket": {"ping_seconds": 36_000.0}}  # of the edge's own: the others send none either
STANZAS_PER_SECOND = 10_000
TO_TCP, TO_NGINX = 1.3, 0.7

CONFIGURATION = Template("""
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid $directory/nginx.pid;
error_log stderr error;
events { worker_connections 19900; }
http {
    access_log off;
    client_body_temp_path $directory/body;
    proxy_temp_path $directory/proxy;
    fastcgi_temp_path $directory/fastcgi;
    uwsgi_temp_path $directory/uwsgi;
    scgi_temp_path $directory/scgi;
    server {
        listen 127.0.0.1:$port backlog=4096;
        location / {
            proxy_pass http://127.0.0.1:$upstream;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $$http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_read_timeout 1h;
            proxy_send_timeout 1h;
        }
    }
}
""")


def nginx(directory: Path, port: int, upstream: int, certificate: Certificate | None) -> list[str]:
    """As its documentation on WebSocket proxying says."""
    path = directory / "nginx.conf"
    path.write_text(CONFIGURATION.substitute(directory=directory, port=port, upstream=upstream))
    return [relays.program("nginx"), "-e", "stderr", "-c", str(path)]


@contextmanager
def setting() -> Iterator[Bench]:
    """Three echo servers on the load's core: TCP, WebSocket, links."""
    makers: dict[str, Maker] = {
        OURS: partial(relays.megaphone, listen_keys=WEBSOCKET, tables=NO_PINGS),
        TCP: relays.megaphone,
        NGINX: nginx,
    }
    with bench(makers) as plain:
        secret_file = write_secret(plain.directory)
        makers[LINK] = link_maker(secret_file, WEBSOCKET, NO_PINGS)
        makers[LINK_TCP] = link_maker(secret_file)
        with (
            echo_server(plain.load_core, plain.directory, websocket=True) as speaks_websocket,
            link_server(plain.load_core, plain.directory, secret_file) as links,
        ):
            ports = {NGINX: speaks_websocket, LINK: links, LINK_TCP: links}
            yield dataclasses.replace(plain, upstream_ports=ports)


def measure_relays(names: list[str], rounds: int, seconds: float) -> list[Figure]:
    """CPU per relayed stanza, with one in flight for each of 200 of 1,000 clients, and at one rate for all."""
    busy, paced = "CPU per relayed stanza", f"CPU per relayed stanza at {STANZAS_PER_SECOND:,}/s"
    figures = {
        (what, ours): Figure(
            f"{what}, {'two links' if ours == LINK else 'direct mode'}",
            "us",
            Target("ratio", TO_TCP, peer=tcp),
            Target("ratio", TO_NGINX, peer=NGINX),
            ours=ours,
            peers=(tcp, NGINX),
        )
        for what in (busy, paced)
        for ours, tcp in ((OURS, TCP), (LINK, LINK_TCP))
    }
    speed = Figure("round trips, 200 in flight", "1/s", digits=0, peers=(TCP, NGINX), detail=True)
    with setting() as place, ExitStack() as stack:
        pairs = _connected(place, stack, names)
        for _ in range(rounds):
            for name, (relay, clients) in pairs.items():
                taken = {
                    busy: cost(relay, partial(clients.pingpong, ACTIVE, seconds)),
                    paced: cost(relay, partial(clients.paced, ACTIVE, STANZAS_PER_SECOND, seconds)),
                }
                speed.add(name, taken[busy].answer["completed"] / taken[busy].answer["seconds"])
                for (what, ours), figure in figures.items():
                    if name in (ours, *figure.peers):
                        figure.add(name, taken[what].microseconds_each / 2)
    return [*figures.values(), speed]


def _connected(place: Bench, stack: ExitStack, names: list[str]) -> dict[str, Pair]:
    pairs = {}
    for name in names:
        relay = stack.enter_context(place.relay(name))
        clients = stack.enter_context(place.clients(relay.port, websocket=name in WEBSOCKET_RELAYS))
        clients.open(CONNECTIONS)
        clients.pingpong(ACTIVE, 1.0)
        pairs[name] = relay, clients
    return pairs

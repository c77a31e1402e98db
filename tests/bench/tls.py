"""`make bench WHAT=tls`: what TLS costs on top, beside HAProxy `ssl crt`, nginx `ssl` and our own OpenSSL path.

Direct TLS, ALPN xmpp-client. "Records in OpenSSL" is Megaphone with `record_layer = "openssl"`: the SSL object stays
after the handshake. The relay has one core, clients and the server behind it the other. A handshake is counted with all
that belongs to a connection: TCP, TLS, the upstream connection, the opening of the stream, the end. Relays are measured
in turn (A B C A B C).

What a stanza costs is measured twice. One in flight for each of 200 clients: whoever is fast is asked for more, until
the clients are the slower side; then a relay is woken for fewer stanzas at a time, and each costs it more. And at one
rate for all, which none of them needs its whole core for.
"""

from contextlib import ExitStack
from functools import partial

from tests.bench import certificates
from tests.bench.measure import IDLE, Bench, bench, cost, idle_kib, run
from tests.bench.relay import ACTIVE, CONNECTIONS, Pair, connected
from tests.bench.relays import MAKERS, Certificate, megaphone
from tests.bench.report.figure import OURS, Figure, Target
from tests.bench.report.report import Report, arguments
from tests.servers.process import ServerError

IN_OPENSSL = "openssl"
RELAYS = {OURS: megaphone, IN_OPENSSL: partial(megaphone, record_layer=IN_OPENSSL), **MAKERS}
PEERS = ("haproxy", "nginx", IN_OPENSSL)
STANZAS_PER_SECOND = 30_000
BULK_CLIENTS = 8
BULK_BYTES = 48_000

# what is printed, kind of certificate, TLS version, with a session ticket, target
HANDSHAKES = (
    ("TLS 1.3, P-256, full handshake", "ec", "1.3", False, Target("ratio", 1.0, at_most=False)),
    ("TLS 1.3, P-256, resumed", "ec", "1.3", True),
    ("TLS 1.3, RSA-2048", "rsa", "1.3", False),
    ("TLS 1.2, P-256", "ec", "1.2", False),
    ("TLS 1.2, P-256, resumed", "ec", "1.2", True),
)


def measure_memory(setting: Bench, certificate: Certificate, names: list[str], idle: int) -> list[Figure]:
    """Idle connections, plain and TLS 1.3."""
    more = Figure("memory of an idle connection that is due to TLS 1.3", "KiB", Target("value", 0.5), peers=PEERS)
    tls = Figure("memory of an idle TLS connection", "KiB", peers=PEERS, detail=True)
    plain = Figure("memory of an idle plain connection", "KiB", peers=PEERS, detail=True)
    for name in names:
        without = idle_kib(setting, name, idle=idle)
        with_tls = idle_kib(setting, name, certificate, idle)
        plain.add(name, without)
        tls.add(name, with_tls)
        more.add(name, with_tls - without)
    return [more, tls, plain]


def measure_stanzas(pairs: dict[str, Pair], rounds: int, seconds: float) -> list[Figure]:
    """200 of 1,000 TLS 1.3 connections exchange 200-byte stanzas: as fast as they can, and at one rate for all."""
    per_stanza = Figure("CPU per relayed stanza over TLS 1.3", "us", Target("ratio", 0.8), peers=PEERS)
    speed = Figure("round trips over TLS 1.3", "1/s", digits=0, peers=PEERS, detail=True)
    at_one_rate = Figure(
        f"CPU per relayed stanza over TLS 1.3 at {2 * STANZAS_PER_SECOND:,}/s", "us", Target("ratio", 0.8), peers=PEERS
    )
    for _ in range(rounds):
        for name, (relay, clients) in pairs.items():
            taken = cost(relay, partial(clients.pingpong, ACTIVE, seconds))
            per_stanza.add(name, taken.microseconds_each / 2)
            speed.add(name, taken.answer["completed"] / taken.answer["seconds"])
        for name, (relay, clients) in pairs.items():
            taken = cost(relay, partial(clients.paced, ACTIVE, STANZAS_PER_SECOND, seconds))
            at_one_rate.add(name, taken.microseconds_each / 2)
    return [per_stanza, speed, at_one_rate]


def measure_bulk(pairs: dict[str, Pair], rounds: int, seconds: float) -> list[Figure]:
    """Long stanzas there and back: MB, 10^6 bytes, that the relay decrypts or encrypts in a second of its CPU."""
    target = Target("ratio", 0.8, at_most=False, peer=IN_OPENSSL)
    bulk = Figure("bulk over TLS 1.3, decrypted and encrypted", "MB/s", target, digits=0, peers=PEERS)
    for _ in range(rounds):
        for name, (relay, clients) in pairs.items():
            taken = cost(relay, partial(clients.bulk, BULK_CLIENTS, BULK_BYTES, seconds))
            bulk.add(name, 2 * BULK_BYTES / taken.microseconds_each)
    return [bulk]


def measure_handshakes(
    setting: Bench, files: dict[str, Certificate], names: list[str], rounds: int, count: int
) -> tuple[list[Figure], dict[str, str]]:
    """Connections that handshake, open a stream and leave; also what each relay chose, as text."""
    figures, chosen = [], {}
    for what, kind, version, resume, *targets in (*HANDSHAKES, ("plain TCP, no handshake", "", "", False)):
        figure = Figure(what, "1/s", *targets, digits=0, peers=PEERS)
        with ExitStack() as stack:
            pairs = {}
            for name in names:
                relay = stack.enter_context(setting.relay(name, files.get(kind)))
                clients = stack.enter_context(setting.clients(relay.port, version, resume=resume))
                clients.churn(count // 4)
                pairs[name] = relay, clients
            for _ in range(rounds):
                for name, (relay, clients) in pairs.items():
                    taken = cost(relay, partial(clients.churn, count))
                    figure.add(name, 1e6 / taken.microseconds_each)
                    if taken.answer["resumed"] != (count if resume else 0):
                        raise ServerError(f"{name}, {what}: {taken.answer['resumed']} of {count} resumed")
                    if kind:
                        chosen[f"{name}, {what}"] = taken.answer["tls"]
        figures.append(figure)
    return figures, chosen


def main() -> None:
    """Measure and print."""
    parser = arguments("tls", __doc__, rounds=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of stanzas of one relay in one round")
    parser.add_argument("--handshakes", type=int, default=2_000, help="of one relay in one round")
    parser.add_argument("--idle", type=int, default=IDLE, help="connections whose memory is counted")
    parser.add_argument("--relays", default=",".join(RELAYS), help="comma-separated; default: %(default)s")
    parser.add_argument("--only", choices=("all", "memory", "talk", "handshakes"), default="all", help="one part")
    args = parser.parse_args()
    names = args.relays.split(",")
    parts = ("memory", "talk", "handshakes") if args.only == "all" else (args.only,)
    with Report("tls", parser, args) as report, bench(RELAYS) as setting:
        files = {kind: certificates.make(setting.directory, kind) for kind in ("ec", "rsa")}
        figures = measure_memory(setting, files["ec"], names, args.idle) if "memory" in parts else []
        if "talk" in parts:
            with ExitStack() as stack:
                pairs = connected(setting, stack, names, files["ec"])
                figures += measure_stanzas(pairs, args.rounds, args.seconds)
                figures += measure_bulk(pairs, args.rounds, args.seconds)
        if figures:
            settings = {
                "rounds": args.rounds,
                "idle_connections": args.idle,
                "connections": CONNECTIONS,
                "active": ACTIVE,
                "stanza_bytes": 200,
                "round_trips_per_second": STANZAS_PER_SECOND,
                "bulk": {"active": BULK_CLIENTS, "stanza_bytes": BULK_BYTES},
                "seconds": args.seconds,
            }
            report.add("tls", "XMPP over TLS through a relay on one core", names, figures, settings)
        if "handshakes" in parts:
            handshakes, chosen = measure_handshakes(setting, files, names, args.rounds, args.handshakes)
            churn = {"rounds": args.rounds, "handshakes": args.handshakes, "negotiated": chosen}
            report.add("tls-handshakes", "Connections per CPU-second of the relay", names, handshakes, churn)


if __name__ == "__main__":
    run(main)

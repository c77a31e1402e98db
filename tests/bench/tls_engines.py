"""`make bench WHAT=tls_engines`: the figures behind decision note 0002.

One small Python server on epoll with five engines in turn: no TLS (to be subtracted), `ssl.SSLObject`, pyOpenSSL,
Megaphone's Cython on libssl, and the same with records of our own after the handshake.
Then what OpenSSL keeps per idle connection with one option or another, in C.
"""

import subprocess
import sys
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path

from OpenSSL import SSL

from tests.bench import certificates
from tests.bench.build import extension, program
from tests.bench.engines import engines
from tests.bench.measure import IDLE, Bench, bench, cost, idle_kib, run
from tests.bench.relay import ACTIVE, CONNECTIONS
from tests.bench.relays import Certificate
from tests.bench.report.figure import Figure
from tests.bench.report.report import Report, arguments

PLAIN = "plain"
OURS, PEERS = "records of our own", ("Cython on libssl", "ssl.SSLObject", "pyOpenSSL")
C = "C on libssl"
OPTIONS = {
    "one shared BIO, SSL_MODE_RELEASE_BUFFERS": (),
    "memory BIOs": ("bio=memory",),
    "without SSL_MODE_RELEASE_BUFFERS": ("release=0",),
    "client's key share on P-256": ("group=P-256",),
    "AES-128 instead of AES-256": ("suite=TLS_AES_128_GCM_SHA256",),
    "ChaCha20 instead of AES-256": ("suite=TLS_CHACHA20_POLY1305_SHA256",),
    "no tickets": ("tickets=0",),
    "TLS 1.2": ("tls=1.2",),
}


def _command(name: str, _directory: Path, port: int, _upstream: int, certificate: Certificate | None) -> list[str]:
    files = [str(certificate.chain), str(certificate.key)] if certificate else ["", ""]
    return [sys.executable, "-m", "tests.bench.engines.server", name, str(port), *files]


def measure_cpu(setting: Bench, certificate: Certificate, rounds: int, handshakes: int, seconds: float) -> list[Figure]:
    """CPU of a handshake and of a stanza decrypted and encrypted: what the server needs more than without TLS."""
    handshake = Figure("CPU per TLS 1.3 handshake", "us", digits=0, ours=OURS, peers=PEERS)
    speed = Figure("handshakes per CPU-second", "1/s", digits=0, ours=OURS, peers=PEERS)
    stanza = Figure("CPU per stanza decrypted and encrypted", "us", ours=OURS, peers=PEERS)
    with ExitStack() as stack:
        pairs = {}
        for name in setting.makers:
            relay = stack.enter_context(setting.relay(name, None if name == PLAIN else certificate))
            clients = stack.enter_context(setting.clients(relay.port, "" if name == PLAIN else "1.3"))
            clients.open(CONNECTIONS)
            clients.churn(handshakes // 4)
            clients.pingpong(ACTIVE, 1.0)
            pairs[name] = relay, clients
        for _ in range(rounds):
            each = {
                name: (
                    cost(relay, partial(clients.churn, handshakes)).microseconds_each,
                    cost(relay, partial(clients.pingpong, ACTIVE, seconds)).microseconds_each,
                )
                for name, (relay, clients) in pairs.items()
            }
            for name in each.keys() - {PLAIN}:
                handshake.add(name, each[name][0] - each[PLAIN][0])
                speed.add(name, 1e6 / (each[name][0] - each[PLAIN][0]))
                stanza.add(name, each[name][1] - each[PLAIN][1])
    return [handshake, speed, stanza]


def measure_memory(setting: Bench, certificate: Certificate, idle: int) -> Figure:
    """What an idle TLS 1.3 connection needs more than a plain one."""
    memory = Figure("memory per idle connection", "KiB", ours=OURS, peers=PEERS)
    plain = idle_kib(setting, PLAIN, idle=idle)
    for name in setting.makers.keys() - {PLAIN}:
        memory.add(name, idle_kib(setting, name, certificate, idle) - plain)
    return memory


def measure_options(certificate: Certificate) -> list[Figure]:
    """Heap in use per idle connection of a C server."""
    figures = []
    for what, options in OPTIONS.items():
        command = [program("options", "engines"), certificate.chain, certificate.key, *options]
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        figure = Figure(what, "KiB", digits=1, ours=C, peers=())
        figure.add(C, int(answer.stdout) / 1024)
        figures.append(figure)
    return figures


def main() -> None:
    """Measure and print."""
    parser = arguments("tls_engines", __doc__, rounds=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of stanzas with one engine in one round")
    parser.add_argument("--handshakes", type=int, default=1_000, help="with one engine in one round")
    parser.add_argument("--idle", type=int, default=IDLE, help="connections whose memory is counted")
    args = parser.parse_args()
    extension("libssl")  # before a server that is measured has to compile it
    own = SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode().split()[1]
    versions = {"pyOpenSSL": f"{version('pyOpenSSL')} with OpenSSL {own}"}
    makers = {name: partial(_command, name) for name in engines.MAKERS}
    with Report("tls_engines", parser, args, **versions) as report, bench(makers) as setting:
        certificate = certificates.make(setting.directory, "ec")
        figures = [
            measure_memory(setting, certificate, args.idle),
            *measure_cpu(setting, certificate, args.rounds, args.handshakes, args.seconds),
        ]
        settings = {
            "rounds": args.rounds,
            "seconds": args.seconds,
            "handshakes": args.handshakes,
            "idle_connections": args.idle,
        }
        report.add("tls_engines", "What TLS costs with one engine or another", [OURS, *PEERS], figures, settings)
        title = "What OpenSSL keeps for an idle connection: heap in use"
        report.add("tls_engines-options", title, [C], measure_options(certificate), {}, layout="rows")


if __name__ == "__main__":
    run(main)

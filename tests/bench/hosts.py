"""A real server with accounts, and Megaphone before it in link mode: what the host benchmarks log in at."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.accounts import Credentials, ejabberd_dump, write_prosody_accounts
from tests.bench.logins import ACCOUNTS
from tests.servers.certificates import CertificateAuthority
from tests.servers.connections import established
from tests.servers.ejabberd_link import SECRET as EJABBERD_SECRET
from tests.servers.ejabberd_link import EjabberdLink
from tests.servers.megaphone import Edge
from tests.servers.model import DOMAINS, Endpoint
from tests.servers.process import wait_until
from tests.servers.prosody_link import SECRET as PROSODY_SECRET
from tests.servers.prosody_link import ProsodyLink

LINKS = 2
ALONE, LINK = "server alone", "link"
WAYS = (ALONE, LINK)
BACKLOG = 4096  # of every listener that is measured: the most that Linux allows unless told otherwise
LINKS_SECONDS = 10.0
NEGOTIATION_SECONDS = 120  # ejabberd's own limit

Server = EjabberdLink | ProsodyLink


@dataclass(frozen=True, slots=True)
class Host:
    """A running server; `edge` is Megaphone before it, if it is there."""

    server: Server
    edge: Edge | None

    @property
    def endpoint(self) -> Endpoint:
        """Where clients connect with direct TLS."""
        return self.server.direct if self.edge is None else self.edge.direct

    @property
    def process_ids(self) -> dict[str, int]:
        """The roots of the process trees."""
        edge = {} if self.edge is None else {"edge": self.edge.process.pid}
        return {"server": self.server.process.pid, **edge}


class _BenchEjabberd(EjabberdLink):
    """With accounts that are loaded as a dump of the database: registering one takes tens of milliseconds."""

    def start(self) -> None:
        """Start, load the accounts, and start again, so that loading leaves nothing in memory."""
        super().start()
        dump = self.directory / "accounts.dump"
        dump.write_text(ejabberd_dump(Credentials.derived(), ACCOUNTS))
        self.api("load", file=str(dump))
        self.stop()
        super().start()


def _ejabberd(directory: Path, authority: CertificateAuthority) -> tuple[Server, bytes]:
    server = _BenchEjabberd(directory, authority, accounts=(), log_level="warning")
    text = server.config.read_text()
    server.config.write_text(text.replace("backlog: 1024", f"backlog: {BACKLOG}"))
    return server, EJABBERD_SECRET


def _prosody(directory: Path, authority: CertificateAuthority) -> tuple[Server, bytes]:
    server = ProsodyLink(directory, authority, accounts=(), log_level="warn")
    write_prosody_accounts(directory / "data", Credentials.derived(), ACCOUNTS)
    return server, PROSODY_SECRET


MAKERS: dict[str, Callable[[Path, CertificateAuthority], tuple[Server, bytes]]] = {
    "ejabberd": _ejabberd,
    "prosody": _prosody,
}


def _edge(directory: Path, authority: CertificateAuthority, server: Server, secret: bytes) -> Edge:
    directory.mkdir(parents=True)
    secret_file = directory / "link.secret"
    secret_file.touch(mode=0o600)
    secret_file.write_bytes(secret + b"\n")
    host, port = server.link
    upstream = {
        "name": "server",
        "address": f"{host}:{port}",
        "mode": "link",
        "links": LINKS,
        "secret_file": str(secret_file),
    }
    edge = Edge(directory, authority, [upstream], workers=1, domains=DOMAINS)
    edge.tables["node"]["max_connections"] = 20_000
    edge.tables["log"] = {"connections": False, "level": "warning"}
    edge.tables["limits"]["preauth_seconds"] = NEGOTIATION_SECONDS
    return edge


@contextmanager
def running(kind: str, directory: Path, *, with_edge: bool) -> Iterator[Host]:
    """`kind` is one of MAKERS; one worker of Megaphone with two links before it if asked for."""
    directory.mkdir(parents=True)
    authority = CertificateAuthority(directory / "ca")
    server, secret = MAKERS[kind](directory / kind, authority)
    with ExitStack() as stack:
        stack.callback(server.stop)
        server.start()
        edge = None
        if with_edge:
            edge = _edge(directory / "edge", authority, server, secret)
            stack.callback(edge.stop)
            edge.start()
        yield Host(server, edge)


def check_links(host: Host) -> None:
    """ServerError unless the clients came the way they should: over links, or over none.

    Who has only asked whether the server listens may still be seen for a moment.
    """
    wanted = LINKS if host.edge else 0
    found = partial(established, [host.server.link[1]])
    wait_until(lambda: found() == wanted, f"{wanted} links at {host.server.name}", LINKS_SECONDS)

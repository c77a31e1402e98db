"""The chat services that are compared: Megaphone by itself, ejabberd and Prosody, with the same accounts and no TLS.

All three offer what Megaphone's embedded service has, and no more: neither archive nor personal eventing (XEP-0313,
XEP-0163), which would cost the others. What Megaphone's own class assumes stands in `MegaphoneService` alone.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from megaphone.service import accounts
from megaphone.storage import database
from megaphone.storage.accounts import AccountBook
from megaphone.stream.scram import ScramKeys
from tests.bench.accounts import ITERATIONS, SALT, Credentials, ejabberd_dump, write_prosody_accounts
from tests.bench.hosts import BACKLOG
from tests.bench.report.figure import OURS
from tests.servers.certificates import CertificateAuthority
from tests.servers.ejabberd import Ejabberd
from tests.servers.megaphone import NO_LIMITS, Node
from tests.servers.model import DOMAIN, ROOMS, Endpoint
from tests.servers.process import LOOPBACK, Process, ServerError, answers, free_port
from tests.servers.prosody import Prosody

MECHANISM, DIGEST = "SCRAM-SHA-256", "sha256"
MOST_OCCUPANTS = 20_000
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """A running service: where its clients connect, where its rooms are, and the root of its process tree."""

    name: str
    endpoint: Endpoint
    rooms: str
    process_id: int


def _replaced(text: str, *pairs: tuple[str, str]) -> str:
    """ServerError if a text is not there: the configuration has changed."""
    for old, new in pairs:
        if old not in text:
            raise ServerError(f"the configuration has no {old!r}")
        text = text.replace(old, new)
    return text


class EjabberdService(Ejabberd):
    """With a plain listener, rooms for thousands, and accounts that are loaded as a dump of the database."""

    def __init__(self, directory: Path, authority: CertificateAuthority, count: int) -> None:
        super().__init__(directory, authority, accounts=(), log_level="warning")
        self.open = Endpoint(LOOPBACK, free_port(), "none")
        self._count = count
        config = directory / "ejabberd.yml"
        listener = (
            f'listen:\n  -\n    port: {self.open.port}\n    ip: "{LOOPBACK}"\n    module: ejabberd_c2s\n'
            f"    backlog: {BACKLOG}\n    max_stanza_size: 262144\n    access: c2s\n"
        )
        rooms = (
            f"    max_users: {MOST_OCCUPANTS}\n    max_users_presence: {MOST_OCCUPANTS}\n"
            f"    default_room_options:\n      max_users: {MOST_OCCUPANTS}\n"
        )
        config.write_text(
            _replaced(
                config.read_text(),
                ("listen:\n", listener),
                ("auth_password_format: scram\n", f"auth_password_format: scram\nauth_scram_hash: {DIGEST}\n"),
                ("    default_room_options:\n      mam: true\n", rooms),
                ("  mod_mam:\n    default: always\n", ""),
                ("  mod_pubsub:\n    plugins:\n      - flat\n      - pep\n", ""),
            )
        )

    def start(self) -> None:
        """Start, load the accounts, and start again, so that loading leaves nothing in memory."""
        super().start()
        dump = self.directory / "accounts.dump"
        dump.write_text(ejabberd_dump(Credentials.derived(DIGEST), self._count))
        self.api("load", file=str(dump))
        self.stop()
        super().start()
        self.process.wait_until(lambda: answers((self.open.host, self.open.port), DOMAIN), "plain listener")


class ProsodyService(Prosody):
    """With the listener that tests have for the edge, and accounts that are written as its files."""

    def __init__(self, directory: Path, authority: CertificateAuthority, count: int) -> None:
        super().__init__(directory, authority, "edge", accounts=(), log_level="warn")
        self._config.write_text(
            _replaced(
                self._config.read_text(),
                ("allow_registration = false\n", 'allow_registration = false\npassword_hash = "SHA-256"\n'),
                ('\tmodules_enabled = { "muc_mam" }\n', "\tmuc_room_locking = false\n"),
                (' "mam";', ""),
                (' "pep";', ""),
            )
        )
        write_prosody_accounts(directory / "data", Credentials.derived(DIGEST), count)


class MegaphoneService(Node):
    """Megaphone with no upstream: the embedded service, which keeps its accounts and rooms in its data directory."""

    workers = 0  # one for each core

    def __init__(self, directory: Path, count: int) -> None:
        directory.mkdir(parents=True)
        super().__init__(directory, OURS)
        self.open = Endpoint(LOOPBACK, free_port(), "none")
        self.rooms = f"conference.{DOMAIN}"
        self._data = directory / "data"
        self._count = count
        self.tables = {
            "node": {"workers": self.workers},
            "listen": [{"address": f"{LOOPBACK}:{self.open.port}", "tls": "none"}],
            "domain": [{"name": DOMAIN}],
            "service": {"data": str(self._data)},
            "limits": dict(NO_LIMITS),
            "admin": {"address": f"{LOOPBACK}:{self.admin_port}", "socket": str(self.admin_socket)},
            "log": {"connections": False, "level": "warning"},
        }

    def _add_accounts(self) -> None:
        """As `megaphone user add` does, which would take thousands of processes."""
        database.prepare(str(self._data))
        book = AccountBook(str(self._data))
        kept = [Credentials.derived(digest) for digest in ("sha1", DIGEST)]
        keys = [ScramKeys(SALT, ITERATIONS, each.stored_key, each.server_key) for each in kept]
        for number in range(self._count):
            book.add(f"user{number}", accounts.Credentials(*keys), now=0.0)
        book.close()

    def start(self) -> None:
        """Add the accounts, start, and return when the listener answers; ServerError with the log's tail."""
        self._add_accounts()
        self.write_config()
        self._process = Process(
            [sys.executable, "-m", "megaphone", "serve", "--config", str(self.config_path)],
            directory=Path.cwd(),
            log=self.log,
            environment=os.environ,
        )
        address = (self.open.host, self.open.port)
        self._process.wait_until(lambda: answers(address, DOMAIN) and self.ready(), OURS, START_SECONDS)


def _ejabberd(directory: Path, count: int) -> tuple[EjabberdService, Endpoint, str]:
    server = EjabberdService(directory / "ejabberd", CertificateAuthority(directory / "ca"), count)
    return server, server.open, ROOMS


def _prosody(directory: Path, count: int) -> tuple[ProsodyService, Endpoint, str]:
    server = ProsodyService(directory / "prosody", CertificateAuthority(directory / "ca"), count)
    return server, server.plain, ROOMS


def _megaphone(directory: Path, count: int) -> tuple[MegaphoneService, Endpoint, str]:
    server = MegaphoneService(directory / OURS, count)
    return server, server.open, server.rooms


Server = EjabberdService | ProsodyService | MegaphoneService
MAKERS: dict[str, Callable[[Path, int], tuple[Server, Endpoint, str]]] = {
    OURS: _megaphone,
    "ejabberd": _ejabberd,
    "prosody": _prosody,
}


@contextmanager
def running(name: str, directory: Path, count: int) -> Iterator[Service]:
    """The service `name` of MAKERS, with `count` accounts."""
    directory.mkdir(parents=True)
    server, endpoint, rooms = MAKERS[name](directory, count)
    try:
        server.start()
        print(f"{name} runs as process {server.process.pid}", file=sys.stderr)
        yield Service(name, endpoint, rooms, server.process.pid)
    finally:
        server.stop()

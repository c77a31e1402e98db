"""The chat services that are compared: Megaphone by itself, ejabberd and Prosody, with the same accounts and no TLS.

All three offer what Megaphone's embedded service has, and no more: neither archive nor personal eventing (XEP-0313,
XEP-0163), which would cost the others. What Megaphone's own class assumes stands in `MegaphoneService` alone.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.accounts import Credentials, ejabberd_dump, write_prosody_accounts
from tests.bench.hosts import BACKLOG
from tests.bench.logins import PASSWORD
from tests.bench.report import OURS
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

    def __init__(self, directory: Path, authority: CertificateAuthority, accounts: int) -> None:
        super().__init__(directory, authority, accounts=(), log_level="warning")
        self.open = Endpoint(LOOPBACK, free_port(), "none")
        self._count = accounts
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
        self.restart_loaded()

    def restart_loaded(self) -> None:
        """Stop, and start with the accounts that it has."""
        self.stop()
        super().start()
        self.process.wait_until(lambda: answers((self.open.host, self.open.port), DOMAIN), "plain listener")


class ProsodyService(Prosody):
    """With the listener that tests have for the edge, and accounts that are written as its files."""

    def __init__(self, directory: Path, authority: CertificateAuthority, accounts: int) -> None:
        super().__init__(directory, authority, "edge", accounts=(), log_level="warn")
        self._config.write_text(
            _replaced(
                self._config.read_text(),
                ('authentication = "internal_hashed"\n', 'authentication = "internal_hashed"\npassword_hash = "SHA-256"\n'),
                ('\tmodules_enabled = { "muc_mam" }\n', "\tmuc_room_locking = false\n"),
                (' "mam";', ""),
                (' "pep";', ""),
            )
        )
        write_prosody_accounts(directory / "data", Credentials.derived(DIGEST), accounts)


class MegaphoneService(Node):
    """Megaphone with no upstream: the embedded service, which keeps its accounts and rooms in its data directory."""

    def __init__(self, directory: Path, accounts: int, workers: int = 0) -> None:
        directory.mkdir(parents=True)
        super().__init__(directory, "megaphone")
        self.open = Endpoint(LOOPBACK, free_port(), "none")
        self.rooms = f"conference.{DOMAIN}"
        self._count = accounts
        self.tables = {
            "node": {"workers": workers},
            "listen": [{"address": f"{LOOPBACK}:{self.open.port}", "tls": "none"}],
            "domain": [{"name": DOMAIN}],
            "service": {"data_directory": str(directory / "data")},
            "limits": dict(NO_LIMITS),
            "admin": {"address": f"{LOOPBACK}:{self.admin_port}", "socket": str(self.admin_socket)},
            "log": {"connections": False, "level": "warning"},
        }

    def add_accounts(self) -> None:
        """user0, user1 ...; ServerError with what the command says."""
        password = self.directory / "password"
        password.write_text(PASSWORD + "\n")
        for number in range(self._count):
            jid = f"user{number}@{DOMAIN}"
            self._command("user", "add", jid, "--password-file", str(password), "--config", str(self.config_path))

    def _command(self, *words: str) -> None:
        done = subprocess.run([sys.executable, "-m", "megaphone", *words], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServerError(f"megaphone {' '.join(words)}: {done.stdout}{done.stderr}")

    def start(self) -> None:
        """Add the accounts, start, and return when the listener answers; ServerError with the log's tail."""
        self.write_config()
        self.add_accounts()
        self._process = Process(
            [sys.executable, "-m", "megaphone", "serve", "--config", str(self.config_path)],
            directory=Path.cwd(),
            log=self.log,
            environment=os.environ,
        )
        address = (self.open.host, self.open.port)
        self._process.wait_until(lambda: answers(address, DOMAIN) and self.ready(), OURS, START_SECONDS)


def _ejabberd(directory: Path, accounts: int) -> tuple[EjabberdService, Endpoint, str]:
    server = EjabberdService(directory / "ejabberd", CertificateAuthority(directory / "ca"), accounts)
    return server, server.open, ROOMS


def _prosody(directory: Path, accounts: int) -> tuple[ProsodyService, Endpoint, str]:
    server = ProsodyService(directory / "prosody", CertificateAuthority(directory / "ca"), accounts)
    return server, server.plain, ROOMS


def _megaphone(directory: Path, accounts: int) -> tuple[MegaphoneService, Endpoint, str]:
    server = MegaphoneService(directory / OURS, accounts)
    return server, server.open, server.rooms


Server = EjabberdService | ProsodyService | MegaphoneService
MAKERS: dict[str, Callable[[Path, int], tuple[Server, Endpoint, str]]] = {
    OURS: _megaphone,
    "ejabberd": _ejabberd,
    "prosody": _prosody,
}


@contextmanager
def running(name: str, directory: Path, accounts: int) -> Iterator[Service]:
    """The service `name` of MAKERS, with `accounts` accounts."""
    directory.mkdir(parents=True)
    server, endpoint, rooms = MAKERS[name](directory, accounts)
    try:
        server.start()
        yield Service(name, endpoint, rooms, server.process.pid)
    finally:
        server.stop()

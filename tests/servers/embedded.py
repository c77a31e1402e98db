"""A running Megaphone with nothing behind it: the embedded service, its accounts and its three kinds of listeners."""

import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from megaphone.service.accounts import make_credentials
from megaphone.storage.accounts import AccountBook
from megaphone.storage.database import prepare
from tests.servers.certificates import CertificateAuthority
from tests.servers.megaphone import Edge
from tests.servers.model import ALICE, BOB, CAROL, DOMAIN, ROOMS, Account, Endpoint
from tests.servers.process import LOOPBACK, free_port

ITERATIONS = 4096  # RFC 7677's least: slixmpp hashes in Python


class Embedded(Edge):
    """The embedded service of `DOMAIN` with rooms at `ROOMS`; `plain` is a listener without TLS.

    `service`, `rooms` and `archive` are further keys of these tables of the configuration.
    """

    name = "embedded"

    def __init__(
        self,
        directory: Path,
        authority: CertificateAuthority,
        *,
        workers: int = 2,
        accounts: Iterable[Account] = (ALICE, BOB, CAROL),
        service: dict[str, Any] | None = None,
        rooms: dict[str, Any] | None = None,
        archive: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(directory, authority, (), workers=workers, domains=(DOMAIN,))
        self.accounts = tuple(accounts)
        self.data = directory / "data"
        self.plain = Endpoint(LOOPBACK, free_port(), "none")
        del self.tables["health"], self.tables["upstream"]
        self.tables["listen"].append({"address": f"{LOOPBACK}:{self.plain.port}", "tls": "none"})
        self.tables["service"] = {
            "data": str(self.data),
            "anonymous": True,
            "scram_iterations": ITERATIONS,
            "failed_logins_per_address": 1_000_000,
            **(service or {}),
        }
        self.tables["rooms"] = {"domain": ROOMS, **(rooms or {})}
        self.tables["archive"] = archive or {}

    def register(self) -> None:
        """Make the accounts; it may run or not."""
        prepare(str(self.data))
        book = AccountBook(str(self.data))
        try:
            for account in self.accounts:
                credentials = make_credentials(account.password, secrets.token_bytes(16), ITERATIONS)
                assert book.add(account.user, credentials, time.time()), account
        finally:
            book.close()

"""A cluster of Megaphones on one NATS: real processes, on loopback or in network namespaces, each with data of its own.

with Cluster(directory, authority, nodes=3) as cluster:
    cluster.nodes[0].plain.port                    # a client's address; one per node
    cluster.nodes[1].kill(); cluster.until_members("a", "c")
    cluster.nodes[1].start_again(); cluster.until_members("a", "b", "c")
    cluster.nats.kill(); cluster.nats.delete_store(); cluster.nats.start()
"""

import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from megaphone.service.accounts import make_credentials
from megaphone.storage.accounts import AccountBook
from megaphone.storage.database import prepare
from tests.servers.certificates import CertificateAuthority
from tests.servers.embedded import ITERATIONS, Embedded
from tests.servers.megaphone import START_SECONDS
from tests.servers.model import ALICE, BOB, CAROL, DOMAIN, Account, Endpoint
from tests.servers.nats import NATS
from tests.servers.process import LOOPBACK, Process, answers, wait_until

LEASE_SECONDS = 8  # a busy machine keeps a process waiting for seconds
NAMES = "abcdefghijklmnopqrstuvwxyz"
VIEW_SECONDS = 40.0


class ClusterNode(Embedded):
    """One node; `prefix` is a command that it runs under, such as `ip netns exec NAME`."""

    def __init__(
        self,
        directory: Path,
        authority: CertificateAuthority,
        node_name: str,
        nats: str,
        *,
        address: str = LOOPBACK,
        prefix: Sequence[str] = (),
        lease_seconds: int = LEASE_SECONDS,
        cluster: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(directory, authority, **options)
        self.node_name = node_name
        self.address = address
        self.prefix = tuple(prefix)
        self.plain = Endpoint(address, self.plain.port, "none")
        self.starttls = Endpoint(address, self.starttls.port, "starttls")
        self.direct = Endpoint(address, self.direct.port, "direct")
        for listen, endpoint in zip(self.tables["listen"], (self.starttls, self.direct, self.plain), strict=True):
            listen["address"] = f"{address}:{endpoint.port}"
        self.tables["cluster"] = {
            "servers": [nats],
            "node_name": node_name,
            "lease_seconds": lease_seconds,
            **(cluster or {}),
        }

    def start(self) -> None:
        """Start, and return when it serves: NATS may be away."""
        self.write_config()
        self._process = Process(
            [*self.prefix, sys.executable, "-m", "megaphone", "serve", "--config", str(self.config_path)],
            directory=Path.cwd(),
            log=self.log,
            environment=os.environ,
        )
        self._process.wait_until(self._serves, f"node {self.node_name}", START_SECONDS)

    def _serves(self) -> bool:
        with contextlib.suppress(OSError):
            if not self.request("GET", "/status")["ready"]:
                return False
            # in a namespace only its own processes reach its listeners
            return bool(self.prefix) or answers((self.address, self.plain.port), DOMAIN)
        return False

    def kill(self) -> None:
        """Kill its processes as a power cut would: no word is said."""
        workers = self.workers()
        self.process.signal(signal.SIGSTOP)  # so that it starts no worker for one that dies
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.signal(signal.SIGKILL)
        self.process.wait(START_SECONDS)

    def stop(self) -> None:
        """End it in order, however busy the machine is: what it says at its end is waited for."""
        if self._process is not None:
            self._process.stop(grace_seconds=START_SECONDS)

    def start_again(self) -> None:
        """Start on the same ports with the same data."""
        self.admin_socket.unlink(missing_ok=True)
        self.start()

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.running

    def views(self) -> list[dict[str, Any]]:
        """What each of its workers sees: `worker`, `up` (NATS), `trouble`, `nodes` with `name`, `key`, `since_ms`."""
        answer = self.request("GET", "/nodes")
        return [] if answer["missing_workers"] else list(answer["workers"])

    def members(self) -> list[str]:
        """The names of the nodes that it sees alive, its own included, sorted; none as long as its workers differ."""
        seen = [sorted(row["name"] for row in view["nodes"]) for view in self.views()]
        return seen[0] if seen and all(each == seen[0] for each in seen) else []

    def nats_is(self, *, there: bool) -> bool:
        """Whether all of its workers are connected to NATS, or none."""
        views = self.views()
        return bool(views) and all(view["up"] is there for view in views)

    @property
    def key(self) -> str:
        """The key of the node, in hex."""
        return next(str(row["key"]) for row in self.views()[0]["nodes"] if row["own"])


class Cluster:
    """A NATS and nodes called a, b, c …, all with the same accounts, or made by themselves (`register=False`).

    `hosts`: for each node the address it listens on and the command prefix it runs under; `nats_host` likewise.
    `options` are those of Embedded: workers, service, rooms, archive.
    """

    def __init__(
        self,
        directory: Path,
        authority: CertificateAuthority,
        *,
        nodes: int = 3,
        workers: int = 2,
        accounts: Iterable[Account] = (ALICE, BOB, CAROL),
        hosts: Sequence[tuple[str, Sequence[str]]] | None = None,
        nats_url: str = "",
        register: bool = True,
        lease_seconds: int = LEASE_SECONDS,
        nats_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.directory = directory
        self.nats = NATS(directory / "nats", **(nats_options or {}))
        self._own_nats = not nats_url
        url = nats_url or f"nats://{self.nats.settings.host}:{self.nats.settings.port}"
        self._register = register
        self.accounts = tuple(accounts)
        places = hosts or [(LOOPBACK, ())] * nodes
        self.nodes = [
            ClusterNode(
                directory / NAMES[index],
                authority,
                NAMES[index],
                url,
                address=address,
                prefix=prefix,
                workers=workers,
                accounts=self.accounts,
                lease_seconds=lease_seconds,
                **options,
            )
            for index, (address, prefix) in enumerate(places)
        ]

    def node(self, name: str) -> ClusterNode:
        """The node of this name."""
        return self.nodes[NAMES.index(name)]

    def register(self, accounts: Iterable[Account] | None = None) -> None:
        """Make the accounts on every node, the same on all: before they start, or without waiting for replication."""
        made = [
            (account, make_credentials(account.password, secrets.token_bytes(16), ITERATIONS))
            for account in accounts or self.accounts
        ]
        now = time.time()
        for node in self.nodes:
            prepare(str(node.data))
            book = AccountBook(str(node.data))
            try:
                for account, credentials in made:
                    assert book.add(account.user, credentials, now), account
            finally:
                book.close()

    def start(self) -> None:
        """Start NATS and all nodes; return when all see all."""
        if self._own_nats:
            self.nats.start()
        if self._register:
            self.register()
        for node in self.nodes:
            node.start()
        self.until_members(*(node.node_name for node in self.nodes))

    def running(self) -> list[ClusterNode]:
        """The nodes whose process runs."""
        return [node for node in self.nodes if node.running]

    def until_members(
        self, *names: str, seen_by: Iterable[ClusterNode] | None = None, timeout_seconds: float = VIEW_SECONDS
    ) -> None:
        """Return when all running nodes, or those given, see exactly these alive."""
        wanted = sorted(names)
        nodes = list(seen_by) if seen_by is not None else self.running()
        wait_until(lambda: all(node.members() == wanted for node in nodes), f"nodes {wanted}", timeout_seconds)

    def until_nats(self, *, there: bool = True, timeout_seconds: float = VIEW_SECONDS) -> None:
        """Return when all workers of all running nodes are connected to NATS, or (False) none."""
        wait_until(
            lambda: all(node.nats_is(there=there) for node in self.running()),
            f"NATS there: {there}",
            timeout_seconds,
        )

    def stop(self) -> None:
        """End all in order: nodes, then NATS."""
        for node in self.nodes:
            node.stop()
        if self._own_nats:
            self.nats.stop()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

"""A running Megaphone: its configuration file, its processes, and what an operator can ask it."""

import contextlib
import http.client
import json
import os
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from loadtest.million.node import ControlConnection, toml
from tests.servers.certificates import CertificateAuthority
from tests.servers.model import DOMAINS, Endpoint
from tests.servers.process import LOOPBACK, Process, ServerError, answers, free_port

START_SECONDS = 60.0
# Tests open and drop connections faster than any honest client.
NO_LIMITS: Mapping[str, Any] = {
    "accepts_per_second": 1_000_000,
    "accepts_per_second_per_address": 1_000_000,
    "connections_per_address": 1_000_000,
    "connections_per_prefix": 1_000_000,
    "stanzas_per_second": 1_000_000,
    "stanzas_burst": 1_000_000,
    "bytes_per_second": 1_000_000_000,
    "bytes_burst": 1_000_000_000,
}


class Node:
    """A supervisor with its configuration file, its log and its pages: what an edge and a hub have alike."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.admin_port = free_port()
        self.admin_socket = directory / "admin.sock"
        self.config_path = directory / f"{name}.toml"
        self.tables: dict[str, Any] = {}
        self._process: Process | None = None

    @property
    def log(self) -> Path:
        """Its standard error."""
        return self.config_path.with_suffix(".log")

    def write_config(self, text: str | None = None) -> None:
        """Write `text`, or `tables` as TOML, to the configuration file."""
        self.config_path.write_text(toml(self.tables) if text is None else text)

    def stop(self) -> None:
        """SIGTERM and, if the drain takes too long, SIGKILL."""
        if self._process is not None:
            self._process.stop()

    @property
    def process(self) -> Process:
        """The supervisor; ServerError before `start`."""
        if self._process is None:
            raise ServerError("megaphone was not started")
        return self._process

    def workers(self) -> list[int]:
        """The process ids of the workers, oldest first."""
        return sorted(pid for pid in _children(self.process.pid) if b"megaphone.worker" in _command(pid))

    def reload(self) -> None:
        """Send SIGHUP."""
        self.process.signal(signal.SIGHUP)

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """Ask over the control socket; the decoded JSON, or the text if it is none. ServerError unless 200."""
        connection = ControlConnection(self.admin_socket)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise ServerError(f"{method} {path}: {response.status} {answer.decode(errors='replace')}")
        is_json = response.getheader("Content-Type", "").startswith("application/json")
        return json.loads(answer) if is_json else answer.decode()

    def ready(self) -> bool:
        """Whether /health/ready says so."""
        connection = http.client.HTTPConnection(LOOPBACK, self.admin_port, timeout=30)
        try:
            connection.request("GET", "/health/ready")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all samples called `name` that carry `labels`; 0 if there is none."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.request("GET", "/metrics"))
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


class Edge(Node):
    """Megaphone in front of `upstreams` (tables of `[[upstream]]`), with a STARTTLS and a direct TLS listener.

    `preferred_ports` are those of STARTTLS, direct TLS and the admin address, each used if it is free.
    """

    def __init__(
        self,
        directory: Path,
        authority: CertificateAuthority,
        upstreams: Sequence[Mapping[str, Any]],
        *,
        workers: int = 2,
        domains: Iterable[str] = DOMAINS,
        address: str = LOOPBACK,
        preferred_ports: tuple[int, ...] = (),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory, "megaphone")
        starttls_port, direct_port, self.admin_port = (
            free_port(preferred_ports[number : number + 1], address) for number in range(3)
        )
        self.starttls = Endpoint(address, starttls_port, "starttls")
        self.direct = Endpoint(address, direct_port, "direct")
        domains = list(domains)
        files = authority.issue(*domains)
        self.tables = {
            "node": {"workers": workers},
            "listen": [
                {"address": f"{address}:{self.starttls.port}", "tls": "starttls"},
                {"address": f"{address}:{self.direct.port}", "tls": "direct"},
            ],
            "certificate": [{"chain": str(files.chain), "key": str(files.key)}],
            "domain": [{"name": name, "upstreams": [entry["name"] for entry in upstreams]} for name in domains],
            "upstream": [dict(entry) for entry in upstreams],
            "health": {"interval_seconds": 0.5, "timeout_seconds": 10.0},  # a busy server is not to be given up
            "limits": dict(NO_LIMITS),
            "admin": {"address": f"{LOOPBACK}:{self.admin_port}", "socket": str(self.admin_socket)},
        }
        self._domain = domains[0]

    def start(self) -> None:
        """Write the configuration, start, and return when every listener answers; ServerError with the log's tail."""
        self.write_config()
        self._process = Process(
            [sys.executable, "-m", "megaphone", "serve", "--config", str(self.config_path)],
            directory=Path.cwd(),
            log=self.log,
            environment=os.environ,
        )
        address = (self.starttls.host, self.starttls.port)
        self._process.wait_until(lambda: answers(address, self._domain) and self.ready(), "megaphone", START_SECONDS)


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _command(pid: int) -> bytes:
    """The command line of a process; nothing if it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def upstream_of(server: Any, name: str = "server", **options: Any) -> dict[str, Any]:
    """The `[[upstream]]` table for a test server's plain listener; only ejabberd knows the PROXY protocol."""
    return {
        "name": name,
        "address": f"{server.plain.host}:{server.plain.port}",
        "proxy_protocol": server.name == "ejabberd",
        **options,
    }

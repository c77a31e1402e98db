"""Runs a load test with Locust as a tester would, and reads the files it leaves."""

import csv
import http
import os
import re
import resource
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.model import DOMAIN, ROOMS, Endpoint
from tests.servers.process import LOOPBACK, Process, ServerError, free_port

ROOT = Path(__file__).parents[2]
SECONDS = 120.0
SECURITY = {"none": "plain", "starttls": "starttls", "direct": "tls"}


@dataclass(frozen=True)
class Result:
    """What a run left: exit code, what it printed (`output` on stdout), its files of figures."""

    code: int
    output: str
    errors: str
    prefix: Path

    def rows(self, name: str) -> list[dict[str, str]]:
        """The rows of `PREFIX_name.csv`."""
        with Path(f"{self.prefix}_{name}.csv").open(newline="") as opened:
            return list(csv.DictReader(opened))

    def stat(self, kind: str) -> dict[str, str]:
        """The row of Locust's statistics with this type; ServerError if there is not exactly one."""
        found = [row for row in self.rows("stats") if row["Type"] == kind]
        if len(found) != 1:
            raise ServerError(f"{len(found)} rows of type {kind}\n{self}")
        return found[0]

    def count(self, kind: str) -> int:
        """How many requests of a type there were."""
        return int(self.stat(kind)["Request Count"])

    def last(self, column: str) -> int:
        """The last figure in this column of the sessions' file."""
        return int(self.rows("sessions")[-1][column])

    @property
    def missed(self) -> list[str]:
        """The criteria that were not met, as printed."""
        return re.findall(r"^(.*?)  .*MISSED$", self.output, re.MULTILINE)

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.output}\n{self.errors}"


class Running:
    """A run in the background; `result` waits for its end."""

    def __init__(self, prefix: Path, arguments: Sequence[str], *, descriptors: int | None = None) -> None:
        def limit() -> None:
            if descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        self._prefix = prefix
        self._process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=limit,
        )

    def result(self) -> Result:
        """What it left; ServerError if it does not end."""
        try:
            output, errors = self._process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            output, errors = self._process.communicate()
            raise ServerError(f"Locust still ran after {SECONDS:g} s\n{output}\n{errors}") from None
        return Result(self._process.returncode, output, errors, self._prefix)


def start(
    prefix: Path,
    endpoint: Endpoint,
    authority: Path,
    profile: str,
    *arguments: str,
    domain: str = DOMAIN,
    overrides: str = "",
    descriptors: int | None = None,
) -> Running:
    """Begin a headless run of a profile against a server, with files beginning with `prefix`."""
    host = [*("--host", f"xmpp://{endpoint.host}:{endpoint.port}"), *("--security", SECURITY[endpoint.tls])]
    server = [*host, *("--domain", domain), *("--rooms-domain", ROOMS), *("--ca", str(authority))]
    files = ["--csv", str(prefix), "--html", f"{prefix}.html"]
    settings = ["--set", overrides] if overrides else []
    command = ["loadtest", profile, *server, *files, *settings, *arguments]
    return Running(prefix, command, descriptors=descriptors)


@contextmanager
def page(directory: Path, *arguments: str) -> Iterator[str]:
    """Locust with its web page, whose address this gives."""
    port = free_port()
    process = Process(
        [*(sys.executable, "-m", "loadtest", "--web"), *("--web-host", LOOPBACK, "--web-port", str(port)), *arguments],
        directory=ROOT,
        log=directory / "locust.log",
        environment=os.environ,
    )
    url = f"http://{LOOPBACK}:{port}/"
    try:
        process.wait_until(lambda: _answers(url), "Locust's page", 60.0)
        yield url
    finally:
        process.stop()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == http.HTTPStatus.OK
    except OSError:
        return False

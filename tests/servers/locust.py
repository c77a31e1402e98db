"""Runs a load test with Locust as a tester would, and reads the files it leaves."""

import csv
import http
import os
import re
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers.model import DOMAIN, ROOMS, Endpoint
from tests.servers.process import LOOPBACK, Process, ServerError, free_port

ROOT = Path(__file__).parents[2]
SECONDS = 90.0
SECURITY = {"none": "plain", "starttls": "starttls", "direct": "tls"}


@dataclass(frozen=True, repr=False)
class Result:
    """What a run left: exit code, all that it printed, its files of figures."""

    code: int
    output: str
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

    def last(self, column: str, *phases: str) -> int:
        """The last figure in this column of the sessions' file, or the last during these phases."""
        return [int(row[column]) for row in self.rows("sessions") if not phases or row["Phase"] in phases][-1]

    @property
    def missed(self) -> list[str]:
        """The criteria that were not met, as printed."""
        return re.findall(r"^(.*?)  .*MISSED$", self.output, re.MULTILINE)

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.output}"


class Running:
    """A run in the background; `result` waits for its end."""

    def __init__(self, prefix: Path, arguments: Sequence[str], *, descriptors: int | None = None) -> None:
        limit = ["prlimit", f"--nofile={descriptors}:{descriptors}"] if descriptors else []
        self._prefix = prefix
        self._process = Process(
            [*limit, sys.executable, "-m", *arguments],
            directory=ROOT,
            log=prefix.with_name(f"{prefix.name}.log"),
            environment={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    def result(self) -> Result:
        """What it left; ServerError if it does not end."""
        try:
            code = self._process.wait(SECONDS)
        finally:
            self._process.stop()  # workers too
        return Result(code, self._process.log.read_text(), self._prefix)


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

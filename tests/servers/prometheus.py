"""A throw-away Prometheus, Debian's, that scrapes the nodes of a test and evaluates the rules of deploy/."""

import json
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.servers.process import LOOPBACK, Process, ServerError, free_port

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules"
START_SECONDS = 60.0


class Prometheus:
    """Scrapes `targets` (job to addresses) each second, and evaluates the rules as often."""

    def __init__(self, directory: Path, targets: Mapping[str, Iterable[str]]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self._process: Process | None = None
        shutil.copytree(RULES, directory / "megaphone")
        configuration = {  # JSON is YAML
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["megaphone/*.yml"],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": list(addresses)}]}
                for job, addresses in targets.items()
            ],
        }
        (directory / "prometheus.yml").write_text(json.dumps(configuration))

    def start(self) -> None:
        """Start it; it can do so while other servers start."""
        self._process = Process(
            [
                "prometheus",
                f"--config.file={self.directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={self.directory / 'data'}",
                f"--web.listen-address={LOOPBACK}:{self.port}",
            ],
            directory=self.directory,
            log=self.directory / "prometheus.log",
            environment={**os.environ, "GOMAXPROCS": "1"},
        )

    def wait_ready(self) -> None:
        """Return when it answers; ServerError if it ends first."""
        if self._process is None:
            raise ServerError("prometheus was not started")
        self._process.wait_until(self._ready, "prometheus", START_SECONDS)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.stop()

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}/-/ready", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer of its HTTP API; ServerError with what it says when it does not like the request."""
        url = f"http://{LOOPBACK}:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ServerError(f"{parameters}: {json.load(error)['error']}") from None

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of an expression's result, now."""
        data = self.get("query", query=expression)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(each["metric"], float(each["value"][1])) for each in data["result"]]

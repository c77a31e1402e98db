"""A running `megaphone hub` in front of a server, and what an operator can ask it."""

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.servers.megaphone import Node
from tests.servers.model import DOMAIN
from tests.servers.process import LOOPBACK, Process, free_port, wait_until

START_SECONDS = 60.0


class Hub(Node):
    """A hub before `upstreams` (tables of `[[upstream]]`). Edges connect to `link`: a TCP address or a path.

    `options` are more keys of `[hub]`; `unix` puts the link's socket into the directory.
    """

    def __init__(
        self,
        directory: Path,
        upstreams: Sequence[Mapping[str, Any]],
        *,
        unix: bool = False,
        **options: Any,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory, "hub")
        self.secret = os.urandom(32).hex().encode()
        self.link: tuple[str, int] | Path = directory / "hub.sock" if unix else (LOOPBACK, free_port())
        secret_file = directory / "link.secret"
        secret_file.write_bytes(self.secret + b"\n")
        secret_file.chmod(0o600)
        self.tables: dict[str, Any] = {
            "hub": {
                "address": f"unix:{self.link}" if isinstance(self.link, Path) else f"{LOOPBACK}:{self.link[1]}",
                "secret_file": secret_file.name,
                "domain": DOMAIN,
                **options,
            },
            "upstream": [dict(entry) for entry in upstreams],
            "health": {"interval_seconds": 0.5, "timeout_seconds": 10.0},  # a busy server is not to be given up
            "admin": {"address": f"{LOOPBACK}:{self.admin_port}", "socket": str(self.admin_socket)},
        }

    def start(self, *, ready: bool = True) -> None:
        """Write the configuration, start, and return when links are taken and, if asked for, a server is reached."""
        self.write_config()
        self._process = Process(
            [sys.executable, "-m", "megaphone", "hub", "--config", str(self.config_path)],
            directory=Path.cwd(),
            log=self.log,
            environment=os.environ,
        )
        self._process.wait_until(self.ready if ready else self._answers, "megaphone hub", START_SECONDS)

    def _answers(self) -> bool:
        try:
            status = self.request("GET", "/status")
        except OSError:
            return False
        return bool(status["workers"][0]["state"] == "ready")

    def restart(self) -> None:
        """Stop it in order, and start on the same address with the same secret."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """End supervisor and worker at once, as a crash of the machine would."""
        workers = self.workers()
        for pid in (self.process.pid, *workers):
            os.kill(pid, signal.SIGKILL)
        self.process.wait(START_SECONDS)
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the end of the hub's process")

    def wait_for_metric(self, name: str, value: float, **labels: str) -> None:
        """Return when the samples of a metric add up to `value`; ServerError if they do not."""
        wait_until(lambda: self.metric(name, **labels) == value, f"{name} of {value}")

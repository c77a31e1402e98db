"""A throw-away nats-server with the configuration that Megaphone starts its own with, on a port that it keeps."""

import os
import shutil
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from megaphone.bus.nats_access import Access, Server
from megaphone.bus.nats_server import Settings, find_program, write_configuration
from tests.servers.process import Process, free_port

START_SECONDS = 30.0


class NATS:
    """One running nats-server; it may be killed, and started again on the same port with the same store.

    In another network: `prefix` is the command that it runs under, `make_socket` makes sockets that are there.
    """

    def __init__(
        self,
        directory: Path,
        *,
        prefix: Sequence[str] = (),
        make_socket: Callable[[], socket.socket] = socket.socket,
        **options: Any,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.settings = Settings(directory, port=free_port(), **options)
        self._prefix = tuple(prefix)
        self._make_socket = make_socket
        self._process: Process | None = None

    @property
    def access(self) -> Access:
        """How to reach it, with its user, password or token."""
        server = Server(self.settings.host, self.settings.port, bool(self.settings.certificate))
        return Access((server,), user=self.settings.user, password=self.settings.password, token=self.settings.token)

    @property
    def process(self) -> Process:
        """The process."""
        assert self._process is not None
        return self._process

    def start(self, **options: Any) -> None:
        """Start, with other settings if they are given, and return when it says INFO."""
        self.settings = replace(self.settings, **options)
        self._process = Process(
            [*self._prefix, find_program(), "--config", str(write_configuration(self.settings))],
            directory=self.settings.directory,
            log=self.settings.directory / "nats-server.log",
            environment=os.environ,
        )
        self._process.wait_until(self._answers, "nats-server", START_SECONDS)

    def _answers(self) -> bool:
        try:
            with self._make_socket() as connection:
                connection.settimeout(1.0)
                connection.connect((self.settings.host, self.settings.port))
                return connection.recv(5) == b"INFO "
        except OSError:
            return False

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.signal(signal.SIGKILL)
        self.process.wait(START_SECONDS)

    def delete_store(self) -> None:
        """Delete all that it has stored, while it does not run."""
        assert not self.process.running
        shutil.rmtree(self.settings.directory / "store")

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            self._process.stop()

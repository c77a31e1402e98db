"""Runs one server process: its own process group, its output in a file, readiness by connecting, and a sure end."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from loadtest.million.node import dies_with

LOOPBACK = "127.0.0.1"
# Below the kernel's ephemeral range, so that no outgoing connection can take the port between our look and the bind.
PORT_RANGE = range(12_000, 32_000)
BLOCK_PORTS = 200  # that a process claims at once: several run tests at the same time
POLL_SECONDS = 0.02

_handed_out: set[int] = set()
_claims: list[socket.socket] = []
_block: list[int] = []


class ServerError(Exception):
    """A server did not start, or died; the message ends with the tail of its log."""


def free_port(preferred: Sequence[int] = (), address: str = LOOPBACK) -> int:
    """A TCP port nobody listens on at `address`: the first free one of `preferred`, else a random one, never twice.

    A random one is of a block that no other process on this machine hands ports out of.
    """
    for port in _candidates(preferred):
        if port in _handed_out:
            continue
        with socket.socket() as probe:
            # As the servers do: a port whose last connections are in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                continue
        _handed_out.add(port)
        return port
    raise ServerError(f"no free port at {address}")


def _candidates(preferred: Sequence[int]) -> Iterator[int]:
    yield from preferred
    while _block or _claim_block():
        yield _block.pop()


def _claim_block() -> bool:
    """Make a block of ports ours until this process ends; whether one was left.

    The claim is a name in Linux's abstract namespace of Unix sockets, which ends with the process whatever ends it.
    """
    starts = PORT_RANGE[::BLOCK_PORTS]
    for start in random.sample(starts, len(starts)):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0megaphone test ports {start}")
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        _block.extend(random.sample(range(start, start + BLOCK_PORTS), BLOCK_PORTS))
        return True
    return False


def wait_until(condition: Callable[[], bool], what: str, timeout_seconds: float = 60.0) -> None:
    """Return as soon as `condition` holds; ServerError after `timeout_seconds`."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ServerError(f"{what}: not within {timeout_seconds:g} s")
        time.sleep(POLL_SECONDS)


# PROXY protocol v2, command LOCAL: "this connection is my own", as a health check sends it. The one NOOP field is there
# because ejabberd 23.01 reads a header of length 0 with gen_tcp:recv(Socket, 0), which swallows whatever follows it.
PROXY_V2_LOCAL = b"\r\n\r\n\x00\r\nQUIT\n" + b"\x20\x00\x00\x03" + b"\x04\x00\x00"


def answers(address: tuple[str, int] | Path, to: str, preamble: bytes = b"") -> bool:
    """Whether an XMPP server at this plain or STARTTLS address (a path: Unix socket) opens a stream with features."""
    header = (
        f"<?xml version='1.0'?><stream:stream to='{to}' xmlns='jabber:client' "
        "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
    )
    received = b""
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family) as connection:
        connection.settimeout(2.0)
        connection.connect(str(address) if isinstance(address, Path) else address)
        connection.sendall(preamble + header.encode())
        while b"</stream:features>" not in received:
            data = connection.recv(4096)
            if not data:
                return False
            received += data
        connection.sendall(b"</stream:stream>")
        return True
    return False


class Process:
    """A child in its own process group, with all the descriptors it may have, that dies with us whatever kills us."""

    def __init__(self, command: Sequence[str], *, directory: Path, log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                command,
                cwd=directory,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=dies_with(os.getpid()),
            )

    @property
    def pid(self) -> int:
        """The process id, which is also the process group's."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._child.poll() is None

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_seconds: float = 120.0) -> None:
        """Wait for `condition`; ServerError with the log's tail if the process ends first or time runs out."""

        def ready() -> bool:
            if not self.running:
                raise ServerError(f"{what}: ended with exit code {self._child.returncode}")
            return condition()

        try:
            wait_until(ready, what, timeout_seconds)
        except ServerError as error:
            raise ServerError(f"{error}\n{self.log_tail()}") from None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself, not to its group."""
        self._child.send_signal(number)

    def wait(self, timeout_seconds: float) -> int:
        """The exit code; ServerError if it takes longer."""
        try:
            return self._child.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise ServerError(f"process {self.pid} still runs after {timeout_seconds:g} s\n{self.log_tail()}") from None

    def stop(self, grace_seconds: float = 10.0) -> None:
        """SIGTERM, after `grace_seconds` SIGKILL for the whole group; returns when it is gone. May be called twice."""
        if self.running:
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(grace_seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._child.wait()

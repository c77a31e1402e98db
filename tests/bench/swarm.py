"""The two ends of the load: the echo server behind a relay and the clients before it, on one core of their own."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.build import program
from tests.servers.connections import listening
from tests.servers.process import Process, ServerError, answers, free_port


class Clients:
    """A load generator process; each call is one command of tests/bench/swarm/client.c and returns its answer."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self._child = child

    def _ask(self, *words: object) -> dict[str, Any]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(" ".join(map(str, words)) + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        if not line:
            raise ServerError(f"the load generator ended during {words}: see its message above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def open(self, count: int) -> dict[str, Any]:
        """Connect and log in `count` more clients."""
        return self._ask("open", count)

    def close(self, count: int) -> dict[str, Any]:
        """Let `count` clients leave, spread over all."""
        return self._ask("close", count)

    def churn(self, count: int) -> dict[str, Any]:
        """Let `count` clients connect, open a stream and leave, at most 64 at a time."""
        return self._ask("churn", count)

    def pingpong(self, active: int, seconds: float) -> dict[str, Any]:
        """Exchange stanzas with `active` clients, one in flight each."""
        return self._ask("pingpong", active, seconds)

    def bulk(self, active: int, stanza_bytes: int, seconds: float) -> dict[str, Any]:
        """As `pingpong`, with stanzas of that size (200 to 60,000 bytes)."""
        return self._ask("bulk", active, stanza_bytes, seconds)

    def paced(self, active: int, stanzas_per_second: float, seconds: float) -> dict[str, Any]:
        """Send stanzas at a fixed rate, in turn from `active` clients, whatever comes back."""
        return self._ask("paced", active, stanzas_per_second, seconds)


@contextmanager
def clients(core: int, port: int, tls: str = "", *, resume: bool = False, websocket: bool = False) -> Iterator[Clients]:
    """Clients of `port` on `core`; `tls` is "", "1.2" or "1.3", and with `websocket` ""."""
    words = [tls] if tls else ["websocket"] if websocket else []
    arguments = [str(port), *words, *(["resume"] if resume else [])]
    child = subprocess.Popen(
        ["taskset", "-c", str(core), program("client"), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Clients(child)
    finally:
        child.kill()
        child.communicate()


@contextmanager
def echo_server(core: int, directory: Path, *, websocket: bool = False) -> Iterator[int]:
    """The server behind the relays, which speaks XMPP over TCP or WebSocket; yields its port."""
    port = free_port()
    words = ["websocket"] if websocket else []
    process = Process(
        ["taskset", "-c", str(core), str(program("echo")), str(port), *words],
        directory=directory,
        log=directory / f"{'-'.join(['echo', *words])}.log",
        environment=os.environ,
    )
    try:
        process.wait_until(
            lambda: listening(port) if websocket else answers(("127.0.0.1", port), "bench.example"), "echo server"
        )
        yield port
    finally:
        process.stop()

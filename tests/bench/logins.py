"""Clients that log in at a real server and stay: one load generator process for up to 19,000 of them."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.bench.build import program
from tests.servers.model import DOMAIN, Endpoint
from tests.servers.process import ServerError

# The accounts that the clients use in turn: user0, user1 ... Nearly every client has its own, for what a login costs a
# server in time and memory grows with the account's sessions.
ACCOUNTS = 10_000
PASSWORD = "bench-secret"


@dataclass(frozen=True, slots=True)
class Logins:
    """How logins went: how long all took, and each of them from its connect to its session."""

    seconds: float
    completed: int
    p50_seconds: float
    p99_seconds: float
    worst_seconds: float
    retries: int  # connections that the server cut off before the session stood, so that the client began anew
    tls: str
    cpu_seconds: float  # of the clients

    @property
    def per_second(self) -> float:
        """Sessions per second."""
        return self.completed / self.seconds


class LoginClients:
    """A load generator process; each call is one command of tests/bench/swarm/login.c."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self._child = child

    @property
    def process_id(self) -> int:
        """The process that holds all of them."""
        return self._child.pid

    def open(self, count: int, at_once: int = 64) -> Logins:
        """Log `count` more clients in, `at_once` at the same time."""
        answer = self._ask("open", count, at_once)
        return Logins(
            seconds=answer["seconds"],
            completed=answer["completed"],
            p50_seconds=answer["p50_us"] / 1e6,
            p99_seconds=answer["p99_us"] / 1e6,
            worst_seconds=answer["max_us"] / 1e6,
            retries=answer["retries"],
            tls=answer["tls"],
            cpu_seconds=answer["cpu_seconds"],
        )

    def close(self, count: int) -> None:
        """Let the `count` last clients leave in order."""
        self._ask("close", count)

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


@contextmanager
def load_generator(
    name: str, endpoint: Endpoint | Sequence[Endpoint], *words: str, tls: str, mechanism: str, accounts: int
) -> "Iterator[subprocess.Popen[str]]":
    """The program `name` of tests/bench/swarm with the arguments that login.h describes.

    Of several endpoints, which must be alike, the clients use one each, in turn.
    """
    endpoints = [endpoint] if isinstance(endpoint, Endpoint) else list(endpoint)
    ports = ",".join(str(each.port) for each in endpoints)
    arguments = [ports, endpoints[0].tls, tls, DOMAIN, mechanism, accounts, PASSWORD, *words]
    child = subprocess.Popen(
        [str(program(name)), *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


@contextmanager
def login_clients(
    endpoint: Endpoint,
    *,
    tls: str = "1.3",
    mechanism: str = "SCRAM-SHA-1",
    accounts: int = ACCOUNTS,
    presence: bool = False,
) -> Iterator[LoginClients]:
    """Clients of `endpoint`, none of them logged in yet; `tls` is "1.2" or "1.3", if the endpoint has any."""
    words = ("presence",) if presence else ()
    with load_generator("login", endpoint, *words, tls=tls, mechanism=mechanism, accounts=accounts) as child:
        yield LoginClients(child)

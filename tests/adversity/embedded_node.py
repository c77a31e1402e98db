"""The embedded service with many accounts of one password and salt: neither side has to hash for each of them."""

import asyncio
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from megaphone.bus.homes import home_of
from megaphone.service.accounts import make_credentials
from megaphone.storage.accounts import AccountBook
from megaphone.storage.database import prepare
from tests.adversity.embedded_line import ITERATIONS, PASSWORD, SALT
from tests.adversity.watch import worker_rows
from tests.servers.embedded import Embedded
from tests.servers.megaphone import Edge


class EmbeddedNode(Embedded):
    """`register_names` makes the accounts whose password all lines know."""

    def register_names(self, names: Iterable[str]) -> None:
        """Make accounts; it may run or not."""
        register_names(self.data, names, time.time())


def register_names(data: Path, names: Iterable[str], now: float) -> None:
    """Make accounts whose password all lines know in a node's data directory."""
    prepare(str(data))
    credentials = make_credentials(PASSWORD, SALT, ITERATIONS)
    book = AccountBook(str(data))
    try:
        for name in names:
            assert book.add(name, credentials, now), name
    finally:
        book.close()


def names_at(home: int, workers: int, domain: str, count: int, *, begin: str = "p") -> list[str]:
    """The first `count` names of users whose home is this worker."""
    found: list[str] = []
    number = 0
    while len(found) < count:
        name = f"{begin}{number}"
        if home_of(f"{name}@{domain}", workers) == home:
            found.append(name)
        number += 1
    return found


async def kill_worker(edge: Edge, index: int, timeout_seconds: float = 30.0) -> float:
    """`kill -9` a worker and wait until its successor is ready; the seconds that took."""
    began = time.monotonic()
    pid = (await asyncio.to_thread(worker_rows, edge))[index]["pid"]
    os.kill(pid, signal.SIGKILL)
    while True:
        row = (await asyncio.to_thread(worker_rows, edge))[index]
        if row["pid"] not in (pid, None) and row["state"] == "ready":
            return time.monotonic() - began
        if time.monotonic() - began > timeout_seconds:
            raise TimeoutError(f"worker {index} did not come back: {row}")
        await asyncio.sleep(0.05)

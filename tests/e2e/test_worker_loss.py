"""A worker is killed or hangs under load: its clients are lost, nobody else notices, and a new one takes its place."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.light import LightClient, StreamEndError
from tests.servers.certificates import CertificateAuthority
from tests.servers.ejabberd import Ejabberd
from tests.servers.megaphone import Edge, upstream_of
from tests.servers.model import ALICE
from tests.servers.process import wait_until

WORKERS = 4
CLIENTS = 100
NEW_CONNECTIONS_BEFORE_AND_AFTER = 40
BACK_WITHIN_SECONDS = 30.0  # no speed claim: where nothing else runs it takes a third of a second, for Python to start
NEWCOMERS_LIMIT = 100  # that log in until the kernel gives one to the new worker


@pytest.fixture
def edge(tmp_path: Path, authority: CertificateAuthority, ejabberd: Ejabberd) -> Iterator[Edge]:
    """Four workers in front of ejabberd; a hanging one is noticed after a second."""
    edge = Edge(tmp_path, authority, [upstream_of(ejabberd)], workers=WORKERS)
    edge.tables["restart"] = {"heartbeat_timeout_seconds": 1.0}
    try:
        edge.start()
        yield edge
    finally:
        edge.stop()


@dataclass
class Load:
    """Sessions that ping all the time, and connections that are made all the time."""

    clients: list[LightClient]
    lost: list[LightClient] = field(default_factory=list)
    pings: int = 0
    connected: int = 0
    refused: list[OSError] = field(default_factory=list)
    stopping: bool = False

    async def ping(self, client: LightClient) -> None:
        while not self.stopping:
            try:
                await client.ping()
            except StreamEndError:
                self.lost.append(client)
                return
            self.pings += 1
            await asyncio.sleep(0.01)

    async def connect(self, edge: Edge) -> None:
        while not self.stopping:
            try:
                _, writer = await asyncio.open_connection(edge.direct.host, edge.direct.port)
            except OSError as error:
                self.refused.append(error)
            else:
                self.connected += 1
                writer.transport.abort()
            await asyncio.sleep(0.005)

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        await asyncio.to_thread(wait_until, condition, what)


def worker_of(edge: Edge) -> dict[int, int]:
    """The worker index of each connection by the client's port, as soon as every worker says its own."""
    answer: dict[str, Any] = {}

    def all_say() -> bool:
        answer.update(edge.request("GET", "/connections?limit=1000"))
        return not answer["missing_workers"]

    wait_until(all_say, "an answer of every worker")
    return {each["port"]: each["worker"] for each in answer["connections"]}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_only_the_clients_of_the_lost_worker_notice(
    edge: Edge, authority: CertificateAuthority, number: signal.Signals
) -> None:
    async def session() -> None:
        load = Load([await LightClient.login(edge.direct, ALICE, authority.certificate) for _ in range(CLIENTS)])
        places = worker_of(edge)
        assert len(set(places.values())) == WORKERS, "every worker should have clients"
        status = edge.request("GET", "/status")
        victim = status["workers"][1]
        theirs = {client for client in load.clients if places[client.local_port] == victim["worker"]}
        tasks = [asyncio.create_task(load.ping(client)) for client in load.clients]
        tasks.append(asyncio.create_task(load.connect(edge)))
        await load.until(lambda: load.connected > NEW_CONNECTIONS_BEFORE_AND_AFTER and load.pings > CLIENTS, "load")

        begun = time.monotonic()
        os.kill(victim["pid"], number)

        def replaced() -> bool:
            worker = edge.request("GET", "/status")["workers"][1]
            return worker["pid"] not in (victim["pid"], None) and worker["state"] == "ready"

        await load.until(replaced, "a new worker")
        assert time.monotonic() - begun < BACK_WITHIN_SECONDS
        await load.until(lambda: len(load.lost) == len(theirs), "the lost clients notice")
        before, pings = load.connected, load.pings
        await load.until(
            lambda: load.connected > before + NEW_CONNECTIONS_BEFORE_AND_AFTER and load.pings > pings + CLIENTS, "load"
        )
        load.stopping = True
        await asyncio.gather(*tasks)

        assert load.refused == []
        assert set(load.lost) == theirs
        assert edge.metric("megaphone_worker_restarts_total") == 1
        # The new worker serves clients.
        again: list[LightClient] = []
        served = False
        while not served:
            assert len(again) < NEWCOMERS_LIMIT
            again.append(await LightClient.login(edge.direct, ALICE, authority.certificate))
            served = worker_of(edge).get(again[-1].local_port) == victim["worker"]
        for client in [*again, *load.clients]:
            await client.close()

    asyncio.run(session())

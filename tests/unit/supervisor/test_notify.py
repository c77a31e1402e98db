"""sd_notify over a real datagram socket, by path and by abstract address."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from megaphone.supervisor.notify import Notifier, from_environment
from tests.unit.supervisor.node_under_test import RunNode, until


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, directory: Path) -> Iterator[tuple[socket.socket, str]]:
    """Systemd's end, and the address as it stands in NOTIFY_SOCKET."""
    name = (
        f"@megaphone-test-{os.getpid()}-{time.monotonic_ns()}" if request.param == "abstract" else str(directory / "n")
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + name[1:] if name.startswith("@") else name)
        receiver.settimeout(5)
        yield receiver, name


def received(receiver: socket.socket) -> list[str]:
    return receiver.recv(4096).decode().split("\n")


def test_each_notification(systemd: tuple[socket.socket, str]) -> None:
    receiver, address = systemd
    notifier = Notifier(address)
    notifier.ready("4 of 4\nworkers ready")
    assert received(receiver) == ["READY=1", "STATUS=4 of 4 workers ready"]
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading("reloading")
    reloading, monotonic, status = received(receiver)
    assert (reloading, status) == ("RELOADING=1", "STATUS=reloading")
    name, _, microseconds = monotonic.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(microseconds) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.stopping("draining")
    assert received(receiver) == ["STOPPING=1", "STATUS=draining"]
    notifier.watchdog()
    assert received(receiver) == ["WATCHDOG=1"]
    notifier.extend_timeout(1.5)
    assert received(receiver) == ["EXTEND_TIMEOUT_USEC=1500000"]
    notifier.close()
    notifier.watchdog()  # harmless after the end


def test_nobody_listens_and_nothing_happens(directory: Path) -> None:
    for address in (None, "", "tcp:nonsense", str(directory / "nobody")):
        Notifier(address).ready("fine")


def test_a_full_socket_does_not_block(systemd: tuple[socket.socket, str]) -> None:
    notifier = Notifier(systemd[1])
    started = time.monotonic()
    for _ in range(5000):
        notifier.watchdog()
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("environment", "watchdog_seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "42"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_interval_from_the_environment(
    environment: dict[str, str], watchdog_seconds: float | None
) -> None:
    assert from_environment(environment, pid=42).watchdog_seconds == watchdog_seconds


@pytest.mark.trio
async def test_a_nodes_life_as_systemd_sees_it(run_node: RunNode, systemd: tuple[socket.socket, str]) -> None:
    receiver, address = systemd
    heard: list[str] = []

    async def listen() -> None:
        while True:
            heard.extend(await trio.to_thread.run_sync(received, receiver, abandon_on_cancel=True))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        async with run_node(workers=2, notifier=Notifier(address, watchdog_seconds=0.2)) as node:
            await node.wait_ready()
            await node.supervisor.reload()
            await until(lambda: "WATCHDOG=1" in heard, "a sign of life")
            node.supervisor.drain()
            await node.wait_ended()
            await until(lambda: "STOPPING=1" in heard, "the drain was announced")
        nursery.cancel_scope.cancel()
    states = [line for line in heard if not line.startswith(("STATUS=", "WATCHDOG=", "MONOTONIC_USEC=", "EXTEND_"))]
    assert states == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]
    assert "WATCHDOG=1" in heard
    assert "STATUS=2 of 2 workers ready, fronting 1 domains" in heard

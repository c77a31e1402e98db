"""Ephemeral pages between workers and nodes: lies, stalls, deaths, and the library that Phoenix has for JavaScript."""

import asyncio
import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.e2e.edges import running, with_pages
from tests.e2e.test_upgrade_direct import upgrade
from tests.scenarios.pages_window import PagesWindow, page_of
from tests.servers.certificates import CertificateAuthority
from tests.servers.cluster import Cluster
from tests.servers.embedded import Embedded
from tests.servers.megaphone import Edge, upstream_of
from tests.servers.node import node as run_in_node
from tests.servers.process import LOOPBACK, free_port, wait_until
from tests.servers.prosody import Prosody

TEXT = "<h1>Hello</h1> ümläut"
PAGE = page_of(TEXT)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Embedded]:
    node = Embedded(tmp_path_factory.mktemp("pages"), authority)
    with running(node, with_pages):
        yield node


def url(port: int) -> str:
    return f"ws://{LOOPBACK}:{port}/ws/websocket?vsn=2.0.0"


def on_both_workers(node: Edge, port: int) -> list[PagesWindow]:
    """Windows until both workers have some: the kernel chooses."""
    windows: list[PagesWindow] = []
    wait_until(lambda: _connected(node) == 0, "those of before are gone", 20.0)

    def spread() -> bool:
        return all(node.metric("megaphone_pages_windows", state="connected", worker=str(each)) for each in (0, 1))

    while not windows or not spread():
        windows.append(PagesWindow(url(port)))
        windows[-1].join("all")
        assert len(windows) < 64
        wait_until(lambda: _connected(node) >= len(windows), "its windows are counted", 20.0)
    return windows


def _connected(node: Edge) -> float:
    return node.metric("megaphone_pages_windows", state="connected")


def test_a_page_between_workers(embedded: Embedded) -> None:
    between_workers(embedded, embedded.plain.port, "between workers")


def between_workers(node: Edge, port: int, text: str) -> None:
    """Every window gets the page of the first from whichever holder there is, and all are counted."""
    windows = on_both_workers(node, port)
    windows[0].have(text)
    for number, window in enumerate(windows[1:], 1):
        window.want(page_of(text))
        assert next(each for each in itertools.islice(itertools.cycle(windows[:number]), 400) if _answers(each, text))
        assert window.event("content") == {"content": text}
        window.push(f"want:{page_of(text)}", "phx_leave", {})
        window.have(text)
    for window in windows:
        window.until_count(len(windows))
    for window in windows:
        window.close()
    wait_until(lambda: node.metric("megaphone_pages") == 0, "the page is gone", 20.0)


def _answers(window: PagesWindow, text: str) -> bool:
    if not window.hears("content_request", 0.05):
        return False
    window.push(f"have:{page_of(text)}", "content", {"content": text, "hash": page_of(text)})
    return True


def test_one_that_lies_and_one_that_stalls_cost_little(embedded: Embedded) -> None:
    liar, staller, honest = (PagesWindow(url(embedded.plain.port)).have(TEXT) for _ in range(3))
    reader = PagesWindow(url(embedded.plain.port))
    bad_before = embedded.metric("megaphone_pages_bad_hashes_total")
    lied = stalled = False
    for _ in range(64):  # until each of them has been asked: one at a time, by chance
        reader.want(PAGE)
        while not reader.hears("content", 0.02):
            if liar.hears("content_request", 0.02):
                lied = True
                liar.push(f"have:{PAGE}", "content", {"content": "a lie", "hash": PAGE})
                assert liar.event("phx_error") == {"reason": "bad_hash"}
                assert liar.join(f"have:{PAGE}") == {"status": "error", "response": {"reason": "bad_hash"}}
            stalled = staller.hears("content_request", 0.02) or stalled
            _answers(honest, TEXT)
        assert reader.heard[-1][4] == {"content": TEXT}
        reader.push(f"want:{PAGE}", "phx_leave", {})
        if lied and stalled:
            break
    assert lied
    assert stalled
    honest.until_count(2)
    wait_until(
        lambda: embedded.metric("megaphone_pages_bad_hashes_total") == bad_before + 1, "the lie is counted", 20.0
    )
    for window in (liar, staller, honest, reader):
        window.close()


def test_a_worker_that_dies_takes_its_holders_along_and_no_others(embedded: Embedded) -> None:
    windows = on_both_workers(embedded, embedded.plain.port)
    text = "a worker dies"
    for window in windows:
        window.have(text)
    for window in windows:
        window.until_count(len(windows))
    os.kill(embedded.workers()[0], signal.SIGKILL)
    alive = []
    for window in windows:
        try:
            window.push("phoenix", "heartbeat", {})
            window.until(lambda message: message[2] == "phoenix")
            alive.append(window)
        except Exception:  # noqa: BLE001 - however it shows
            continue
    assert 0 < len(alive) < len(windows)
    for window in alive:
        window.until_count(len(alive))
    reader = PagesWindow(url(embedded.plain.port)).want(page_of(text))
    assert any(_answers(window, text) for window in itertools.islice(itertools.cycle(alive), 400))
    assert reader.event("content") == {"content": text}
    for window in (*alive, reader):
        window.close()


def test_pages_in_front_of_a_server(
    tmp_path: Path, authority: CertificateAuthority, prosody_behind_edge: Prosody
) -> None:
    edge = Edge(tmp_path, authority, [upstream_of(prosody_behind_edge)])
    port = free_port()
    edge.tables["listen"].append({"address": f"{LOOPBACK}:{port}", "tls": "none", "web": ["pages"]})
    try:
        edge.start()
        between_workers(edge, port, "in front of a server")
        # windows do not move, they come back; so does the bus between the new workers
        staying = PagesWindow(url(port)).have(TEXT)
        assert asyncio.run(upgrade(edge)).returncode == 0
        with pytest.raises(ConnectionClosed):
            staying.until(lambda _: False)
        between_workers(edge, port, "after an upgrade")
    finally:
        edge.stop()


def test_pages_between_nodes(tmp_path: Path, authority: CertificateAuthority) -> None:
    cluster = Cluster(tmp_path, authority, nodes=2, workers=1, lease_seconds=4)
    for node in cluster.nodes:
        node.tables["listen"][2]["web"] = ["pages"]
    with cluster:
        here, there = cluster.nodes
        holder = PagesWindow(url(here.plain.port)).have(TEXT)
        reader = PagesWindow(url(there.plain.port)).want(PAGE)
        holder.answer(TEXT)
        assert reader.event("content") == {"content": TEXT}
        reader.have(TEXT)
        holder.until_count(2)
        reader.until_count(2)
        here.kill()
        reader.until_count(1)
        last = PagesWindow(url(there.plain.port)).want(PAGE)
        reader.answer(TEXT)
        assert last.event("content") == {"content": TEXT}
        for window in (reader, last):
            window.close()


def test_the_originals_messages_with_the_library_phoenix(embedded: Embedded, tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "scenarios" / "pages_phoenix.js"
    address = f"ws://{LOOPBACK}:{embedded.plain.port}/ws"
    process = run_in_node(tmp_path, script, address, TEXT)
    log = tmp_path / "pages_phoenix.log"

    def said(line: str, times: int = 1) -> None:
        process.wait_until(lambda: log.read_text().splitlines().count(line) >= times, line, 30.0)

    try:
        said("second content true")
        said("first visitors_count 2")
        said("second visitors_count 2")
        process.signal(signal.SIGUSR1)
        said("liar joined have")
        said("liar visitors_count 2")
        process.signal(signal.SIGHUP)
        said("third content true")
        lines = log.read_text().splitlines()
        assert lines.count("first content_request") == 1
        assert {"first connected", "second joined want", "second joined have"} <= set(lines)
    finally:
        process.stop()

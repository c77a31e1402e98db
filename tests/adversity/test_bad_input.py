"""Every bad input of a client gets the exact answer of docs/explanation/bad-input.md and costs nobody else anything."""

from collections.abc import Iterator

import pytest

from tests.adversity.rows import ROWS
from tests.adversity.scene import CONNECTIONS_OF_A_WORKER, WORKERS, Scene
from tests.adversity.table import Row
from tests.adversity.watch import open_descriptors, worker_rows
from tests.servers.certificates import CertificateAuthority
from tests.servers.model import Endpoint
from tests.servers.process import wait_until

CLOSED = "megaphone_connections_closed_total"
REFUSED = "megaphone_limit_refusals_total"


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority, fake_server: Endpoint
) -> Iterator[Scene]:
    """One Megaphone for all rows."""
    scene = Scene(tmp_path_factory.mktemp("bad"), authority, fake_server)
    try:
        scene.edge.start()
        yield scene
    finally:
        scene.edge.stop()


@pytest.fixture(scope="module")
def at_first(scene: Scene) -> list[tuple[int, int]]:
    """Process id and open descriptors of each worker, before the first row and after one session."""
    with scene.session() as visitor:
        visitor.leave()
    wait_until(lambda: scene.edge.metric("megaphone_connections") == 0, "no connection")
    return [(row["pid"], open_descriptors(row["pid"])) for row in worker_rows(scene.edge)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.sent)
def test_row(scene: Scene, at_first: list[tuple[int, int]], row: Row) -> None:
    scene.apply(row.limits, row.upstreams)
    before = scene.counts(CLOSED, REFUSED, *row.counted)
    answer = row.play(scene)
    assert answer == row.expected
    # Whoever else the row needed has left in order.
    wait_until(lambda: scene.edge.metric("megaphone_connections") == 0, "no connection")
    grown = scene.counts(CLOSED, REFUSED, *row.counted) - before
    assert {label for name, label in grown if name == CLOSED} - {"client-closed"} == {row.reason} - {"client-closed"}
    assert grown[CLOSED, row.reason] >= 1
    assert {label for name, label in grown if name == REFUSED} == ({row.limit} if row.limit else set())
    assert {name for name, _ in grown} >= set(row.counted)


def test_afterwards(scene: Scene, at_first: list[tuple[int, int]]) -> None:
    scene.apply({}, ("fake",))
    with scene.session() as visitor:
        visitor.echo()
        visitor.leave()
    edge = scene.edge
    wait_until(lambda: edge.metric("megaphone_connections") == 0, "no connection")
    wait_until(lambda: edge.metric("megaphone_upstream_connections") == 0, "no connection to a server")
    wait_until(lambda: edge.metric("megaphone_mailbox_bytes") == 0, "empty mailboxes")
    assert edge.metric("megaphone_worker_restarts_total") == 0
    rows = worker_rows(edge)
    assert [row["pid"] for row in rows] == [pid for pid, _ in at_first]
    assert all(row["state"] == "ready" for row in rows)

    def descriptors() -> list[int]:
        return [open_descriptors(row["pid"]) for row in rows]

    # A health check may be under way: one descriptor for each upstream.
    wait_until(lambda: descriptors() <= [count for _, count in at_first], f"descriptors {descriptors()}, {at_first}")
    log = edge.log.read_text()
    # What `max_connections` refuses never became a connection, so it is counted and not logged.
    refused = edge.metric(REFUSED, limit="max_connections")
    ended = [line for line in log.splitlines() if "] connection " in line and " reason=" in line]
    assert len(ended) == edge.metric(CLOSED) - refused
    assert "Traceback" not in log
    assert "internal error" not in log


def test_nobody_is_kept_out_by_the_visitors_before(scene: Scene) -> None:
    scene.apply({}, ("fake",))
    visitors = [scene.session() for _ in range(WORKERS * CONNECTIONS_OF_A_WORKER // 4)]
    for visitor in visitors:
        visitor.echo()
    for visitor in visitors:
        visitor.leave()

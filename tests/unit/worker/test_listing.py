"""Pages of connections and the busiest ones, of a real worker; and how many a page looks at."""

import socket
import time
from typing import Any

import pytest

from megaphone.worker import listing
from tests.unit.worker.worker_under_test import CONFIG, PATIENCE_SECONDS, Node, WorkerUnderTest

HEADER = (
    b"<stream:stream to='example.org' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
    b"version='1.0'>"
)


class Row(dict[str, Any]):
    """What the listing sees of a connection."""

    def __init__(self, slot: int) -> None:
        address = "192.0.2.7" if slot % 2 else "2001:db8::7"
        super().__init__(jid=f"User{slot}@example.org", address=address, state="preauth")
        self.id = 5 << 54 | 1 << 22 | slot

    def describe(self) -> "Row | None":
        return None if self["jid"].startswith("User3@") else self  # described by another worker


class Registry:
    """A dispatcher as the listing uses it."""

    def __init__(self, *slots: int) -> None:
        self.rows = [Row(slot) for slot in slots]

    def connections(self) -> list[Row]:
        return self.rows


def page(registry: Registry, search: str = "", *, state: str | None = None, from_slot: int = 0, limit: int = 9) -> Any:
    rows, next_slot = listing.page(
        registry,
        search=search,
        state=state,
        from_slot=from_slot,
        limit=limit,  # type: ignore[arg-type]
    )
    return [row.id & 0x3FFFFF for row in rows], next_slot


def test_a_page_goes_on_where_the_one_before_ended() -> None:
    registry = Registry(1, 3, 4, 9, 12)
    assert page(registry) == ([1, 4, 9, 12], None)
    assert page(registry, limit=2) == ([1, 4], 9)
    assert page(registry, limit=2, from_slot=9) == ([9, 12], None)
    assert page(registry, limit=2, from_slot=5) == ([9, 12], None)  # what was there has gone
    assert page(registry, from_slot=13) == ([], None)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("user1", [1, 12]),
        ("USER4@EXAMPLE", [4]),
        ("192.0.2.", [1, 9]),
        ("2001:DB8", [4, 12]),
        ("0.2.7", []),  # an address is known by its beginning
        ("nobody", []),
    ],
)
def test_a_search_is_for_a_part_of_the_jid_or_the_beginning_of_the_address(search: str, found: list[int]) -> None:
    assert page(Registry(1, 3, 4, 9, 12), search) == (found, None)
    assert page(Registry(1, 3, 4, 9, 12), search, state="closing") == ([], None)


def test_a_page_looks_at_so_many_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "LOOK_LIMIT", 10)
    registry = Registry(*range(100, 125))
    assert page(registry, "user124") == ([], 110)
    assert page(registry, "user124", from_slot=110) == ([], 120)
    assert page(registry, "user124", from_slot=120) == ([124], None)


def test_a_worker_says_who_has_carried_the_most() -> None:
    node = Node()
    upstream = socket.create_server(("127.0.0.1", 0))
    where = "{}:{}".format(*upstream.getsockname())
    worker = WorkerUnderTest(node, CONFIG.format(upstream=where, more=""))
    clients: list[socket.socket] = []
    try:
        worker.expect("ready")
        for number in range(4):
            client = socket.create_connection(node.address)
            clients.append(client)
            client.sendall(HEADER + b" " * (1000 * (number * 2 % 5)))
        clients_ports = [client.getsockname()[1] for client in clients]
        busiest = [clients_ports[number] for number in (2, 1, 3)]
        deadline = time.monotonic() + PATIENCE_SECONDS
        rows: list[dict[str, Any]] = []
        while [row["port"] for row in rows] != busiest:
            assert time.monotonic() < deadline, rows
            rows = worker.ask(type="talkers", limit=3)
        carried = [row["bytes_in"] + row["bytes_out"] for row in rows]
        assert carried == sorted(carried, reverse=True)
        assert len(worker.ask(type="talkers", limit=1000)) == 4
        shown = worker.ask(type="page", search="127.", state=None, from_slot=0, limit=3)
        assert [row["port"] for row in shown] == clients_ports[:3]
    finally:
        for each in (*clients, upstream):
            each.close()
        worker.process.kill()
        worker.process.wait()
        worker.channel.close()
        node.close()

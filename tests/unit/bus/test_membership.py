"""Many nodes on a real nats-server: they join, leave, die and come again, and so does the server with its store."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from megaphone.bus.members import Member
from megaphone.bus.membership import Membership
from megaphone.bus.nats import NATSBus
from megaphone.errors import BusUnreachableError
from tests.servers.nats import NATS
from tests.unit.bus.test_nats import PACE, run, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEASE_SECONDS = 2
GONE_SECONDS = LEASE_SECONDS + 1.0
BUSY_SECONDS = 10.0  # that a busy machine may take for more; test_members has the exact times
LONG_LEASE_SECONDS = 600


class Node:
    """A node that does nothing but being a member."""

    def __init__(
        self,
        nats: NATS,
        number: int,
        cluster: str = "test",
        *,
        since_ms: int | None = None,
        lease_seconds: int = LEASE_SECONDS,
    ) -> None:
        self.events: list[tuple[str, str]] = []
        self.faults: list[Exception] = []
        self.replaced = 0
        self.bus = NATSBus(nats.access, cluster, fault=self.faults.append, pace=PACE)
        self.membership = Membership(
            self.bus,
            Member(
                name=f"node{number}",
                node_key=number.to_bytes(32, "big"),
                incarnation=os.urandom(8),
                since_ms=int(time.time() * 1000) if since_ms is None else since_ms,
                lease_seconds=lease_seconds,
            ),
            joined=lambda one: self.events.append(("joined", one.name)),
            left=lambda one: self.events.append(("left", one.name)),
            changed=lambda was, one: self.events.append(("changed", one.name)),
            replaced=self.on_replaced,
            fault=self.faults.append,
            timeout_seconds=3.0,
        )

    def on_replaced(self, _: Member) -> None:
        self.replaced += 1

    async def open(self) -> Node:
        await self.bus.open()
        await self.membership.open()
        return self

    async def close(self) -> None:
        await self.membership.close()
        await self.bus.close()

    async def die(self) -> None:
        """As a killed process does: nothing is said any more, and the socket ends."""
        self.bus.abort()
        await self.membership.abort()

    @property
    def sees(self) -> list[str]:
        return sorted(member.name for member in self.membership.members.values())

    @property
    def left(self) -> list[str]:
        return [name for what, name in self.events if what == "left"]


async def open_nodes(nats: NATS, count: int, cluster: str = "test") -> list[Node]:
    return list(await asyncio.gather(*(Node(nats, number, cluster).open() for number in range(count))))


async def close_nodes(nodes: list[Node]) -> None:
    for node in nodes:
        await node.close()
    assert [node.faults for node in nodes if node.faults] == []


def names(numbers: list[int]) -> list[str]:
    return sorted(f"node{number}" for number in numbers)


def test_all_who_join_at_once_see_all(nats: NATS) -> None:
    async def scenario() -> None:
        nodes = await open_nodes(nats, 16)
        await until(lambda: all(node.sees == names(list(range(16))) for node in nodes))
        late = await Node(nats, 16).open()
        assert late.sees == names(list(range(17)))  # at once: who opens knows all
        await until(lambda: all("node16" in node.sees for node in nodes))
        assert all(not node.left for node in nodes)
        await close_nodes([*nodes, late])

    run(scenario())


def test_who_leaves_is_gone_at_once_and_who_dies_within_its_lease(nats: NATS) -> None:
    async def scenario() -> None:
        nodes = [*await open_nodes(nats, 3), await Node(nats, 3, lease_seconds=LONG_LEASE_SECONDS).open()]
        await until(lambda: all(len(node.sees) == 4 for node in nodes))
        await nodes[3].close()
        await until(lambda: all(node.sees == names([0, 1, 2]) for node in nodes[:3]))  # before its lease has run out
        began = time.monotonic()
        await nodes[2].die()
        await until(lambda: all(node.sees == names([0, 1]) for node in nodes[:2]))
        assert 0.5 < time.monotonic() - began < LEASE_SECONDS + BUSY_SECONDS
        await asyncio.sleep(GONE_SECONDS)  # those who live stay, which only time can show
        assert all(node.left == ["node3", "node2"] for node in nodes[:2])
        await close_nodes(nodes[:2])

    run(scenario())


def test_what_a_node_offers_may_change(nats: NATS) -> None:
    async def scenario() -> None:
        nodes = await open_nodes(nats, 2)
        await until(lambda: all(len(node.sees) == 2 for node in nodes))
        await nodes[0].membership.change(offers=("muc",), addresses=("192.0.2.1:5222",))
        await until(lambda: all(("changed", "node0") in node.events for node in nodes))
        seen = nodes[1].membership.members[nodes[0].membership.own.key]
        assert (seen.offers, seen.addresses) == (("muc",), ("192.0.2.1:5222",))
        assert all(node.events.count(("changed", "node0")) == 1 for node in nodes)
        await close_nodes(nodes)

    run(scenario())


@pytest.mark.parametrize("clock_was_set_back", [False, True])
def test_a_node_that_is_started_again_has_left_and_joined(nats: NATS, clock_was_set_back: bool) -> None:
    async def scenario() -> None:
        nodes = await open_nodes(nats, 2)
        await until(lambda: all(len(node.sees) == 2 for node in nodes))
        await nodes[1].die()
        again = await Node(nats, 1, since_ms=1 if clock_was_set_back else None).open()
        await until(lambda: nodes[0].events[-2:] == [("left", "node1"), ("joined", "node1")])
        assert again.sees == names([0, 1])
        await asyncio.sleep(GONE_SECONDS)
        assert nodes[0].left == ["node1"]
        await close_nodes([nodes[0], again])

    run(scenario())


def test_two_processes_with_one_node_key(nats: NATS) -> None:
    async def scenario() -> None:
        first, other = await open_nodes(nats, 2)
        second = await Node(nats, 0).open()
        await until(lambda: first.replaced == 1)
        await asyncio.sleep(GONE_SECONDS)
        assert (first.replaced, second.replaced) == (1, 0)
        assert other.sees == names([0, 1])
        await first.close()  # this is not the other's leaving
        await asyncio.sleep(0.5)
        assert other.sees == names([0, 1])
        await close_nodes([second, other])

    run(scenario())


@pytest.mark.parametrize("what", ["killed", "killed, store deleted", "bucket deleted", "rolled back", "key deleted"])
def test_a_store_that_was_lost_is_whole_again_and_nobody_has_left(nats: NATS, tmp_path: Path, what: str) -> None:
    async def scenario() -> None:
        nodes = await open_nodes(nats, 3)
        await until(lambda: all(len(node.sees) == 3 for node in nodes))
        keys = nodes[0].membership.keys
        if what == "bucket deleted":
            await keys.delete_bucket()
        elif what == "key deleted":
            await keys.delete(nodes[1].membership.own.key)
        else:
            if what == "rolled back":
                nats.stop()
                shutil.copytree(tmp_path / "nats" / "store", tmp_path / "old")
                nats.start()
                nodes.append(await Node(nats, 3).open())
                await until(lambda: all(len(node.sees) == 4 for node in nodes))
            nats.kill()
            await until(lambda: not any(node.bus.up for node in nodes))
            await asyncio.sleep(LEASE_SECONDS + 0.5)  # all leases in the store have run out
            if what != "killed":
                nats.delete_store()
            if what == "rolled back":
                shutil.copytree(tmp_path / "old", tmp_path / "nats" / "store")
            nats.start()
        began = time.monotonic()

        async def whole() -> bool:
            found = [await keys.get(node.membership.own.key) for node in nodes]
            return all(each is not None and each.value is not None for each in found)

        while True:
            try:
                if await whole():
                    break
            except Exception:  # noqa: BLE001 - the store may be away, which is what this is about
                assert time.monotonic() - began < 20.0
            await asyncio.sleep(0.05)
        await asyncio.sleep(GONE_SECONDS)
        everybody = names(list(range(len(nodes))))
        assert all(node.sees == everybody for node in nodes)
        assert all(node.left == [] for node in nodes)
        late = await Node(nats, 9).open()
        assert late.sees == sorted([*everybody, "node9"])
        await until(lambda: all("node9" in node.sees for node in nodes))
        for node in [*nodes, late]:
            await node.close()

    run(scenario())


def test_a_node_that_dies_while_the_server_is_away_is_gone_afterwards(nats: NATS) -> None:
    async def scenario() -> None:
        nodes = await open_nodes(nats, 3)
        await until(lambda: all(len(node.sees) == 3 for node in nodes))
        nats.kill()
        await nodes[2].die()
        await asyncio.sleep(LEASE_SECONDS + 0.5)
        assert all(len(node.sees) == 3 for node in nodes[:2])  # nobody can know
        nats.start()
        await until(lambda: all(node.bus.up for node in nodes[:2]))
        began = time.monotonic()
        await until(lambda: all(node.sees == names([0, 1]) for node in nodes[:2]))
        assert time.monotonic() - began < LEASE_SECONDS + BUSY_SECONDS
        await close_nodes(nodes[:2])

    run(scenario())


def test_no_server_when_a_node_starts(nats: NATS) -> None:
    async def scenario() -> None:
        nats.kill()
        with pytest.raises(BusUnreachableError):
            await Node(nats, 0).open()

    run(scenario())


# --- races ------------------------------------------------------------

NODES = 8
action = st.tuples(st.integers(0, NODES - 1), st.sampled_from(["open", "close", "die", "again"]))


@pytest.fixture(scope="module")
def lasting_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NATS]:
    server = NATS(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.stop()


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.lists(action, max_size=24), min_size=1, max_size=3))
def test_joins_and_leaves_that_race_lose_nothing(lasting_nats: NATS, rounds: list[list[tuple[int, str]]]) -> None:
    """In each round all nodes act at the same time, each its own actions in order; then all views are who is there."""
    cluster = os.urandom(8).hex()

    async def scenario() -> None:
        living: dict[int, Node] = {}
        watcher = await Node(lasting_nats, NODES, cluster).open()

        async def act(number: int, doing: list[str]) -> None:
            for what in doing:
                node = living.get(number)
                if node is not None and what in ("close", "die", "again"):
                    await (node.close() if what == "close" else node.die())
                    del living[number]
                if (what == "open" and node is None) or what == "again":
                    living[number] = await Node(lasting_nats, number, cluster).open()

        for each in rounds:
            await asyncio.gather(
                *(act(number, [what for who, what in each if who == number]) for number in range(NODES))
            )
            expected = names([*living, NODES])
            began = time.monotonic()
            await until(lambda expected=expected: all(node.sees == expected for node in [watcher, *living.values()]))
            assert time.monotonic() - began < LEASE_SECONDS + BUSY_SECONDS
        for number in living:
            assert watcher.events.count(("joined", f"node{number}")) == watcher.left.count(f"node{number}") + 1
        await close_nodes([*living.values()])
        assert watcher.faults == []
        await watcher.membership.keys.delete_bucket()
        await watcher.close()

    run(scenario())

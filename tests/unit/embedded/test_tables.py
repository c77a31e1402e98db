"""Rows of three nodes over a real nats-server: whatever becomes of it and its store, all have the same in the end."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from megaphone.bus.keys import Keys
from megaphone.embedded import store_view, tables
from megaphone.embedded.promises import Promises
from megaphone.embedded.rows_on_disk import ROWS_AT_ONCE
from megaphone.embedded.tables import VALUE_LIMIT_BYTES, Tables, bucket_of
from megaphone.service.ports import RosterItem
from megaphone.storage import replicated
from megaphone.storage.accounts import AccountBook
from megaphone.storage.database import connect, database_path, prepare
from megaphone.storage.replicated_row import key_of
from megaphone.storage.replicated_tables import VCARD
from megaphone.storage.storage import Storage
from megaphone.storage.users import SQLiteUsers
from megaphone.stream.jid import JID
from tests.servers.nats import NATS
from tests.unit.bus.test_nats import opened, run, until
from tests.unit.storage.conftest import CREDENTIALS, DOMAIN, JULIET, ROMEO

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from megaphone.bus.nats import NATSBus
    from megaphone.storage.replicated import Applied

NODES = 3


class Node:
    """What of a node has to do with rows."""

    def __init__(self, directory: str, number: int, bus: NATSBus) -> None:
        loop = asyncio.get_running_loop()
        self.bus = bus
        self.storage = Storage(
            directory, worker=number, call_soon=loop.call_soon_threadsafe, on_committed=lambda _: self.promises.look()
        )
        self.promises = Promises(self.storage.writer, None)
        self.users = SQLiteUsers(self.storage)
        self.book = AccountBook(directory)
        self.changed: set[str] = set()
        self.tables = Tables(
            self.storage, bus, bytes([number + 1]) * 32, when_written=self.promises.when_written, changed=self._changed
        )
        self._sweeping = loop.create_task(self._sweep())

    def _changed(self, applied: Applied) -> None:
        self.changed |= applied.users

    async def _sweep(self) -> None:
        while True:
            self.tables.sweep()
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        self._sweeping.cancel()
        self.tables.close()
        await asyncio.sleep(0)
        self.book.close()
        assert self.storage.close() == 0
        assert self.storage.writer.dropped == 0

    @property
    def quiet(self) -> bool:
        return self.tables.whole and not self.count("unsent = 1")

    def count(self, condition: str) -> int:
        return int(self.storage.read(f"SELECT count(*) FROM row_version WHERE {condition}")[0][0])

    def dump(self) -> list[object]:
        return [
            self.storage.read(
                "SELECT kind, owner, item, life, clock, origin, deleted FROM row_version ORDER BY 1, 2, 3"
            ),
            self.storage.read("SELECT name, created, changed, disabled FROM account ORDER BY name"),
            self.storage.read(
                "SELECT account.name, roster.jid, roster.name FROM roster JOIN account ON id = account ORDER BY 1, 2"
            ),
            self.storage.read("SELECT account.name, element FROM vcard JOIN account ON id = account ORDER BY 1"),
        ]


@asynccontextmanager
async def cluster(nats: NATS, directory: Path, count: int = NODES) -> AsyncIterator[list[Node]]:
    async with AsyncExitStack() as stack:
        nodes: list[Node] = []
        for number in range(count):
            bus = await stack.enter_async_context(opened(nats.access, expect_faults=True))
            data = str(directory / str(number))
            prepare(data)
            nodes.append(Node(data, number, bus))
            stack.push_async_callback(nodes[-1].close)
        yield nodes


async def equal(nodes: list[Node]) -> None:
    """All have the same, and nobody has anything to tell."""
    await until(lambda: all(node.quiet for node in nodes) and all(node.dump() == nodes[0].dump() for node in nodes[1:]))


def write(node: Node, number: int) -> None:
    """An account as an operator makes it, with what its user keeps."""
    user = JID(f"user{number}", DOMAIN)
    assert node.book.add(user.local, CREDENTIALS, float(number))
    node.users.put_roster_item(user, RosterItem(ROMEO, f"Romeo {number}"), 1)
    node.users.put_vcard(user, b"<vCard>%d</vCard>" % number)


def test_what_is_written_on_one_node_is_on_all(nats: NATS, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with cluster(nats, tmp_path) as nodes:
            for number, node in enumerate(nodes):
                write(node, number)
            await equal(nodes)
            assert nodes[2].count("true") == 9
            await until(lambda: nodes[0].changed == {"user1", "user2"})
            nodes[1].users.put_vcard(JID("user0", DOMAIN), b"<vCard>new</vCard>")
            await until(lambda: nodes[2].users.vcard(JID("user0", DOMAIN)) == b"<vCard>new</vCard>")
            nodes[2].book.remove(JID("user0", DOMAIN))
            await until(lambda: nodes[0].users.load(JID("user0", DOMAIN)) is None)
            await equal(nodes)
            assert nodes[0].count("deleted = 1") == 3

    run(scenario())


@pytest.mark.parametrize("store", ["kept", "deleted", "rolled back"])
def test_nats_is_away_while_all_write(nats: NATS, tmp_path: Path, store: str) -> None:
    async def scenario() -> None:
        async with cluster(nats, tmp_path) as nodes:
            write(nodes[0], 0)
            await equal(nodes)
            nats.kill()
            kept = nats.settings.directory / "store"
            shutil.copytree(kept, tmp_path / "before")
            nats.start()
            await until(lambda: all(node.bus.up for node in nodes))
            nodes[0].users.put_vcard(JID("user0", DOMAIN), b"<vCard>after the backup</vCard>")
            nodes[1].book.add("gone", CREDENTIALS, 9.0)
            await equal(nodes)
            nodes[2].book.remove(JID("gone", DOMAIN))
            await equal(nodes)
            nats.kill()
            for number, node in enumerate(nodes):
                write(node, 10 + number)
                node.users.put_roster_item(JID("user0", DOMAIN), RosterItem(JULIET, f"by {number}"), 5)
            if store != "kept":
                nats.delete_store()
            if store == "rolled back":
                shutil.copytree(tmp_path / "before", kept)
            nats.start()
            await equal(nodes)
            for node in nodes:
                assert node.users.vcard(JID("user0", DOMAIN)) == b"<vCard>after the backup</vCard>"
                assert node.book.find("gone") is None
                assert {account.name for account in node.book.all()} == {"user0", "user10", "user11", "user12"}

    run(scenario())


def test_a_node_that_begins_with_nothing_gets_everything(nats: NATS, tmp_path: Path) -> None:
    async def scenario() -> None:
        accounts = 3 * ROWS_AT_ONCE
        prepare(str(tmp_path / "0"))
        book = AccountBook(str(tmp_path / "0"))
        for number in range(accounts):
            book.add(f"user{number}", CREDENTIALS, float(number))
        book.close()
        async with cluster(nats, tmp_path) as nodes:
            await equal(nodes)
            assert len(list(nodes[2].book.all())) == accounts

    run(scenario())


def test_what_nobody_can_read_in_the_store_is_written_again(nats: NATS, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with cluster(nats, tmp_path, 2) as nodes:
            write(nodes[0], 0)
            await equal(nodes)
            keys = Keys(nodes[0].bus.connection, nodes[0].bus.prefix, bucket_of("test"), value_limit_bytes=1000)
            key = key_of(VCARD, "user0", "")
            await keys.put(key, b"\xff rubbish")
            await keys.put("vcard.rubbish", b"\xff")
            await until(lambda: nodes[1].tables.counts.refused >= 2)
            nats.kill()
            nats.start()
            await until(lambda: not any(node.tables.whole for node in nodes))
            await equal(nodes)
            found = await keys.get(key)
            assert found is not None
            assert found.value is not None
            assert msgspec.msgpack.decode(found.value)[7] == [b"<vCard>0</vCard>"]
            keys.close()

    run(scenario())


def test_a_row_that_is_too_large_stays_and_holds_up_nobody(nats: NATS, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with cluster(nats, tmp_path, 2) as nodes:
            write(nodes[0], 0)
            nodes[0].users.put_vcard(JID("user0", DOMAIN), bytes(VALUE_LIMIT_BYTES))
            write(nodes[0], 1)
            await until(lambda: nodes[0].quiet and nodes[1].users.vcard(JID("user1", DOMAIN)) is not None)
            assert nodes[1].users.vcard(JID("user0", DOMAIN)) is None

    run(scenario())


@pytest.mark.parametrize("trouble", ["nothing", "a key is lost", "what came last is lost"])
def test_after_a_cut_only_what_is_new_is_read_unless_something_is_lost(
    nats: NATS, tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_view, "SINCE_LIMIT", 20)

    async def scenario() -> None:
        async with cluster(nats, tmp_path, 2) as nodes:
            for number in range(30):
                write(nodes[0], number)
            await equal(nodes)
            await until(lambda: nodes[1].tables.counts.heard >= 90)
            await until(lambda: all(len(node.tables._view.expected_next) <= 20 for node in nodes))
            heard = [node.tables.counts.heard for node in nodes]
            keys = Keys(nodes[0].bus.connection, nodes[0].bus.prefix, bucket_of("test"))
            kept = nats.settings.directory / "store"
            if trouble == "what came last is lost":
                await stopped(nats, nodes)
                shutil.copytree(kept, tmp_path / "before")
                nats.start()
                await equal(nodes)
            write(nodes[1], 100)
            await equal(nodes)
            if trouble == "a key is lost":
                lost = f"{keys.prefix}{key_of(VCARD, 'user3', '')}"
                await keys.api(f"STREAM.PURGE.{keys.stream}", {"filter": lost})
            await stopped(nats, nodes)
            write(nodes[1], 101)
            if trouble == "what came last is lost":
                shutil.rmtree(kept)
                shutil.copytree(tmp_path / "before", kept)
            nats.start()
            await equal(nodes)
            assert await keys.count(besides="mark.*") == 3 * 32
            more = [node.tables.counts.heard - before for node, before in zip(nodes, heard, strict=True)]
            assert (max(more) > 60) is (trouble == "a key is lost")
            keys.close()

    run(scenario())


def test_a_row_of_a_clock_that_is_ahead_is_taken_when_its_time_has_come(
    nats: NATS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_AHEAD_SECONDS", 0.1)

    async def scenario() -> None:
        async with cluster(nats, tmp_path, 2) as nodes:
            write(nodes[0], 0)
            await equal(nodes)
            ahead = connect(database_path(str(tmp_path / "0")))
            ahead.execute("UPDATE row_clock SET last = last + ?", ((replicated.AHEAD_MS + 2000) << 16,))
            ahead.close()
            nodes[0].users.put_vcard(JID("user0", DOMAIN), b"<vCard>of the future</vCard>")
            await until(lambda: nodes[1].tables.counts.refused == 1)
            assert nodes[1].users.vcard(JID("user0", DOMAIN)) == b"<vCard>0</vCard>"
            await equal(nodes)
            assert nodes[1].users.vcard(JID("user0", DOMAIN)) == b"<vCard>of the future</vCard>"

    run(scenario())


async def stopped(nats: NATS, nodes: list[Node]) -> None:
    """Kill the server, and return when all have noticed."""
    nats.kill()
    await until(lambda: not any(node.tables.whole for node in nodes))

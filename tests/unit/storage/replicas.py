"""Nodes with real databases around a store of keys that can be cut off, deleted and rolled back: for tests of rows.

What a node does with the store is what embedded.tables does, one step at a time.
"""

from __future__ import annotations

import contextlib
import copy
import sqlite3
import time
from typing import TYPE_CHECKING, Any

from megaphone.storage import replicated
from megaphone.storage.accounts import AccountBook
from megaphone.storage.database import connect, database_path
from megaphone.storage.replicated import Applied, Found, Heard, Lost, Told
from megaphone.storage.replicated_kinds import KINDS
from megaphone.storage.replicated_row import decode_row, encode_row, key_of
from megaphone.storage.rooms import SQLiteRooms
from megaphone.storage.storage import Storage
from megaphone.storage.users import SQLiteUsers
from megaphone.storage.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOMS_DOMAIN = "rooms.montague.example"


class Store:
    """Keys with revisions and compare-and-set, as NATS has them."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[bytes, int]] = {}
        self.revision = 0

    def put(self, key: str, value: bytes, revision: int) -> int | None:
        """Write a key and return its revision; None unless it is at `revision`."""
        if self.keys.get(key, (b"", 0))[1] != revision:
            return None
        self.revision += 1
        self.keys[key] = (value, self.revision)
        return self.revision

    def after(self, revision: int, limit: int) -> list[tuple[str, bytes, int]]:
        """Return keys that were written after a revision, oldest first."""
        found = sorted((at, key, value) for key, (value, at) in self.keys.items() if at > revision)
        return [(key, value, at) for at, key, value in found[:limit]]

    def copy(self) -> Store:
        """Return the store as it is, for a rollback."""
        return copy.deepcopy(self)


class Node:
    """One node: its database, its stores, and how far it has heard of the store of keys."""

    def __init__(self, directory: str, number: int) -> None:
        self.directory = directory
        self.number = number
        self.origin = bytes([number + 1]) * 8
        self.reachable = True
        self._open()

    def _open(self) -> None:
        self.storage = Storage(self.directory, worker=self.number, gather_seconds=0.0)
        self.users = SQLiteUsers(self.storage)
        self.rooms = SQLiteRooms(self.storage, ROOMS_DOMAIN)
        self.book = AccountBook(self.directory)
        self.connection = connect(database_path(self.directory))
        self.begin()

    @property
    def writer(self) -> Writer:
        return self.storage.writer

    def close(self) -> None:
        assert self.storage.close() == 0
        assert self.writer.dropped == 0
        self.book.close()
        self.connection.close()

    def back_up(self, path: str) -> None:
        """Copy the database to a file."""
        assert self.writer.flush()
        with contextlib.closing(sqlite3.connect(path)) as copy_:
            self.connection.backup(copy_)

    def restore(self, path: str) -> None:
        """End, and start again with the database that was copied to a file."""
        self.close()
        kept, restored = sqlite3.connect(path), connect(database_path(self.directory))
        with contextlib.closing(kept), contextlib.closing(restored):
            kept.backup(restored)
        self._open()

    def join(self) -> None:
        """Be in a cluster from now on."""
        self.perform(replicated.enable, self.origin)
        while self.perform(replicated.give_versions):
            pass

    def perform(self, run: Any, *values: Any) -> Any:
        """Run this in a transaction, after everything that was written."""
        assert self.writer.flush()
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            result = run(self.connection, *values)
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        return result

    # --- the store of keys ------------------------------------------------------------

    def begin(self) -> None:
        """Something may have been missed: the store is heard from the beginning."""
        self.cursor = 0
        self.whole = False
        self.seen: set[int] = set()

    def hear(self, store: Store, limit: int = 1 << 30) -> int:
        """Hear the next changes, and at the end of all tell again what was not among them; how many there were."""
        if not self.reachable:
            return 0
        changes = store.after(self.cursor, limit)
        if changes:
            self.apply([Heard(decode_row(key, value), at) for key, value, at in changes])
            self.cursor = changes[-1][2]
        if len(changes) < limit and not self.whole:
            self.whole = True
            numbers = replicated.numbers_after(self.connection, 0, 1 << 30)
            self.perform(replicated.tell_again, [number for number in numbers if number not in self.seen])
        return len(changes)

    def apply(self, heard: Sequence[Heard], now_ms: int | None = None) -> Applied:
        now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        applied: Applied = self.perform(replicated.apply, heard, now_ms)
        self.seen |= {number for found, number in applied.found if found is not Found.REFUSED}
        return applied

    def tell(self, store: Store, limit: int = 1 << 30, *, answers: bool = True) -> int:
        """Tell the store what it does not know; without `answers` nothing is heard of what came of it."""
        if not self.reachable:
            return 0
        assert self.writer.flush()
        rows = replicated.unsent(self.connection, limit)
        for each in rows:
            key = key_of(each.row.kind, each.row.owner, each.row.item)
            revision = store.put(key, encode_row(each.row), each.revision)
            if not answers:
                continue
            if revision is not None:
                self.seen.add(each.number)
                self.perform(replicated.told, [Told(each.number, revision, each.row)])
            elif key in store.keys:
                value, at = store.keys[key]
                self.apply([Heard(decode_row(key, value), at)])
            else:
                self.perform(replicated.lost, [Lost(each.number, 0)])
        return len(rows)

    # --- what is there ------------------------------------------------------------

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return all replicated rows by table, as people see them."""
        assert self.writer.flush()
        found = {}
        for kind in KINDS.values():
            parent = {1: "account", 2: "room"}.get(kind.parent, kind.name)
            names = self.connection.execute(f"SELECT {parent}.name, {kind.item} {kind.rows}").fetchall()
            found[kind.name] = sorted(
                (owner, item, *self.connection.execute(kind.read, (owner, item)).fetchone()[: kind.width])
                for owner, item in names
                if kind.name != "secret" or owner == "logins"
            )
        return found

    def versions(self) -> list[tuple[Any, ...]]:
        """Return the versions of all rows, those too that are gone."""
        return self.connection.execute(
            "SELECT kind, owner, item, life, clock, origin, deleted, held FROM row_version ORDER BY kind, owner, item"
        ).fetchall()

    def count(self, condition: str) -> int:
        """Return of how many versions something is so."""
        ((count,),) = self.connection.execute(f"SELECT count(*) FROM row_version WHERE {condition}").fetchall()
        return int(count)


def settle(nodes: Sequence[Node], store: Store, rounds: int = 20) -> int:
    """Let everybody hear and tell everything until nothing is new; in how many rounds."""
    for node in nodes:
        node.reachable = True
        node.begin()
    for done in range(rounds):
        if not sum([node.hear(store) + node.tell(store) for node in nodes]):
            return done
    raise AssertionError(f"there is still something new after {rounds} rounds")

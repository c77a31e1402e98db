"""Accounts on SQLite: read at each login by the workers, changed at once by the operators' commands."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from megaphone.service.accounts import ITERATIONS, SALT_BYTES, Credentials
from megaphone.storage.database import connect, database_path, words
from megaphone.storage.transaction import Statement
from megaphone.stream.scram import ScramKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from megaphone.storage.storage import Storage
    from megaphone.stream.jid import JID

# A worker that has a contact's roster in memory goes on counting from there; its versions must not meet this one.
_VERSIONS_AHEAD: Final = 1000

_LISTED: Final = (
    "SELECT name, created, changed, disabled, (SELECT count(*) FROM spool WHERE spool.account = account.id)"
    " FROM account"
)
_KEYS: Final = (
    "sha1_salt, sha1_iterations, sha1_stored_key, sha1_server_key, "
    "sha256_salt, sha256_iterations, sha256_stored_key, sha256_server_key"
)


_GET: Final = f"SELECT disabled, {_KEYS} FROM account WHERE name = ?"  # noqa: S608
_ENSURE: Final = Statement(
    f"INSERT INTO account (name, created, changed, {_KEYS})"  # noqa: S608
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)


class SQLiteAccounts:
    """`service.accounts.AccountStore` for a worker."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def ensure(self, account: JID, now: float, *, random: Callable[[int], bytes]) -> int:
        """Make an account that no password opens, unless there is one: for whom a token was signed. Returns a position.

        `random(n)` gives n bytes that nobody can guess. StorageFullError if it cannot be kept.
        """
        if self.credentials(account) is not None:
            return self._storage.writer.position
        salt = random(SALT_BYTES)
        values = (account.local, now, 0.0, salt, ITERATIONS, random(20), random(20))
        return self._storage.writer.put(
            _ENSURE, (*values, salt, ITERATIONS, random(32), random(32)), owner=account.local
        )

    def credentials(self, account: JID) -> Credentials | None:
        """Return what is kept of this account; None if there is none. StorageError if it cannot be read.

        It waits for nothing that is queued: people can log in while nothing can be written.
        """
        rows = self._storage.read(_GET, (account.local,))
        return _credentials(rows[0]) if rows else None


@dataclass(frozen=True, slots=True)
class Account:
    """What an operator sees of an account; times in Unix seconds, `offline_messages` waiting or being delivered."""

    name: str
    created: float
    changed: float
    disabled: bool
    offline_messages: int


class AccountBook:
    """The accounts as an operator changes them: each call is one transaction that is on disk when it returns.

    StorageError when the database cannot be read or written. Names are local parts in their normal form.
    """

    def __init__(self, directory: str) -> None:
        """Open a database that `prepare` has made."""
        self._path = database_path(directory)
        with words(self._path):
            self._connection = connect(self._path)

    def add(self, name: str, credentials: Credentials, now: float) -> bool:
        """Make an account; False if there is one already."""
        with self._transaction() as connection:
            done = connection.execute(
                f"INSERT INTO account (name, created, changed, disabled, {_KEYS})"  # noqa: S608
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (name, now, now, int(credentials.disabled), *_values(credentials)),
            )
            return done.rowcount == 1

    def change(self, name: str, credentials: Credentials, now: float) -> bool:
        """Set another password, whether the account is disabled or not; False if there is no such account."""
        columns = ", ".join(f"{column} = ?" for column in _KEYS.split(", "))
        with self._transaction() as connection:
            done = connection.execute(
                f"UPDATE account SET changed = ?, {columns} WHERE name = ?",  # noqa: S608
                (now, *_values(credentials), name),
            )
            return done.rowcount == 1

    def disable(self, name: str, disabled: bool = True) -> bool:
        """Refuse every login, or allow them again; False if there is no such account."""
        with self._transaction() as connection:
            done = connection.execute("UPDATE account SET disabled = ? WHERE name = ?", (int(disabled), name))
            return done.rowcount == 1

    def remove(self, account: JID) -> bool:
        """Drop an account with all that is its user's, also in others' rosters and in rooms; False if there is none.

        Whoever makes an account of the same name later must not be taken for the one who had it.
        """
        jid = str(account)
        with self._transaction() as connection:
            removed = connection.execute("DELETE FROM account WHERE name = ?", (account.local,)).rowcount
            connection.execute(
                "UPDATE account SET roster_version = roster_version + ? WHERE id IN"
                " (SELECT account FROM roster WHERE jid = ?)",
                (_VERSIONS_AHEAD, jid),
            )
            connection.execute("DELETE FROM roster WHERE jid = ?", (jid,))
            connection.execute("DELETE FROM affiliation WHERE jid = ? AND affiliation <> 'outcast'", (jid,))
            return removed == 1

    def find(self, name: str) -> Account | None:
        """Return one account, None if there is no such."""
        return next(self._accounts("WHERE name = ?", name), None)

    def all(self) -> Iterator[Account]:
        """Yield all accounts by name."""
        return self._accounts("ORDER BY name")

    def close(self) -> None:
        """Close the database."""
        self._connection.close()

    def _accounts(self, clause: str, *values: object) -> Iterator[Account]:
        with words(self._path):
            rows = self._connection.execute(f"{_LISTED} {clause}", values)
            for name, created, changed, disabled, waiting in rows:
                yield Account(name, created, changed, bool(disabled), waiting)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with words(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def _credentials(row: tuple[Any, ...]) -> Credentials:
    return Credentials(sha1=ScramKeys(*row[1:5]), sha256=ScramKeys(*row[5:9]), disabled=bool(row[0]))


def _values(credentials: Credentials) -> tuple[bytes | int, ...]:
    return tuple(
        value
        for keys in (credentials.sha1, credentials.sha256)
        for value in (keys.salt, keys.iterations, keys.stored_key, keys.server_key)
    )

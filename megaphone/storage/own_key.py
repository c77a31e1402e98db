"""Whose histories a data directory keeps: the node's key, and the note in the database that it is this one.

    key file   note in the database
    none       none                    a new node: a key is made
    there      the same                as ever
    none       there                   the operator has removed it: the node gets a new key
    there      none                    the database is another one: what the old key has said is unknown, so that it
                                       must say nothing more; it is put aside, and the node gets a new key
    there      another                 the key of another node: it does not start

A key that goes on without its database would say other things where it has said something already, and be excluded.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Final

from megaphone import log
from megaphone.errors import ConfigError, StorageError
from megaphone.storage.database import connect, database_path, words
from megaphone.storage.node_key import NodeKey

if TYPE_CHECKING:
    import sqlite3

FILE_NAME: Final = "node.key"
_NOTE: Final = "node"


def key_path(directory: str) -> str:
    """Return where the key of a data directory is."""
    return os.path.join(directory, FILE_NAME)


def own_key(directory: str) -> NodeKey:
    """Return the key of a node whose database is there, whichever process asks first; StorageError if it has none."""
    path = database_path(directory)
    with words(path), contextlib.closing(connect(path)) as connection:
        if _note(connection) is not None and os.path.lexists(key_path(directory)):
            return _key(connection, key_path(directory))  # as ever: nothing is written, whoever holds the database
        connection.execute("BEGIN IMMEDIATE")  # others who ask wait
        try:
            key = _key(connection, key_path(directory))
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
    return key


def _key(connection: sqlite3.Connection, path: str) -> NodeKey:
    found = _note(connection)
    if found is None and os.path.lexists(path):
        _put_aside(path)
    is_there = os.path.lexists(path)
    try:
        key = NodeKey.open(path)
    except ConfigError as error:
        raise StorageError(path, error.reason) from None
    if found is None or not is_there:
        connection.execute(
            "INSERT INTO secret (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2",
            (_NOTE, key.origin),
        )
    elif bytes(found[0]) != key.origin:
        raise StorageError(path, "is not the key of this database: put that back, or remove this one for a new key")
    return key


def _note(connection: sqlite3.Connection) -> tuple[bytes] | None:
    found: tuple[bytes] | None = connection.execute("SELECT value FROM secret WHERE name = ?", (_NOTE,)).fetchone()
    return found


def _put_aside(path: str) -> None:
    to = f"{path}.of-another-database-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    try:
        os.rename(path, to)
    except OSError as error:
        raise StorageError(path, f"is of another database, and cannot be put aside: {error.strerror}") from None
    log.get_logger("history").warning("key put aside", file=path, to=to, reason="its database is not this one")

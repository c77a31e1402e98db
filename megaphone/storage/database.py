"""Opens the database of a data directory: its settings, its migrations, and in words what is wrong with it."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from megaphone.errors import StorageError
from megaphone.storage.tables import APPLICATION_ID, MIGRATIONS

FILE_NAME: Final = "megaphone.sqlite3"
BUSY_SECONDS: Final = 5.0  # how long one process waits for another one's transaction
READ_BUSY_SECONDS: Final = 2.0  # reads wait only while a log is recovered; less than a worker's heartbeat may be late
SMALLEST_SQLITE: Final = (3, 37, 0)  # STRICT

_PRAGMAS: Final = (
    # A process that is killed loses nothing that was committed; a machine that loses power may lose the last
    # transactions, never the database (https://sqlite.org/wal.html).
    "PRAGMA synchronous = NORMAL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA journal_size_limit = 67108864",  # bytes that the WAL keeps after a checkpoint
    "PRAGMA cache_size = -8192",  # kibibytes, of each connection
    "PRAGMA trusted_schema = OFF",
)
_WORDS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "may not be written to",
    sqlite3.SQLITE_CORRUPT: "is damaged; restore it from a backup, or save what `sqlite3 FILE .recover` can read",
    sqlite3.SQLITE_NOTADB: "is not a database",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_BUSY: "was locked by another process for seconds",
    sqlite3.SQLITE_IOERR: "cannot be read or written: the disk reports an error",
    sqlite3.SQLITE_PERM: "may not be opened by this user",
}


class Schema(NamedTuple):
    """What a database is known by, and the migrations that make its tables."""

    application_id: int
    migrations: tuple[str, ...]


NODE: Final = Schema(APPLICATION_ID, MIGRATIONS)


def database_path(directory: str) -> str:
    """Return where the database of a data directory is."""
    return os.path.join(directory, FILE_NAME)


def prepare(directory: str) -> None:
    """Make the directory and the database with all their tables where they are missing; StorageError if impossible.

    Both can be read by their owner only: they hold what people wrote to each other.
    """
    prepare_file(database_path(directory), NODE)


def prepare_file(path: str, schema: Schema) -> None:
    """Make a database of this schema with all its tables where they are missing; StorageError if impossible."""
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
        _create(path)
    except OSError as error:
        raise StorageError(error.filename or path, f"cannot be opened: {error.strerror}") from None
    with words(path), contextlib.closing(connect(path)) as connection:
        _migrate(connection, path, schema)


def _create(path: str) -> None:
    """Make an empty file if there is none, of the directory's owner, who need not be the root who runs this."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        return
    try:
        if os.geteuid() == 0:
            owner = os.stat(os.path.dirname(path) or ".")
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    finally:
        os.close(descriptor)


def inspect(directory: str) -> None:
    """Look at a database that may not be there yet, without changing it; StorageError if it cannot be used."""
    path = database_path(directory)
    if not os.path.lexists(path):
        return
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        raise StorageError(path, "this user may not read and write it")
    with words(path), contextlib.closing(connect(path, read_only=True)) as connection:
        recognise(connection, path, NODE)


def connect(path: str, *, read_only: bool = False) -> sqlite3.Connection:
    """Return a connection in autocommit mode to a database that exists; sqlite3.Error if it cannot be opened."""
    if sqlite3.sqlite_version_info < SMALLEST_SQLITE:
        raise StorageError(path, f"needs SQLite 3.37 or newer; this Python has {sqlite3.sqlite_version}")
    # "mode=rw": a file that was taken away is an error, not a new and empty database
    seconds = READ_BUSY_SECONDS if read_only else BUSY_SECONDS
    escaped = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(
        f"file:{escaped}?mode=rw", uri=True, isolation_level=None, timeout=seconds, check_same_thread=False
    )
    try:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        if read_only:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def words(path: str) -> Iterator[None]:
    """Turn an error of SQLite into a StorageError that says in words what is wrong with the file."""
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(path, in_words(error)) from error
    except UnicodeDecodeError:  # sqlite3 could not read SQLite's own message, which quotes a damaged schema
        raise StorageError(path, _WORDS[sqlite3.SQLITE_CORRUPT]) from corrupt("the schema is no text")


def corrupt(text: str) -> sqlite3.DatabaseError:
    """Return the error that a damaged file gives."""
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def in_words(error: sqlite3.Error) -> str:
    """Say what an error of SQLite means to an operator."""
    code = getattr(error, "sqlite_errorcode", None)
    return str(error) if code is None else _WORDS.get(code & 0xFF, str(error))


def primary_code(error: sqlite3.Error) -> int:
    """Return the result code without its extension (https://sqlite.org/rescode.html), 0 for an error of Python's."""
    code = getattr(error, "sqlite_errorcode", None)
    return 0 if code is None else int(code) & 0xFF


def recognise(connection: sqlite3.Connection, path: str, schema: Schema) -> int:
    """Return how many migrations the database has had; StorageError if it is not ours, or not ours yet."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != schema.application_id and (application or version or tables):
        raise StorageError(path, "is a database, but not one of Megaphone")
    if version > len(schema.migrations):
        raise StorageError(path, f"was written by a newer Megaphone (version {version} of its tables)")
    return int(version)


def _migrate(connection: sqlite3.Connection, path: str, schema: Schema) -> None:
    recognise(connection, path, schema)  # before anything of it is changed
    _use_wal(connection)
    if recognise(connection, path, schema) == len(schema.migrations):
        return
    connection.execute("BEGIN EXCLUSIVE")
    try:
        done = recognise(connection, path, schema)  # another process may have been first
        for migration in schema.migrations[done:]:
            for statement in migration.split("\n\n"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {schema.application_id}")
        connection.execute(f"PRAGMA user_version = {len(schema.migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log; SQLite's busy timeout does not count here when several processes begin at once."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
            continue
        if mode != "wal":  # a file system without shared memory, such as a network's
            raise sqlite3.OperationalError("its file system does not allow a write-ahead log (WAL)")
        return

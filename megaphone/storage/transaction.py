"""One transaction of many rows: few calls of SQLite, or, to find the row that it refuses, one for each.

SQLite gives up the interpreter's lock for each call, and a busy event loop is slow to give it back. So a statement is
run for many rows at once where it can be, and rows that are many, and whose order among others does not matter, are
brought together: see `Statement.stage`.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from megaphone.storage.database import primary_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROWS_AT_ONCE: Final = 256

# What may be better the next time; any other error means the row itself.
_TRANSIENT: Final = frozenset(
    getattr(sqlite3, f"SQLITE_{name}")
    for name in (
        *("FULL", "READONLY", "BUSY", "LOCKED", "IOERR", "CANTOPEN", "CORRUPT", "NOTADB"),
        *("NOMEM", "PERM", "PROTOCOL", "INTERRUPT", "ABORT", "AUTH", "SCHEMA"),
    )
)
# a UnicodeDecodeError: sqlite3 could not read SQLite's message, which quotes a damaged schema
REFUSALS: Final = (sqlite3.Error, OverflowError, UnicodeEncodeError, UnicodeDecodeError)

Value = str | bytes | int | float | None


class Statement(NamedTuple):
    """An SQL statement: `head`, `row` for each row with commas between, `tail`; no `row`: one row at a time."""

    head: str
    row: str = ""
    tail: str = ""
    stage: int = 0
    """Within a transaction, rows of a lower stage are written before those of a higher one, else in their order."""
    padding: tuple[None, ...] = ()
    """A row that does nothing: with it a few texts, which sqlite3 keeps compiled, do for any number of rows."""

    def text(self, rows: int) -> str:
        """Return the SQL for so many rows at once."""
        return self.head + ", ".join([self.row] * rows) + self.tail


class Program(NamedTuple):
    """Several statements that belong together: `run(connection, *values)`, in the transaction of all other rows."""

    name: str
    """For the log."""
    run: Callable[..., object]
    stage: int = 0


class Write(NamedTuple):
    """One row for one statement, or the values of a program."""

    position: int
    statement: Statement | Program
    values: tuple[Any, ...]
    cost_bytes: int


def is_transient(error: Exception) -> bool:
    """Whether the same rows may be written another time."""
    if isinstance(error, UnicodeDecodeError):
        return True
    return isinstance(error, sqlite3.Error) and primary_code(error) in _TRANSIENT


def write_together(connection: sqlite3.Connection, rows: Sequence[Write]) -> None:
    """Write rows in one transaction, all or none; one of REFUSALS if it fails."""
    staged = sorted(rows, key=lambda row: row.statement.stage)
    with _transaction(connection):
        for statement, run in itertools.groupby(staged, lambda row: row.statement):
            if isinstance(statement, Program):
                for row in run:
                    statement.run(connection, *row.values)
            else:
                write_rows(connection, statement, [row.values for row in run])


def write_one_by_one(
    connection: sqlite3.Connection, rows: Sequence[Write], refused: Callable[[Write, Exception], object]
) -> None:
    """Write rows in one transaction but for those that SQLite refuses for themselves; REFUSALS for other reasons."""
    with _transaction(connection):
        for row in rows:
            try:
                _write_one(connection, row)
            except REFUSALS as error:
                if is_transient(error):
                    raise
                refused(row, error)


def _write_one(connection: sqlite3.Connection, row: Write) -> None:
    statement = row.statement
    if not isinstance(statement, Program):
        connection.execute(statement.text(1) if statement.row else statement.head, row.values)
        return
    connection.execute("SAVEPOINT program")  # all of it or nothing
    try:
        statement.run(connection, *row.values)
    except REFUSALS:
        if connection.in_transaction:  # a disk error may have ended it
            connection.execute("ROLLBACK TO program")
        raise
    connection.execute("RELEASE program")


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def write_rows(connection: sqlite3.Connection, statement: Statement, rows: Sequence[tuple[Value, ...]]) -> None:
    """Run a statement for rows, within a transaction."""
    if not statement.row:
        for values in rows:
            connection.execute(statement.head, values)
        return
    start = 0
    while start < len(rows):
        left = len(rows) - start
        bits = (left - 1).bit_length() if statement.padding else left.bit_length() - 1
        count = min(ROWS_AT_ONCE, 1 << bits)
        flat = tuple(itertools.chain.from_iterable(rows[start : start + count]))
        connection.execute(statement.text(count), flat + statement.padding * max(0, count - left))
        start += count

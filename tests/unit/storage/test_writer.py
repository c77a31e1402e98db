"""The thread that writes: positions, what cancels what, limits, rows that are refused, waiting for others."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from megaphone.errors import StorageError, StorageFullError
from megaphone.storage.database import connect, database_path
from megaphone.storage.transaction import ROWS_AT_ONCE, Statement
from megaphone.storage.writer import TRANSACTION_ROWS, Writer

PUT = Statement("INSERT OR REPLACE INTO secret (name, value) VALUES ", "(?, ?)")
PUT_ALONE = Statement("INSERT OR REPLACE INTO secret (name, value) VALUES (?, ?)")
REMOVE = Statement("DELETE FROM secret WHERE name IN (", "?", ")")
NEVER = 600.0  # seconds: nothing is written before it is asked for


@contextmanager
def writing(directory: str, *, lost: int = 0, **limits: object) -> Iterator[Writer]:
    writer = Writer(database_path(directory), **limits)
    try:
        yield writer
    finally:
        assert writer.close(5.0) == lost


def kept(directory: str) -> dict[str, bytes]:
    connection = connect(database_path(directory), read_only=True)
    found = dict(connection.execute("SELECT name, value FROM secret").fetchall())
    connection.close()
    return found


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_positions_grow_by_one_and_all_are_committed(directory: str) -> None:
    told: list[int] = []
    with writing(directory, call_soon=lambda call, position: call(position), on_committed=told.append) as writer:
        count = TRANSACTION_ROWS * 2 + 10
        positions = [writer.put(PUT, (str(number), b"x")) for number in range(count)]
        assert positions == list(range(1, count + 1))
        assert writer.position == count
        assert writer.flush()
        assert writer.committed == count
        assert told == sorted(told)
        assert told[-1] == count
        assert len(kept(directory)) == count
        assert writer.remove(REMOVE, ("7",)) == count + 1
        assert writer.flush()
        assert "7" not in kept(directory)
        assert told[-1] == count + 1


def test_a_transaction_has_so_many_rows_at_most(directory: str) -> None:
    told: list[int] = []
    with writing(
        directory, gather_seconds=NEVER, call_soon=lambda call, position: call(position), on_committed=told.append
    ) as writer:
        for number in range(TRANSACTION_ROWS + 1):
            writer.put(PUT, (str(number), b"x"))
        assert writer.flush()
        assert told == [TRANSACTION_ROWS, TRANSACTION_ROWS + 1]


def test_what_goes_along_is_written_with_other_rows_only(directory: str) -> None:
    told: list[int] = []
    with writing(
        directory, gather_seconds=NEVER, call_soon=lambda call, position: call(position), on_committed=told.append
    ) as writer:
        writer.put_along(PUT, ("along", b"1"), key="along")
        writer.put(PUT, ("cancelled", b"x"), key="cancelled")
        writer.remove(REMOVE, ("cancelled",), key="cancelled")
        assert writer.flush()
        assert kept(directory) == {}
        writer.put_along(PUT, ("along", b"2"), key="along")
        for number in range(TRANSACTION_ROWS):
            writer.put(PUT, (str(number), b"x"))
        assert writer.flush()
        wait_until(lambda: writer.queued == 0)
        assert kept(directory)["along"] == b"2"
        assert told == [1, TRANSACTION_ROWS + 1, TRANSACTION_ROWS + 1]  # it is in the second transaction
        writer.remove(REMOVE, ("along",))
        assert writer.flush()
        assert "along" not in kept(directory)  # once


def test_what_is_put_in_order_is_written_in_order(directory: str) -> None:
    with writing(directory, gather_seconds=NEVER) as writer:
        for number in range(300):  # changing statements, so that runs of all lengths are there
            name = str(number % 7)
            if number % 11 == 0:
                writer.remove(REMOVE, (name,))
            else:
                writer.put(PUT if number % 50 < 25 else PUT_ALONE, (name, b"%d" % number))
        assert writer.flush()
        expected = {}
        for number in range(300):
            if number % 11 == 0:
                expected.pop(str(number % 7), None)
            else:
                expected[str(number % 7)] = b"%d" % number
        assert kept(directory) == expected


LATE = Statement(
    "INSERT OR REPLACE INTO secret (name, value) SELECT column1, column2 FROM (VALUES ",
    "(?, ?)",
    ") WHERE column1 IS NOT NULL",
    stage=1,
    padding=(None, None),
)
LATE_REMOVE = Statement("DELETE FROM secret WHERE name IN (", "?", ")", stage=2, padding=(None,))


@pytest.mark.parametrize("count", [1, 2, 3, 255, 256, 257, 700])
def test_rows_of_a_stage_are_brought_together(directory: str, count: int) -> None:
    texts: list[str] = []
    with writing(directory, gather_seconds=NEVER) as writer:
        writer._connection.set_trace_callback(texts.append)
        for number in range(count):
            writer.put(LATE, (f"late{number}", b"x"))
            writer.remove(LATE_REMOVE, (f"late{number - 1}",))
            writer.put(PUT_ALONE, ("counted", b"%d" % number))
        assert writer.flush()
        writer._connection.set_trace_callback(None)
    assert kept(directory) == {"counted": b"%d" % (count - 1), f"late{count - 1}": b"x"}
    first = {kind: next(n for n, text in enumerate(texts) if kind in text) for kind in ("SELECT", "DELETE")}
    assert sum("VALUES (?, ?)" not in text and "VALUES ('counted'" in text for text in texts) == count
    assert first["DELETE"] > first["SELECT"] > max(n for n, text in enumerate(texts) if "'counted'" in text)
    assert (
        sum("SELECT" in text for text in texts) == sum("DELETE" in text for text in texts) == -(-count // ROWS_AT_ONCE)
    )


def test_a_write_and_its_removal_cancel_each_other(directory: str) -> None:
    with writing(directory, gather_seconds=NEVER) as writer:
        writer.put(PUT, ("a", b"1"), owner="romeo", key="a")
        writer.put(PUT, ("b", b"1"), key="b")
        assert writer.queued == 2
        assert writer.remove(REMOVE, ("a",), key="a") == 2
        assert writer.queued == 1
        assert writer.flush()
        assert writer.committed == 2
        assert kept(directory) == {"b": b"1"}
        assert writer.remove(REMOVE, ("b",), key="b") == 3  # written by now, so it takes a removal
        assert writer.flush()
        assert kept(directory) == {}


def test_all_of_a_batch_can_cancel(directory: str) -> None:
    with writing(directory) as writer:
        for number in range(1000):
            writer.put(PUT, (str(number), b"x"), key=number)
            writer.remove(REMOVE, (str(number),), key=number)
        assert writer.flush()
        assert writer.committed == writer.position
        assert kept(directory) == {}


def test_the_newer_row_of_a_key_takes_the_older_ones_place(directory: str) -> None:
    with writing(directory, gather_seconds=NEVER) as writer:
        writer.put(PUT, ("a", b"1"), key="a")
        writer.remove(REMOVE, ("a",))
        assert writer.put(PUT, ("a", b"2"), key="a") == 3
        assert writer.queued == 2
        assert writer.flush()
        assert kept(directory) == {"a": b"2"}


def test_the_queue_has_limits(directory: str) -> None:
    with writing(directory, gather_seconds=NEVER, rows_limit=10, bytes_limit=100) as writer:
        for number in range(10):
            writer.put(PUT, (str(number), b"x"))
        with pytest.raises(StorageFullError, match="too much is waiting to be written"):
            writer.put(PUT, ("one more", b"x"))
        assert writer.position == 10
        for number in range(10):  # a removal makes room, so there is room for removals
            writer.remove(REMOVE, (str(number),))
        with pytest.raises(StorageFullError):
            writer.remove(REMOVE, ("one more",))
        assert writer.flush()
        assert kept(directory) == {}
        with pytest.raises(StorageFullError):
            writer.put(PUT, ("large", b"x" * 96))
        writer.put(PUT, ("large", b"x" * 95), key="large")
        with pytest.raises(StorageFullError):
            writer.put(PUT, ("", b"x"))
        writer.remove(REMOVE, ("large",), key="large")
        writer.put(PUT, ("large", b"y" * 95))
        assert writer.flush()
        assert kept(directory) == {"large": b"y" * 95}


@pytest.mark.parametrize("bad", [2**70, "\ud800", b"", None, object()])
def test_a_row_that_sqlite_refuses_costs_only_itself(directory: str, bad: object) -> None:
    with writing(directory, gather_seconds=NEVER) as writer:
        for number in range(200):
            writer.put(PUT, (str(number), b"x"))
        refused = ("bad", bad) if bad != b"" else ("too", "many", "values")
        writer.put(PUT, refused)  # type: ignore[arg-type]
        writer.put(PUT, ("last", b"x"))
        assert writer.flush()
        assert writer.dropped == 1
        assert len(kept(directory)) == 201
        assert "last" in kept(directory)


def test_reading_waits_for_what_is_queued_of_its_owner(directory: str) -> None:
    with writing(directory, gather_seconds=NEVER) as writer:
        writer.put(PUT, ("a", b"x"), owner="romeo")
        writer.settle("juliet")
        assert kept(directory) == {}
        writer.settle("romeo")
        assert kept(directory) == {"a": b"x"}
        writer.put(PUT, ("b", b"x"))
        writer.settle("romeo")
        assert "b" not in kept(directory)
        writer.settle_all()
        assert "b" in kept(directory)


def test_closing_writes_what_is_queued_and_takes_no_more(directory: str) -> None:
    writer = Writer(database_path(directory), gather_seconds=NEVER)
    writer.put(PUT, ("a", b"x"))
    assert writer.close() == 0
    assert kept(directory) == {"a": b"x"}
    with pytest.raises(StorageFullError, match="is being closed"):
        writer.put(PUT, ("b", b"x"))


def test_nobody_is_told_when_the_loop_is_closed(directory: str) -> None:
    def call_soon(*_: object) -> None:
        raise RuntimeError("Event loop is closed")

    with writing(directory, call_soon=call_soon, on_committed=print) as writer:
        for _ in range(3):
            writer.put(PUT, ("a", b"x"))
            assert writer.flush()


def test_it_waits_for_another_process_transaction(directory: str) -> None:
    other = sqlite3.connect(database_path(directory), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with writing(directory) as writer:
        writer.put(PUT, ("a", b"x"), owner="romeo")
        assert not writer.flush(0.2)
        assert writer.trouble == ""
        assert kept(directory) == {}
        other.execute("COMMIT")
        assert writer.flush()
    other.close()
    assert kept(directory) == {"a": b"x"}


def test_a_lock_that_is_never_given_back(directory: str) -> None:
    other = sqlite3.connect(database_path(directory), isolation_level=None)
    with writing(directory, retry_seconds=0.05) as writer:
        writer._connection.execute("PRAGMA busy_timeout = 50")
        other.execute("BEGIN IMMEDIATE")
        writer.put(PUT, ("a", b"x"), owner="romeo")
        wait_until(lambda: writer.trouble != "")
        assert "locked by another process" in writer.trouble
        with pytest.raises(StorageFullError):
            writer.put(PUT, ("b", b"x"))
        with pytest.raises(StorageError, match="locked by another process"):
            writer.settle("romeo")
        other.execute("COMMIT")
        wait_until(lambda: writer.trouble == "")
        assert writer.flush()
        writer.put(PUT, ("b", b"x"))
    other.close()
    assert kept(directory) == {"a": b"x", "b": b"x"}


def test_two_writers_take_turns(directory: str) -> None:
    with writing(directory) as one, writing(directory) as two:

        def fill(writer: Writer, name: str) -> None:
            for number in range(2000):
                writer.put(PUT, (f"{name}{number}", b"x"))
                if number % 100 == 0:
                    assert writer.flush(20.0)

        threads = [threading.Thread(target=fill, args=each) for each in ((one, "one"), (two, "two"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert one.flush(20.0)
        assert two.flush(20.0)
    assert len(kept(directory)) == 4000

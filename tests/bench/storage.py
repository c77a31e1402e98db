"""`make bench WHAT=storage`: messages kept on disk, in batches by the writer's thread, beside one transaction for each.

Both write the same rows to the same table with the same settings of SQLite (WAL, synchronous = NORMAL). A row counts
when it is committed: from the first call until the last row is, wall time and the CPU time of the whole process.
"""

import sqlite3
import tempfile
import time
from collections.abc import Callable

from megaphone.service.accounts import Credentials
from megaphone.storage.accounts import AccountBook
from megaphone.storage.database import connect, database_path, prepare
from megaphone.storage.storage import Storage
from megaphone.storage.users import SQLiteUsers
from megaphone.stream.jid import JID
from megaphone.stream.scram import ScramKeys
from tests.bench.measure import run
from tests.bench.report.figure import OURS, Figure, Target
from tests.bench.report.report import Report, arguments

PLAIN = "sqlite3, a transaction for each"
ROWS, PLAIN_ROWS = 20_000, 2_000
USERS = 100
STANZA = (
    b"<message type='chat' id='m1' from='juliet@capulet.example/balcony' to='romeo@montague.example'>"
    b"<body>O Romeo, Romeo, wherefore art thou Romeo? Deny thy father and refuse thy name</body></message>"
)


def timed(work: Callable[[], object], rows: int) -> tuple[float, float]:
    """Return rows for each second, and microseconds of the process's CPU time for each row."""
    begun, begun_cpu = time.perf_counter(), time.process_time()
    work()
    return rows / (time.perf_counter() - begun), (time.process_time() - begun_cpu) / rows * 1e6


def measure_round(directory: str, figures: dict[str, Figure]) -> None:
    """Measure everything once, and leave an empty spool."""
    romeos = [JID(f"romeo{number}", "montague.example") for number in range(USERS)]
    storage = Storage(directory)
    store, writer = SQLiteUsers(storage), storage.writer
    keys: list[int] = []

    def spool() -> None:
        for number in range(ROWS):
            keys.append(store.spool_add(romeos[number % USERS], STANZA, 1.0))
        wait(writer.flush)

    def remove() -> None:
        for number, key in enumerate(keys):
            store.spool_remove(romeos[number % USERS], (key,))
        wait(writer.flush)

    def deliver() -> None:
        for number in range(ROWS):
            romeo = romeos[number % USERS]
            store.spool_remove(romeo, (store.spool_add(romeo, STANZA, 1.0),))
        wait(writer.flush)

    for name, work in (("kept", spool), ("removed", remove), ("kept and removed at once", deliver)):
        rate, cpu = timed(work, ROWS)
        figures[f"{name}, rows"].add(OURS, rate)
        figures[f"{name}, CPU"].add(OURS, cpu)
    if storage.close() or writer.dropped:
        raise RuntimeError("rows were lost")

    connection = connect(database_path(directory))
    numbers = [number for (number,) in connection.execute("SELECT id FROM account")]

    def spool_plainly() -> None:
        for number in range(PLAIN_ROWS):
            connection.execute(
                "INSERT INTO spool (id, account, at, held, stanza) VALUES (?, ?, ?, ?, ?)",
                (number + 1, numbers[number % USERS], 1.0, 0, STANZA),
            )

    def remove_plainly() -> None:
        for number in range(PLAIN_ROWS):
            connection.execute("DELETE FROM spool WHERE id = ?", (number + 1,))

    for name, work in (("kept", spool_plainly), ("removed", remove_plainly)):
        rate, cpu = timed(work, PLAIN_ROWS)
        figures[f"{name}, rows"].add(PLAIN, rate)
        figures[f"{name}, CPU"].add(PLAIN, cpu)
    connection.close()


def wait(flush: Callable[[float], bool]) -> None:
    """Wait until everything is on disk."""
    if not flush(60.0):
        raise RuntimeError("the writer does not write")


def main() -> None:
    """Measure and print."""
    parser = arguments("storage", __doc__, rounds=7)
    args = parser.parse_args()
    figures = {
        "kept, rows": Figure("messages kept", "1/s", Target("ratio", 4, at_most=False), digits=0, peers=(PLAIN,)),
        "kept, CPU": Figure("CPU of a message kept", "us", Target("ratio", 0.5), digits=1, peers=(PLAIN,)),
        "removed, rows": Figure("messages removed", "1/s", digits=0, peers=(PLAIN,)),
        "removed, CPU": Figure("CPU of a message removed", "us", digits=1, peers=(PLAIN,)),
        "kept and removed at once, rows": Figure("messages acknowledged before that", "1/s", digits=0, peers=()),
        "kept and removed at once, CPU": Figure("CPU of such a message", "us", digits=1, peers=()),
    }
    keys = Credentials(*(ScramKeys(b"s" * 16, 4096, b"k" * size, b"k" * size) for size in (20, 32)))
    settings = {
        "rounds": args.rounds,
        "rows": ROWS,
        "plain_rows": PLAIN_ROWS,
        "stanza_bytes": len(STANZA),
        "users": USERS,
    }
    with (
        Report("storage", parser, args, sqlite3=sqlite3.sqlite_version) as report,
        tempfile.TemporaryDirectory() as directory,
    ):
        prepare(directory)
        book = AccountBook(directory)
        for number in range(USERS):
            book.add(f"romeo{number}", keys, 1.0)
        book.close()
        for _ in range(args.rounds):
            measure_round(directory, figures)
        title = "Messages kept on disk: batches beside one transaction for each"
        report.add("storage", title, [OURS, PLAIN], list(figures.values()), settings)


if __name__ == "__main__":
    run(main)

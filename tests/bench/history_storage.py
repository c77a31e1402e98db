"""Entries appended to a history on disk: for each second and core, and the bytes that each takes beside its content.

From the first entry to the last one durable: contents are hashed, ids chained, one signature for each batch, everything
written to SQLite with its indexes and digests. Content is made beforehand. Rates are by the CPU time of the whole
process, the writer's thread included, so that they are those of one core; and by wall time.
"""

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

from megaphone.history.batch import Batch, ids, sealed
from megaphone.history.clock import Clock
from megaphone.history.content import Content
from megaphone.history.entry import FIRST, Kind, entry
from megaphone.history.manifest import Manifest
from megaphone.storage.database import connect
from megaphone.storage.history_file import HistoryFile
from megaphone.storage.node_key import NodeKey, verify
from tests.bench.measure import run
from tests.bench.report.figure import OURS, Figure, Target
from tests.bench.report.report import Report, arguments

ENTRIES = 100_000
BATCH = 256
STANZA = (
    b"<message xmlns='jabber:client' type='groupchat' id='%d' from='hall@rooms.capulet.example/juliet'>"
    b"<body>O Romeo, Romeo, wherefore art thou Romeo? Deny thy father and refuse thy name</body></message>"
)
ROOM = Manifest("muc", "hall@rooms.capulet.example")
START_MS = 1_764_000_000_000


class Appended(NamedTuple):
    """What was measured."""

    per_cpu_second: float
    per_second: float
    overhead_bytes: float
    newest_ms: float
    """CPU time of reading the last 20 lines, after opening the file."""


def batches(key: NodeKey, contents: list[bytes]) -> Iterator[tuple[Batch, list[bytes]]]:
    """What a node does with entries of its own: one second for each, sealed 256 by 256."""
    seq, previous, clocks = 1, FIRST, count(START_MS)
    for start in range(0, len(contents), BATCH):
        said = contents[start : start + BATCH]
        entries = tuple([entry(Clock(next(clocks) << 16), Kind.MESSAGE, each) for each in said])
        batch = Batch(ROOM.id, key.origin, seq, previous, entries, b"")
        found = ids(batch)
        yield batch._replace(seal=key.sign(sealed(found[-1]))), found
        seq, previous = batch.last + 1, found[-1]


def append(directory: str, entries: int = ENTRIES) -> Appended:
    """Write a history of so many entries into a file of its own, and measure it."""
    path = os.path.join(directory, "history.sqlite3")
    contents = [Content("juliet@capulet.example", STANZA % at).encode() for at in range(entries)]
    store = HistoryFile(path)
    store.put_room(ROOM)
    begun, begun_cpu = time.perf_counter(), time.process_time()
    for batch, found in batches(NodeKey.new(), contents):
        store.put(batch, found)
        if store._writer.queued > 64:
            store.flush(60.0)
    if not store.flush(60.0):
        raise RuntimeError("the writer does not write")
    cpu, wall = time.process_time() - begun_cpu, time.perf_counter() - begun
    if store.close() or store._writer.dropped:
        raise RuntimeError("entries were lost")
    connection = connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    overhead = (os.path.getsize(path) - sum(map(len, contents))) / entries
    begun_cpu = time.process_time()
    store = HistoryFile(path, verifier=verify) if entries <= 1000 else HistoryFile(path)
    opened_cpu = time.process_time()
    last = store.newest(ROOM.id, 20)
    newest_ms = (time.process_time() - opened_cpu) * 1000
    store.close()
    if [each.entry.content for each in last] != contents[-20:]:
        raise RuntimeError("other entries came back")
    return Appended(entries / cpu, entries / wall, overhead, newest_ms)


def figures(rounds: int, entries: int = ENTRIES) -> list[Figure]:
    """Measure some rounds: the append rows of `make bench WHAT=history`."""
    rate = Figure("entries appended, by CPU time", "1/s", Target("value", 50_000, at_most=False), digits=0, peers=())
    wall = Figure("entries appended, by wall time", "1/s", digits=0, peers=())
    overhead = Figure("bytes of an entry beside its content", "B", Target("value", 100), digits=1, peers=())
    newest = Figure("the last 20 lines, from disk", "ms", Target("value", 20), digits=2, peers=())
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as directory:
            found = append(directory, entries)
        for figure, value in zip((rate, wall, overhead, newest), found, strict=True):
            figure.add(OURS, value)
    return [rate, wall, overhead, newest]


def settings(entries: int = ENTRIES) -> dict[str, int]:
    """What was measured with."""
    return {"entries": entries, "entries_in_a_batch": BATCH, "stanza_bytes": len(STANZA)}


def main() -> None:
    """Measure and print these rows alone."""
    parser = arguments("history", __doc__, rounds=5)
    parser.add_argument("--entries", type=int, default=ENTRIES, help="how many are appended")
    args = parser.parse_args()
    with Report("history", parser, args, sqlite3=sqlite3.sqlite_version) as report:
        found = figures(args.rounds, args.entries)
        report.add("history-storage", "Entries appended to a history on disk", [OURS], found, settings(args.entries))


if __name__ == "__main__":
    run(main)

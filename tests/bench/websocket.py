"""`make bench WHAT=websocket`: how fast masked text messages are read, beside picows, websockets and wsproto.

All read the same bytes again and again, in turn, and are charged their CPU time. Megaphone's reader is asked in a loop
of C, which copies each read to a buffer first; and once more from Python, where it hands out bytes.
"""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

from megaphone.wire.websocket import STATE_BYTES, Event, MessageReader
from tests.bench.build import shared_library
from tests.bench.measure import run
from tests.bench.report.figure import OURS, Figure, Target
from tests.bench.report.report import Report, arguments
from tests.bench.websocket_peers import PEERS, Feed

FROM_PYTHON = "Megaphone from Python"
PEER = "picows"
READ_BYTES = 65536
SECONDS_PER_ROUND = 0.1
KEY = b"\x37\xfa\x21\x3d"
LATIN = b"<message to='juliet@example.com'><body>Good night, good night! Parting is such sweet sorrow.</body></message>"
CYRILLIC = "<message to='юлия@example.com'><body>Прощай, прощай! Разойтись нет мочи.</body></message>".encode()


def message_of(length: int, text: bytes = LATIN) -> bytes:
    """One masked text message of about `length` bytes: whole characters."""
    payload = (text * (length // len(text) + 1))[:length].decode(errors="ignore").encode()
    size = len(payload)
    head = b"\x81" + (bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big"))
    if size >= 65536:
        head = b"\x81\xff" + size.to_bytes(8, "big")
    repeated = (KEY * (size // 4 + 1))[:size]
    return head + KEY + (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


def reads_of(message: bytes, count: int, read_bytes: int = READ_BYTES) -> list[bytes]:
    """So many messages, cut into reads."""
    data = message * count
    return [data[at : at + read_bytes] for at in range(0, len(data), read_bytes)]


SHORT, LONG, LONG_CYRILLIC = message_of(300), message_of(64_000), message_of(64_000, CYRILLIC)
LOADS = {
    "300 bytes, many a read": (SHORT, reads_of(SHORT, 212)),
    "300 bytes, one a read": (SHORT, reads_of(SHORT, 1)),
    "64 kB, one a read": (LONG, reads_of(LONG, 1)),
    "64 kB, reads of 4 kB": (LONG, reads_of(LONG, 1, 4096)),
    "64 kB of Cyrillic, one a read": (LONG_CYRILLIC, reads_of(LONG_CYRILLIC, 1)),
}


def compiled_reader() -> Feed:
    """The loop of C, a Python call for every read."""
    reader = MessageReader()
    return lambda data: reader.read_times(data, 1)


def python_reader() -> Feed:
    """The reader's Python interface."""
    reader = MessageReader()

    def feed(data: bytes) -> int:
        messages, waiting = 0, memoryview(bytearray(data))
        while waiting:
            event, consumed, _, detail = reader.read(waiting)
            messages += event is Event.DATA and detail[2]
            waiting = waiting[consumed:]
        return messages

    return feed


def messages_per_second(make: Callable[[], Feed], reads: list[bytes]) -> float:
    """Messages per second of CPU time."""
    feed = make()
    messages, begun = 0, time.thread_time()
    while (spent := time.thread_time() - begun) < SECONDS_PER_ROUND or not messages:
        for data in reads:
            messages += feed(data)
    return messages / spent


def compiled_messages_per_second(reads: list[bytes]) -> float:
    """The same of the compiled reader; a load of a single read repeats it in C."""
    if len(reads) > 1:
        return messages_per_second(compiled_reader, reads)
    reader, times, messages, begun = MessageReader(), max(1, 1_000_000 // len(reads[0])), 0, time.thread_time()
    while (spent := time.thread_time() - begun) < SECONDS_PER_ROUND:
        messages += reader.read_times(reads[0], times)
    return messages / spent


def measure_loads(rounds: int) -> list[Figure]:
    """Messages and MB of payload per second of everybody; ratios are to picows, the peer that is compiled."""
    figures = []
    for name, (message, reads) in LOADS.items():
        rate = Figure(name, "1/s", Target("ratio", 1.0, at_most=False), digits=0, peers=tuple(PEERS))
        speed = Figure(name, "MB/s", digits=1, peers=(PEER,), detail=True)
        for _ in range(rounds):
            measured = {
                OURS: compiled_messages_per_second(reads),
                FROM_PYTHON: messages_per_second(python_reader, reads),
            }
            measured |= {peer: messages_per_second(make, reads) for peer, make in PEERS.items()}
            for who, value in measured.items():
                rate.add(who, value)
                speed.add(who, value * len(message) / 1e6)
        figures += [rate, speed]
    return figures


def measure_memory() -> list[Figure]:
    """State of a connection, and calls of malloc per read, counted in a process of its own."""
    state = Figure("state of a connection", "bytes", Target("value", 32), digits=0, peers=())
    state.add(OURS, STATE_BYTES)
    environment = os.environ | {"LD_PRELOAD": str(shared_library("count_mallocs", "wire_peers"))}
    command = [sys.executable, "-m", "tests.bench.websocket", "--count-mallocs"]
    counted = subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout.split()
    figures = [state]
    for name, value in zip(
        ("mallocs per read of whole messages", "mallocs per read that splits a ping"), counted, strict=True
    ):
        figures.append(Figure(name, "1", Target("value", 0), digits=3, peers=()))
        figures[-1].add(OURS, float(value))
    return figures


def count_mallocs() -> None:
    """Print the calls of malloc per read: one of whole messages, and one that begins and ends inside a ping."""
    calls = ctypes.c_ulong.in_dll(ctypes.CDLL(None), "malloc_calls")
    passes = 10_000
    ping = b"\x89\x85" + KEY + b"\x7f\x9f\x4d\x51\x58"
    for before, data in ((b"", SHORT), (ping[:8], ping[8:] + SHORT + ping[:8])):
        reader = MessageReader()
        if before:
            reader.read(bytearray(before))
        reader.read_times(data, 10)
        begun = calls.value
        if reader.read_times(data, passes) != passes:
            raise RuntimeError("a message was lost")
        print((calls.value - begun) // 10 * 10 / passes)  # the few that asking costs are not the reads'


def main() -> None:
    """Measure and print."""
    parser = arguments("websocket", __doc__, rounds=7)
    parser.add_argument("--count-mallocs", action="store_true", help="only count; for the benchmark's own use")
    args = parser.parse_args()
    if args.count_mallocs:
        count_mallocs()
        return
    settings = {
        "rounds": args.rounds,
        "seconds_per_round": SECONDS_PER_ROUND,
        "message_bytes": {name: len(message) for name, (message, _) in LOADS.items()},
    }
    with Report("websocket", parser, args, **{peer: version(peer) for peer in PEERS}) as report:
        columns = [OURS, FROM_PYTHON, *PEERS]
        title = "WebSocket: masked text messages read per second"
        report.add("websocket", title, columns, measure_loads(args.rounds), settings)
        report.add("websocket-memory", "WebSocket: memory of the reader", [OURS], measure_memory(), settings)


if __name__ == "__main__":
    run(main)

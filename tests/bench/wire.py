"""`make bench WHAT=wire`: how fast the framer reads, beside expat and lxml; its worst corners, its memory; stanzas.

All of them read the same chunk again and again, in turn, and are charged their CPU time. Expat and the framer run in
loops of C; lxml is asked for its events, and drops what it has built.
"""

import ctypes
import os
import subprocess
import sys
import time
from xml.parsers import expat

from lxml import etree

from megaphone.wire.framer import STATE_BYTES, StreamFramer
from tests.bench.build import program, shared_library
from tests.bench.measure import run
from tests.bench.report.figure import OURS, Figure, Target
from tests.bench.report.report import Report, arguments
from tests.bench.stanzas import FACTS, FORMATTING, LXML, measure_fan_out, measure_headers
from tests.bench.traffic import CORNERS, HEADER, REFERENCE, TRAFFIC

NONE, DEPTH = "expat, no handlers", "expat, depth in C"
BYTES_PER_ROUND = 16_000_000
CUT = 700  # inside the body of the fourth message
TARGETS = {
    # 4 times as fast as expat without handlers, which costs hardly less than with some
    "seven 207-byte messages": (
        Target("value", 1_000, at_most=False),
        Target("ratio", 4, at_most=False, peer=NONE),
    ),
    "presence-heavy mix": (Target("value", 500, at_most=False),),
    "iq-heavy mix": (Target("value", 500, at_most=False),),
}
WORST = Target("value", 10.0)
UNIT_OF_CORNERS = "x"  # the reference's ns/byte


def framer_nanoseconds(chunk: bytes, passes: int, before: bytes = b"") -> float:
    """CPU time of one pass over the chunk, in a stream that has had `before`."""
    framer = StreamFramer(stanza_bytes=1 << 20, depth=255, attributes=255)
    framer.scan(HEADER)
    if before:
        framer.scan(before)
    begun = time.thread_time_ns()
    if not framer.scan_times(chunk, passes):
        raise RuntimeError(f"refused: {chunk[:60]!r}")
    return (time.thread_time_ns() - begun) / passes


def expat_nanoseconds(chunk: bytes, passes: int, mode: str) -> float:
    """The same of libexpat, with namespaces."""
    command = [program("expat_loop", "wire_peers", libraries=("expat",)), mode, str(passes), str(len(HEADER))]
    return float(subprocess.run(command, input=HEADER + chunk, capture_output=True, check=True).stdout)


def lxml_nanoseconds(chunk: bytes, passes: int) -> float:
    """The same of lxml's feed parser."""
    parser = etree.XMLPullParser(events=("start", "end"), resolve_entities=False)
    parser.feed(HEADER)
    _, root = next(iter(parser.read_events()))
    begun = time.thread_time_ns()
    for _ in range(passes):
        parser.feed(chunk)
        for _ in parser.read_events():
            pass
        del root[:]
    return (time.thread_time_ns() - begun) / passes


def measure_traffic(rounds: int) -> list[Figure]:
    """MB/s of everybody; the first ratio is to expat driving depth."""
    figures = []
    for name, chunk in TRAFFIC.items():
        passes = BYTES_PER_ROUND // len(chunk)
        figure = Figure(name, "MB/s", *TARGETS.get(name, ()), digits=0, peers=(DEPTH, NONE, LXML))
        for _ in range(rounds):
            figure.add(OURS, len(chunk) / framer_nanoseconds(chunk, passes) * 1e3)
            figure.add(NONE, len(chunk) / expat_nanoseconds(chunk, passes // 4, "none") * 1e3)
            figure.add(DEPTH, len(chunk) / expat_nanoseconds(chunk, passes // 4, "depth") * 1e3)
            figure.add(LXML, len(chunk) / lxml_nanoseconds(chunk, passes // 20) * 1e3)
        figures.append(figure)
    return figures


def measure_corners(rounds: int) -> list[Figure]:
    """Time per byte of 64 kB of the worst kinds, as multiples of the reference chunk's in the same round."""
    figures = {name: Figure(name, UNIT_OF_CORNERS, WORST, digits=1, peers=(), detail=True) for name in CORNERS}
    for _ in range(rounds):
        for name, chunk in CORNERS.items():
            reference = framer_nanoseconds(REFERENCE, 2_000) / len(REFERENCE)
            figures[name].add(OURS, framer_nanoseconds(chunk, 40) / len(chunk) / reference)
    return list(figures.values())


def measure_limits(rounds: int, corners: list[Figure]) -> list[Figure]:
    """The worst corner, bytes that come alone, and memory."""
    worst = Figure(
        f"worst of {len(corners)} hostile chunks, time per byte relative to seven messages",
        UNIT_OF_CORNERS,
        WORST,
        digits=1,
        peers=(),
    )
    worst.rounds = max(corners, key=lambda figure: figure.value(OURS) or 0.0).rounds
    trickle = Figure("one byte at a time, below 60 prefixes", "ns/byte", digits=0, peers=())
    plain = Figure("one byte at a time, the reference chunk", "ns/byte", digits=0, peers=())
    for _ in range(rounds):
        plain.add(OURS, trickled_nanoseconds(b"", REFERENCE))
        trickle.add(OURS, trickled_nanoseconds(CORNERS["attributes with prefixes"][:900], b"<b/>x" * 400))
    return [worst, plain, trickle, *measure_memory()]


def trickled_nanoseconds(before: bytes, data: bytes) -> float:
    """CPU time of a byte that comes alone, with the Python call that brings it."""
    framer = StreamFramer()
    framer.scan(HEADER)
    if before:
        framer.scan(before)
    pieces = [data[at : at + 1] for at in range(len(data))]
    begun = time.thread_time_ns()
    for piece in pieces:
        framer.scan(piece, False)
    return (time.thread_time_ns() - begun) / len(data)


def measure_memory() -> list[Figure]:
    """State of a connection, and calls of malloc per chunk, counted in a process of its own."""
    state = Figure("state of one direction", "bytes", Target("value", 64), digits=0, peers=())
    state.add(OURS, STATE_BYTES)
    environment = os.environ | {"LD_PRELOAD": str(shared_library("count_mallocs", "wire_peers"))}
    command = [sys.executable, "-m", "tests.bench.wire", "--count-mallocs"]
    counted = subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout.split()
    figures = [state]
    for name, value in zip(
        ("mallocs per chunk of whole stanzas", "mallocs per chunk that splits"), counted, strict=True
    ):
        figures.append(Figure(name, "1", Target("value", 0), digits=3, peers=()))
        figures[-1].add(OURS, float(value))
    return figures


def count_mallocs() -> None:
    """Print the calls of malloc per chunk: one of whole stanzas, and one that begins and ends in a body."""
    calls = ctypes.c_ulong.in_dll(ctypes.CDLL(None), "malloc_calls")
    passes = 10_000
    for before, chunk in ((b"", REFERENCE), (REFERENCE[:CUT], REFERENCE[CUT:] + REFERENCE[:CUT])):
        framer = StreamFramer()
        framer.scan(HEADER)
        if before:
            framer.scan(before)
        framer.scan_times(chunk, 10)
        begun = calls.value
        framer.scan_times(chunk, passes)
        print((calls.value - begun) // 10 * 10 / passes)  # the few that asking costs are not the chunks'


def main() -> None:
    """Measure and print."""
    parser = arguments("wire", __doc__, rounds=7)
    parser.add_argument("--count-mallocs", action="store_true", help="only count; for the benchmark's own use")
    args = parser.parse_args()
    if args.count_mallocs:
        count_mallocs()
        return
    libraries = {
        "expat": ".".join(map(str, expat.version_info)),
        "lxml": ".".join(map(str, etree.LXML_VERSION)),
        "libxml2": ".".join(map(str, etree.LIBXML_VERSION)),
    }
    settings = {"rounds": args.rounds, "bytes_per_round": BYTES_PER_ROUND}
    with Report("wire", parser, args, **libraries) as report:
        chunks = settings | {"chunk_bytes": {name: len(chunk) for name, chunk in TRAFFIC.items()}}
        traffic = measure_traffic(args.rounds)
        report.add("wire", "The framer, MB of a stream per second", [OURS, NONE, DEPTH, LXML], traffic, chunks)
        stanzas = [*measure_headers(args.rounds), *measure_fan_out(args.rounds)]
        columns = [OURS, FACTS, LXML, FORMATTING]
        report.add("wire-stanzas", "Single stanzas: reading, writing to one more", columns, stanzas, settings)
        corners = measure_corners(args.rounds)
        title = "Hostile chunks: the framer's time per byte, relative to seven messages"
        report.add("wire-corners", title, [OURS], corners, settings, layout="rows")
        limits = measure_limits(args.rounds, corners)
        report.add("wire-limits", "The framer at its worst, and its memory", [OURS], limits, settings)


if __name__ == "__main__":
    run(main)

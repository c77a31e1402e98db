"""`make bench WHAT=link_codec`: frames per second of the link codec and of two whole sessions, beside Python's struct.

Data frames of 200 bytes, in chunks of 64 KiB as a socket is read. Each is charged its CPU time on one core.
"""

import struct
import time

from megaphone.wire.link import FrameType, LinkFrameReader, Side, encode_frame, write_times
from megaphone.wire.link_end import carry_times
from megaphone.wire.link_open import Open, Transport
from tests.bench.measure import run
from tests.bench.report.figure import OURS, Figure, Target
from tests.bench.report.report import Report, arguments

STRUCT = "Python, struct"
PAYLOAD = bytes(range(200))
STREAMS = 500
FRAMES = 3_000_000
CHUNK_BYTES = 65536
SEGMENT_BYTES = 1448  # of a TCP connection over Ethernet: nearly every read splits a frame
HEADER = struct.Struct("!BxHI")  # enough for lengths below 65,536


def struct_read(chunk: bytes) -> int:
    """What a plain Python codec does: header, bounds, a slice for each payload."""
    at, count, end = 0, 0, len(chunk)
    while at + 8 <= end:
        kind, length, stream = HEADER.unpack_from(chunk, at)
        if kind not in (0x11, 0x12) or not 1 <= length <= 16384 or not stream:
            raise ValueError(f"frame {kind:#x} of {length} bytes")
        if at + 8 + length > end:
            break
        payload = chunk[at + 8 : at + 8 + length]
        at += 8 + len(payload)
        count += 1
    return count


def struct_write(times: int) -> int:
    """The same for writing, into one buffer."""
    buffer, at, stream = bytearray(CHUNK_BYTES + 256), 0, 0
    for _ in range(times):
        stream = stream % STREAMS + 1
        HEADER.pack_into(buffer, at, 0x11, len(PAYLOAD), stream)
        buffer[at + 8 : at + 208] = PAYLOAD
        at = at + 208 if at < CHUNK_BYTES else 0
    return times


def chunk_of_frames() -> bytes:
    """64 KiB of whole data frames."""
    frames = b"".join(encode_frame(FrameType.SEND_DATA, stream + 1, PAYLOAD) for stream in range(STREAMS))
    return frames[: CHUNK_BYTES // 208 * 208]


def rate(frames: int, begun: int) -> float:
    """Million frames per second of CPU time since `begun`."""
    return frames / (time.thread_time_ns() - begun) * 1e3


def measure(rounds: int) -> list[Figure]:
    """All figures, in turn in every round."""
    chunk = chunk_of_frames()
    per_chunk = len(chunk) // 208
    read = Figure("read, 64 KiB chunks", "M frames/s", Target("value", 5.0, at_most=False), digits=1, peers=(STRUCT,))
    written = Figure("write", "M frames/s", Target("value", 5.0, at_most=False), digits=1, peers=(STRUCT,))
    split = Figure("read, every chunk of 1,448 bytes splits a frame", "M frames/s", digits=1, peers=(STRUCT,))
    carried = Figure("two sessions, written, read and taken", "M frames/s", digits=1, peers=(STRUCT,))
    segment = chunk[:SEGMENT_BYTES]
    whole = SEGMENT_BYTES // 208 * 208
    opening = Open(Transport.TCP).encode()
    for _ in range(rounds):
        begun = time.thread_time_ns()
        read.add(OURS, rate(LinkFrameReader(Side.SERVER).read_times(chunk, FRAMES // per_chunk), begun))
        begun = time.thread_time_ns()
        read.add(STRUCT, rate(sum(struct_read(chunk) for _ in range(FRAMES // per_chunk // 20)), begun))
        begun = time.thread_time_ns()
        written.add(OURS, rate(write_times(FrameType.PUT_DATA, STREAMS, PAYLOAD, FRAMES), begun))
        begun = time.thread_time_ns()
        written.add(STRUCT, rate(struct_write(FRAMES // 20), begun))
        # the frame that a segment ends in is completed by the next one's first bytes
        reader = LinkFrameReader(Side.SERVER)
        reader.feed(segment)
        rest = (chunk[whole:] + chunk)[SEGMENT_BYTES - whole :]
        period = rest[: SEGMENT_BYTES * 26]  # 26 segments are 181 frames
        pieces = [period[at : at + SEGMENT_BYTES] for at in range(0, len(period), SEGMENT_BYTES)]
        begun = time.thread_time_ns()
        count = 0
        for _ in range(FRAMES // 181 // 4):
            for piece in pieces:
                count += reader.read_times(piece, 1)
        split.add(OURS, rate(count, begun))
        begun = time.thread_time_ns()
        carried.add(OURS, rate(carry_times(PAYLOAD, STREAMS, FRAMES // STREAMS, opening), begun))
    return [read, written, split, carried]


def main() -> None:
    """Measure and print."""
    parser = arguments("link_codec", __doc__, rounds=7)
    args = parser.parse_args()
    settings = {
        "rounds": args.rounds,
        "payload_bytes": len(PAYLOAD),
        "streams": STREAMS,
        "frames_per_round": FRAMES,
    }
    with Report("link_codec", parser, args) as report:
        title = "The link codec: frames of 200 bytes per second"
        report.add("link_codec", title, [OURS, STRUCT], measure(args.rounds), settings)


if __name__ == "__main__":
    run(main)

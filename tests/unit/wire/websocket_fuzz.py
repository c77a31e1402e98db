"""One entry point for fuzzing the WebSocket reader: any bytes in, an AssertionError for any disagreement."""

from tests.unit.wire.framing import pieces_of
from tests.unit.wire.websocket_frames import read
from tests.unit.wire.websocket_model import Model

MESSAGE_BYTES = (262144, 1, 130, 70000)
FRAMES = (1024, 1, 2, 5)
LIMIT_BYTES = 4096  # the model is slow


def fuzz_websocket(data: bytes) -> None:
    """Reads frames whole, cut, byte by byte and with the model; all must say the same.

        | flags, 1 | cuts, 2 bytes each, as many as bits 5-7 of the flags say | frames ... |

    Bit 0 of the flags refuses binary messages; bits 1-2 and 3-4 choose the limits on bytes and frames of a message.
    """
    if not data:
        return
    flags = data[0]
    limits = {
        "text_only": flags & 1,
        "message_bytes": MESSAGE_BYTES[flags >> 1 & 3],
        "frames": FRAMES[flags >> 3 & 3],
    }
    behind = 1 + 2 * (flags >> 5)
    cuts = [int.from_bytes(data[at : at + 2], "big") for at in range(1, min(behind, len(data)), 2)]
    stream = data[behind : behind + LIMIT_BYTES]
    whole = read([stream], **limits)
    assert read(pieces_of(stream, cuts), **limits) == whole
    assert read(pieces_of(stream, range(len(stream))), **limits) == whole
    assert Model(stream, **limits).read() == whole

"""Records in chunks: small ones together, large ones in pieces, each as MessagePack.

0 · array of records      complete ones
1 · piece                 of an array of one record, to be continued
2 · piece                 the last one
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from megaphone.errors import MoveError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from megaphone.dispatch.moving import Chunk

_TOGETHER, _PIECE, _LAST = b"\0", b"\1", b"\2"
PIECE_BYTES: Final = 512 * 1024
RECORD_LIMIT_BYTES: Final = 512 * 1024 * 1024  # of one record: far more than anything that is bounded elsewhere

_encoder = msgspec.msgpack.Encoder()


def chunks(records: Iterable[msgspec.Struct], limit_bytes: int, limit_records: int) -> Iterator[Chunk]:
    """Yield chunks of about so many bytes and at most so many records; each is encoded when its turn comes."""
    together: list[msgspec.Raw] = []
    size = 0
    for record in records:
        encoded = _encoder.encode(record)
        if together and (size + len(encoded) > limit_bytes or len(together) == limit_records):
            yield _TOGETHER + _encoder.encode(together), ()
            together, size = [], 0
        if len(encoded) > PIECE_BYTES:
            yield from _pieces(_encoder.encode([msgspec.Raw(encoded)]), ())
        else:
            together.append(msgspec.Raw(encoded))
            size += len(encoded)
    if together:
        yield _TOGETHER + _encoder.encode(together), ()


def with_descriptors(record: msgspec.Struct, descriptors: Sequence[int]) -> Iterator[Chunk]:
    """Yield the chunks of one record; descriptors come with the last."""
    yield from _pieces(_encoder.encode([record]), descriptors)


def _pieces(data: bytes, descriptors: Sequence[int]) -> Iterator[Chunk]:
    last = max(0, (len(data) - 1) // PIECE_BYTES * PIECE_BYTES)
    for start in range(0, last, PIECE_BYTES):
        yield _PIECE + data[start : start + PIECE_BYTES], ()
    yield _LAST + data[last:], descriptors


class Assembled:
    """Chunks to the bytes of arrays of records."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def take(self, chunk: bytes) -> bytes | None:
        """Return the array that a chunk completes, or None; MoveError for what is no chunk."""
        kind, data = chunk[:1], chunk[1:]
        if kind == _TOGETHER and not self._pieces:
            return data
        self._size += len(data)
        if kind not in (_PIECE, _LAST) or self._size > RECORD_LIMIT_BYTES:
            raise MoveError("not a chunk of records")
        self._pieces.append(data)
        if kind == _PIECE:
            return None
        complete = b"".join(self._pieces)
        self._pieces, self._size = [], 0
        return complete

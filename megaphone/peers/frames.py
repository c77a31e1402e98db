"""Frames between peers: a length of 4 bytes, big endian, and so many bytes; an empty one says "still here"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from megaphone.errors import PeerError
from megaphone.history.batch import MAX_ENTRY_BYTES

if TYPE_CHECKING:
    import asyncio

LENGTH_BYTES: Final = 4
LIMIT_BYTES: Final = 262_144 + MAX_ENTRY_BYTES + 16_384  # a page and the entry that overfills it, with what is around


def frame(message: bytes) -> bytes:
    """Return the frame of a message."""
    return len(message).to_bytes(LENGTH_BYTES, "big") + message


async def read(reader: asyncio.StreamReader, limit: int = LIMIT_BYTES) -> bytes:
    """Read the next message, b"" for an empty frame; PeerError if it is too long, EOFError where the stream ends."""
    length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
    if length > limit:
        raise PeerError(f"sent a frame of {length} bytes; at most {limit} are taken")
    return await reader.readexactly(length)

"""One entry of a feed, and its id: the hash of its header.

    "mphentry" │ room │ origin │ seq │ clock │ kind │ previous id │ SHA-256(content)
        8         32      32      8      8      1        32              32            = 153 bytes, big endian

The header has the content's hash, not the content: what is erased leaves the chain as it was.
"""

from __future__ import annotations

from enum import IntEnum
from hashlib import sha256
from struct import Struct
from typing import Final, NamedTuple, NewType

from megaphone.history.clock import Clock
from megaphone.history.content import content_hash
from megaphone.history.manifest import RoomID

EntryID = NewType("EntryID", bytes)
"""SHA-256 of an entry's header, 32 bytes."""
Origin = NewType("Origin", bytes)
"""A node's Ed25519 public key, 32 bytes."""

FIRST: Final = EntryID(bytes(32))
"""What stands in place of the previous id in the first entry of a feed."""

HEADER: Final = Struct(">8s32s32sQQB32s32s")
_MAGIC: Final = b"mphentry"


class Kind(IntEnum):
    """What an entry is. Others may come: they are kept and replicated, and not shown."""

    MESSAGE = 1
    SUBJECT = 2
    RETRACTION = 3
    MODERATION = 4
    NOTE = 5


class Entry(NamedTuple):
    """An entry, without its room, origin, seq and previous id, which its place in a feed says."""

    clock: Clock
    kind: int
    content: bytes | None
    """Canonical bytes; None if it is bare: erased, or lost."""
    hash: bytes
    """SHA-256 of the content, also of one that is gone."""


def entry(clock: Clock, kind: int, content: bytes) -> Entry:
    """Return an entry that has its content."""
    return Entry(clock, kind, content, content_hash(content))


def header(room: RoomID, origin: Origin, seq: int, previous: EntryID, each: Entry) -> bytes:
    """Return the 153 bytes of an entry's header."""
    return HEADER.pack(_MAGIC, room, origin, seq, each.clock, each.kind, previous, each.hash)


def entry_id(room: RoomID, origin: Origin, seq: int, previous: EntryID, each: Entry) -> EntryID:
    """Return the id of the entry at `seq` of a feed, after the entry with the id `previous`."""
    return EntryID(sha256(header(room, origin, seq, previous, each)).digest())

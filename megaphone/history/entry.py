"""One entry of a feed, and its id: the hash of its header.

    "mphentry" │ room │ origin │ seq │ clock │ kind │ previous id │ SHA-256(content)
        8         32      32      8      8      1        32              32            = 153 bytes, big endian

The header has the content's hash, not the content: what is erased leaves the chain as it was.
"""

from __future__ import annotations

import base64
import binascii
from enum import IntEnum
from hashlib import sha256
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple, NewType, cast

from megaphone.history.clock import Clock
from megaphone.history.content import content_hash
from megaphone.history.manifest import RoomID

if TYPE_CHECKING:
    from collections.abc import Iterable

EntryID = NewType("EntryID", bytes)
"""SHA-256 of an entry's header, 32 bytes."""
Origin = NewType("Origin", bytes)
"""A node's Ed25519 public key, 32 bytes."""

FIRST: Final = EntryID(bytes(32))
"""What stands in place of the previous id in the first entry of a feed."""
MAX_NUMBER: Final = 2**63 - 1
"""The greatest seq and clock, so that databases can keep them."""

HEADER: Final = Struct(">8s32s32sQQB32s32s")
_MAGIC: Final = b"mphentry"
_REST: Final = Struct(">QQB32s32s")  # what of a header differs within a feed
_ID_CHARACTERS: Final = 43


class Kind(IntEnum):
    """What an entry is. Others may come: they are kept and replicated, and not shown."""

    MESSAGE = 1
    SUBJECT = 2
    RETRACTION = 3
    """Of an own message (XEP-0424)."""
    MODERATION = 4
    """Of somebody's message (XEP-0425)."""
    NOTE = 5


class Entry(NamedTuple):
    """An entry, without its room, origin, seq and previous id, which its place in a feed says.

    Make one with `entry`, which hashes, or `bare`: whoever has an entry relies on the hash being the content's.
    """

    clock: Clock
    kind: int
    content: bytes | None
    """Canonical bytes; None if it is bare: erased, or lost."""
    hash: bytes
    """SHA-256 of the content, also of one that is gone."""


def entry(clock: Clock, kind: int, content: bytes) -> Entry:
    """Return an entry that has its content."""
    return Entry(clock, kind, content, content_hash(content))


def bare(each: Entry) -> Entry:
    """Return an entry without its content."""
    return Entry(each.clock, each.kind, None, each.hash)


def header(room: RoomID, origin: Origin, seq: int, previous: EntryID, each: Entry) -> bytes:
    """Return the 153 bytes of an entry's header."""
    return HEADER.pack(_MAGIC, room, origin, seq, each.clock, each.kind, previous, each.hash)


def entry_id(room: RoomID, origin: Origin, seq: int, previous: EntryID, each: Entry) -> EntryID:
    """Return the id of the entry at `seq` of a feed, after the entry with the id `previous`."""
    return EntryID(sha256(header(room, origin, seq, previous, each)).digest())


def chain(room: RoomID, origin: Origin, seq: int, previous: EntryID, entries: Iterable[Entry]) -> list[EntryID]:
    """Return the ids of consecutive entries of a feed, of which the first is at `seq`."""
    prefix = _MAGIC + room + origin
    pack = _REST.pack
    id_: bytes = previous
    ids = [
        id_ := sha256(prefix + pack(at, clock, kind, id_, hash_)).digest()
        for at, (clock, kind, _, hash_) in enumerate(entries, seq)
    ]
    return cast("list[EntryID]", ids)


def feed_prefix(room: RoomID, origin: Origin) -> bytes:
    """Return what all headers of a feed begin with, for `next_id`."""
    return _MAGIC + room + origin


def next_id(prefix: bytes, seq: int, previous: EntryID, each: Entry) -> EntryID:
    """Return the id of one entry of a feed."""
    rest = _REST.pack(seq, each.clock, each.kind, previous, each.hash)
    return sha256(prefix + rest).digest()  # type: ignore[return-value]  # in the innermost loop


def stanza_id(id_: EntryID) -> str:
    """Return an entry's id as clients see it (XEP-0359): base64url without padding, 43 characters."""
    return base64.urlsafe_b64encode(id_).rstrip(b"=").decode()


def from_stanza_id(text: str) -> EntryID | None:
    """Return the entry's id that `stanza_id` has written so; None if it is none."""
    if len(text) != _ID_CHARACTERS:
        return None
    try:
        id_ = EntryID(base64.b64decode(text.encode("ascii") + b"=", b"-_", validate=True))
    except (UnicodeEncodeError, binascii.Error):
        return None
    return id_ if stanza_id(id_) == text else None

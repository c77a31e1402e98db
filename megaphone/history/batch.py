"""A batch: consecutive entries of one feed, vouched for by one signature over the last of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from megaphone.history.entry import Entry, EntryID, Origin
    from megaphone.history.manifest import RoomID

SEAL: Final = b"megaphone seal 1"
MAX_ENTRIES: Final = 1024
MAX_ENTRY_BYTES: Final = 262_144
MAX_BYTES: Final = 1_048_576


class Batch(NamedTuple):
    """Entries `seq`, `seq + 1`, … of an origin's feed in a room, 1 to 1,024 of them."""

    room: RoomID
    origin: Origin
    seq: int
    """Of the first entry, from 1."""
    previous: EntryID
    """Id of the entry before the first; 32 zeros at seq 1."""
    entries: tuple[Entry, ...]
    seal: bytes
    """Signature over the last entry, 64 bytes; empty if the entry after the last is known, and says its id."""


def sealed(entry: EntryID) -> bytes:
    """Return what an origin signs to vouch for an entry and all before it."""
    return SEAL + entry

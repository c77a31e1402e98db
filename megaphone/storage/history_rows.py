"""The rows of histories as they are, and which of them are good: whose id is the hash of their header.

SQLite has no checksums. A row may say anything if the disk changed it, so that types and ranges are looked at, too.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from zlib import crc32

from megaphone.errors import HistoryError
from megaphone.history.clock import Clock
from megaphone.history.content import decode
from megaphone.history.entry import FIRST, Entry, EntryID, Origin, entry_id
from megaphone.history.manifest import Manifest, RoomID
from megaphone.history.ports import Placed, Tip
from megaphone.history.tombstones import TOMBSTONES

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST: Final = 2**63 - 1
ID_BYTES: Final = 32


def target_of(each: Entry) -> EntryID | None:
    """Return what an entry erases, if it is a tombstone that has its content."""
    if each.kind not in TOMBSTONES or each.content is None:
        return None
    try:
        target = decode(each.content).target
    except HistoryError:
        return None
    return EntryID(target) if target is not None and is_id(target) else None


class RoomRow(NamedTuple):
    """A room, whose manifest may be wrong."""

    number: int
    id: RoomID
    kind: str
    name: str

    @property
    def manifest(self) -> Manifest:
        """What the row says."""
        return Manifest(self.kind, self.name)

    @property
    def is_good(self) -> bool:
        """Whether the id is that of the manifest."""
        return self.manifest.id == self.id

    @property
    def title(self) -> str:
        """What people call it; its id if its name is wrong."""
        return self.name if self.is_good else self.id.hex()


class FeedRow(NamedTuple):
    """A feed: the number of its rows, whose it is, what came last, and from where on it is excluded."""

    number: int
    origin: Origin
    tip: Tip | None
    """The last entry that ever was here; None if there was none, or if the note of it is damaged."""
    has_tip: bool
    excluded: int | None
    proof: bytes
    suspect: bool


class Run(NamedTuple):
    """Entries `seq` to `seq + length - 1` in the rows from `n` on."""

    n: int
    seq: int
    length: int
    previous: EntryID | None

    @property
    def last(self) -> int:
        """Seq of the last entry."""
        return self.seq + self.length - 1


class Day(NamedTuple):
    """The digest of a feed's entries of a day, and the bytes of their contents."""

    day: int
    entries: int
    sum: int
    bytes: int


class EntryRow(NamedTuple):
    """An entry as its row has it; the values may be of any type."""

    seq: int
    n: int
    previous: Any
    clock: Any
    kind: Any
    id: Any
    hash: Any
    content: Any

    def entry(self) -> Entry | None:
        """Return the entry; None if there is none with these values."""
        if not is_number(self.clock) or not is_number(self.kind) or self.kind > 255:
            return None
        if isinstance(self.content, bytes):
            return Entry(Clock(self.clock), self.kind, self.content, sha256(self.content).digest())
        if self.content is not None or not is_id(self.hash):
            return None
        return Entry(Clock(self.clock), self.kind, None, self.hash)


def is_number(value: object) -> bool:
    """Whether a value is an integer from 0 up that SQLite can hold."""
    return isinstance(value, int) and 0 <= value <= LARGEST


def is_id(value: object) -> bool:
    """Whether a value may be an id, a hash or a key."""
    return isinstance(value, bytes) and len(value) == ID_BYTES


def write_tip(tip: Tip) -> bytes:
    """Return how the place of a feed's last entry is kept: with a checksum, for no other row says it."""
    data = tip.seq.to_bytes(8) + tip.id + tip.clock.to_bytes(8)
    return data + crc32(data).to_bytes(4)


def read_tip(data: object) -> Tip | None:
    """Return the place of a feed's last entry; None if the bytes are damaged."""
    if not isinstance(data, bytes) or len(data) != 20 + ID_BYTES or crc32(data[:-4]).to_bytes(4) != data[-4:]:
        return None
    clock = Clock(int.from_bytes(data[-12:-4]))
    return Tip(int.from_bytes(data[:8]), EntryID(data[8:-12]), clock)


class Chain:
    """Follows a feed: which rows are good, given the ids of those before them. Rows come by seq."""

    __slots__ = ("_candidates", "_expected", "_origin", "_room")

    def __init__(self, room: RoomID, origin: Origin, before: Sequence[EntryID] = (), first: int = 0) -> None:
        """`before`: what the id of the entry before `first` may be."""
        self._room = room
        self._origin = origin
        self._expected = first
        self._candidates: tuple[EntryID, ...] = tuple(before)

    def copy(self) -> Chain:
        """Return a chain that has got as far."""
        return Chain(self._room, self._origin, self._candidates, self._expected)

    def follow(self, row: EntryRow) -> Placed | None:
        """Return the entry of a row; None if it is damaged."""
        candidates = self._candidates if row.seq == self._expected else ()
        if row.seq == 1:
            candidates = (FIRST,)
        if is_id(row.previous):
            candidates = (EntryID(row.previous), *candidates)
        self._expected = row.seq + 1
        stored = EntryID(row.id) if is_id(row.id) else None
        each = row.entry() if is_number(row.seq) else None
        if each is None:
            self._candidates = () if stored is None else (stored,)
            return None
        for previous in candidates:
            id_ = entry_id(self._room, self._origin, row.seq, previous, each)
            if id_ == stored:
                self._candidates = (id_,)
                return Placed(self._origin, row.seq, id_, previous, each)
        # the next one's previous id is what this row should have had: as it is stored or, if the id itself was
        # altered, as it is hashed
        hashed = [entry_id(self._room, self._origin, row.seq, previous, each) for previous in candidates[:2]]
        self._candidates = (*hashed, *(() if stored is None else (stored,)))
        return None

"""What two replicas say to each other: every message, and the bounds of all that is in it.

A room is named by its whole id where the other may not expect it, else by the first 8 bytes of that (`ref`); an origin
by the first 8 bytes of its key, unless the sender knows two that begin so: then by all 32, in the whole message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, TypeAlias

from megaphone.history.batch import MAX_ENTRY_BYTES

if TYPE_CHECKING:
    from megaphone.history.digest import Digest
    from megaphone.history.manifest import Manifest, RoomID

REF_BYTES: Final = 8
"""Of a room or an origin, where these are enough."""
KEY_BYTES: Final = 32
SYMBOLS_KEY_BYTES: Final = 16
MARK_BYTES: Final = 4
"""Of the SHA-256 of a proof: whether both have the same one."""
PAGE_BYTES: Final = 262_144
"""Of batches in one message; one entry more may be in it."""
MAX_BYTES: Final = PAGE_BYTES + MAX_ENTRY_BYTES + 4096
MAX_HEADS: Final = 4096
MAX_EXCLUSIONS: Final = 1024
MAX_RANGES: Final = 256
MAX_DAYS: Final = 8192
MAX_CHOSEN_DAYS: Final = 64
MAX_WANTED: Final = 8192
MAX_SYMBOLS: Final = 8192
MAX_SAMPLE: Final = 32
MAX_NAME: Final = 3072
"""Bytes of a room's kind or name; a JID has at most 3,071 (RFC 7622 section 3.1)."""
LAST_DAY: Final = 65_535


class Head(NamedTuple):
    """How far the sender has got in a feed."""

    origin: bytes
    """8 bytes of the key, or all 32."""
    seq: int


class Exclusion(NamedTuple):
    """Of whom the sender has a proof that he forked his feed."""

    origin: bytes
    """8 bytes of the key, or all 32."""
    seq: int
    """From which seq on nothing counts."""
    mark: bytes
    """First 4 bytes of the proof's SHA-256."""


class Range(NamedTuple):
    """Entries of a feed that somebody asks for."""

    origin: bytes
    """8 bytes of the key, or all 32."""
    first: int
    last: int
    """Included; 0: up to the head."""
    is_pinned: bool = False
    """The asker knows the id of `last`, so that it needs no seal."""


class Scope(NamedTuple):
    """Which of a room's entries a table of symbols is about."""

    from_day: int
    days: tuple[int, ...]
    """Only these, rising; none: all from `from_day` on."""
    sample: int
    """Only those ids whose first 8 bytes, the lowest first, have that many zero bits at their lower end."""


@dataclass(frozen=True, slots=True)
class Heads:
    """What I have; tell me what I lack. The answer is `Same`, `Unknown`, or whatever helps."""

    type: ClassVar[int] = 1
    room: RoomID
    from_day: int
    """What is older does not count, and is not wanted."""
    digest: Digest
    """Over all days from `from_day` on."""
    heads: tuple[Head, ...]
    exclusions: tuple[Exclusion, ...] = ()
    has_gaps: bool = False
    """The sender knows what it lacks between entries, and will ask for it."""
    is_end: bool = False
    """The last of those that a conversation begins with."""
    is_answer: bool = False
    """The peer's heads were about days that are not kept here."""


@dataclass(frozen=True, slots=True)
class End:
    """Nothing to begin a conversation with."""

    type: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class Same:
    """I have the same."""

    type: ClassVar[int] = 3
    ref: bytes


@dataclass(frozen=True, slots=True)
class Unknown:
    """I do not keep that room."""

    type: ClassVar[int] = 4
    ref: bytes


@dataclass(frozen=True, slots=True)
class Interested:
    """I have nothing of this room yet. The answer is `Info`, after `ManifestOf` if that is wanted; or `Unknown`."""

    type: ClassVar[int] = 5
    room: RoomID
    from_day: int
    wants_manifest: bool = False


@dataclass(frozen=True, slots=True)
class ManifestOf:
    """What a room is called; its id is the hash of that."""

    type: ClassVar[int] = 6
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Info:
    """The newest page of a room, and what the rest is: to be asked for in the background."""

    type: ClassVar[int] = 7
    room: RoomID
    from_day: int
    digest: Digest
    heads: tuple[Head, ...]
    batches: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Get:
    """Send me these entries, as many as there is room for, the last of each first. The answer is `Batches`."""

    type: ClassVar[int] = 8
    ref: bytes
    from_day: int
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Batches:
    """Entries of feeds. The last message of an answer has the sender's digest."""

    type: ClassVar[int] = 9
    ref: bytes
    from_day: int
    digest: Digest | None
    is_complete: bool
    """There is nothing more of what was asked for."""
    batches: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Push:
    """A batch that is new."""

    type: ClassVar[int] = 10
    batch: bytes


@dataclass(frozen=True, slots=True)
class Days:
    """The digest of each day; the answer is `More` for those that differ."""

    type: ClassVar[int] = 11
    ref: bytes
    from_day: int
    days: tuple[tuple[int, Digest], ...]


@dataclass(frozen=True, slots=True)
class Symbols:
    """Symbols of a set of ids (riblt.pyx), from `first` on; the answer is `More`, or `Want` when they are enough."""

    type: ClassVar[int] = 12
    ref: bytes
    scope: Scope
    key: bytes
    """Of the checksums, 16 bytes."""
    size: int
    """Of the set."""
    first: int
    symbols: bytes


@dataclass(frozen=True, slots=True)
class More:
    """Send me so many symbols, from `first` on; the answer is `Symbols`."""

    type: ClassVar[int] = 13
    ref: bytes
    scope: Scope
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Want:
    """Send me the entries whose ids begin so; the answer is `Batches`."""

    type: ClassVar[int] = 14
    ref: bytes
    prefixes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Proofs:
    """The proof that an origin has forked its feed."""

    type: ClassVar[int] = 15
    ref: bytes
    proof: bytes


@dataclass(frozen=True, slots=True)
class WantProofs:
    """Send me your proofs against these origins."""

    type: ClassVar[int] = 16
    ref: bytes
    origins: tuple[bytes, ...]


Message: TypeAlias = (
    Heads
    | End
    | Same
    | Unknown
    | Interested
    | ManifestOf
    | Info
    | Get
    | Batches
    | Push
    | Days
    | Symbols
    | More
    | Want
    | Proofs
    | WantProofs
)

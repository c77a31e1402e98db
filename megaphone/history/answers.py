"""What a log says to a batch: what is new in it, why it is refused, what is missing before it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from megaphone.history.entry import Origin
    from megaphone.history.forks import Proof
    from megaphone.history.ports import Placed


class Refusal(StrEnum):
    """Why a batch, or a part of it, is not taken. The words are `HistoryError.reason` too."""

    UNKNOWN_ROOM = "unknown-room"
    """It is one of another room."""
    UNKNOWN_ORIGIN = "unknown-origin"
    """Nobody trusts its origin here."""
    EXCLUDED = "excluded"
    """Its origin is excluded from before its first entry on."""
    TOO_LARGE = "too-large"
    """An entry of more than 256 KiB, or too many of them, or too many that wait to be sealed."""
    MALFORMED = "malformed"
    """The bytes are no batch, or a content is none."""
    CLOCK_ORDER = "clock-order"
    """The clock does not rise from each entry to the next."""
    CLOCK_AHEAD = "clock-ahead"
    """The clock is more than 60 seconds ahead of ours."""
    BAD_CHAIN = "bad-chain"
    """It contradicts what is known, and nothing vouches for it."""
    BAD_SEAL = "bad-seal"
    """The signature is wrong, or is missing where the next entry is not known."""
    FORGED_AUTHOR = "forged-author"
    """The signature of an author is wrong."""
    FORK = "fork"
    """Its origin has signed something else at the same seq: it is excluded from there on, and this is the proof."""
    TOO_MANY_GAPS = "too-many-gaps"
    """So many runs of this feed are here without what is between them that another one is not taken."""
    DUPLICATE = "duplicate"
    """All of it is known: no fault, and nothing has changed."""


class Missing(NamedTuple):
    """Entries of a feed to ask others for: `first` to `last` seq, both included."""

    origin: Origin
    first: int
    last: int
    content: bool = False
    """The entries are here, but bare, and no tombstone says why."""


class Accepted(NamedTuple):
    """The answer to a batch. A fork can come with entries: those before it are still good."""

    new: tuple[Placed, ...] = ()
    """In the order of the feed; without its content is what was erased before it came."""
    refusal: Refusal | None = None
    missing: tuple[Missing, ...] = ()
    """The gap before this batch, and contents that it came without."""
    fork: Proof | None = None
    """What to tell all others."""
    restored: tuple[Placed, ...] = ()
    """Known entries that were bare, and have their contents back."""

"""One room in a conversation: where its exchange stands, and what is known of the peer."""

from __future__ import annotations

from enum import Enum, auto
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

from megaphone.history import clock as clocks
from megaphone.history import digest as digests
from megaphone.history.messages import (
    KEY_BYTES,
    MARK_BYTES,
    MAX_EXCLUSIONS,
    MAX_HEADS,
    REF_BYTES,
    Exclusion,
    Head,
    Heads,
)
from megaphone.history.sync_answers import Vault
from megaphone.history.sync_lacks import Lacks, ambiguous

if TYPE_CHECKING:
    from collections.abc import Iterable

    from megaphone.history.digest import Digest
    from megaphone.history.entry import EntryID, Origin
    from megaphone.history.log import Log
    from megaphone.history.manifest import RoomID
    from megaphone.history.ports import Placed
    from megaphone.history.replica import Replica
    from megaphone.history.sync_repair import Finder, Giver


class State(Enum):
    """Where the exchange about a room stands, on our side."""

    NEW = auto()
    """Nothing has been said."""
    OFFERED = auto()
    """Our heads are out."""
    PULLING = auto()
    """Entries are on their way that we asked for."""
    REPAIRING = auto()
    """Days or symbols are on their way, or entries that they have shown us to lack."""
    SETTLED = auto()
    """Nothing is under way that we wait for."""
    ABSENT = auto()
    """The peer does not keep the room."""


WAITING = frozenset({State.OFFERED, State.PULLING, State.REPAIRING})


class Topic:
    """A room that both may keep: what is remembered of it. What happens when, `Conversation` says."""

    def __init__(self, replica: Replica, room: RoomID) -> None:
        self.replica = replica
        self.room = room
        self.ref = room[:REF_BYTES]
        self.log: Log = replica.logs[room]
        self.lacks = Lacks(self.log, replica.store, replica.from_day(room))
        self.state = State.NEW
        self.is_interested = False
        """Whether the peer wants to be told what is new."""
        self.peer_from_day = 0
        self.peer_has_gaps = False
        """Whether the peer knows what it lacks, and has not asked for it yet."""
        self.agreed: Digest | None = None
        """Of the entries that both have, as far as we know; None if we do not."""
        self.offered: Digest | None = None
        """The last of ours that the peer was told."""
        self.told: dict[Origin, tuple[int, bytes]] = {}
        """Exclusions that the peer knows: seq, and mark of the proof."""
        self.giver: Giver | None = None
        self.finder: Finder | None = None
        self.tables = 0
        """Messages with symbols that came in this exchange."""
        self.due_ms = 0
        """While we wait: when we do so no longer. Else: when digests may be compared again."""
        self.has_progressed = True
        """Whether anything that helps has come since we last asked."""
        self.strikes = 0
        """How often in a row we have asked, and nothing came that helped."""
        self.failures = 0
        """How often in a row an exchange has not ended with the same digests."""
        self.seen_version = -1
        """Version of the room when its digest was last compared with `agreed`."""
        self.confirmed_version = -1
        """Version of the room when the peer last said that it has the same."""
        self.recheck_ms: int | None = None
        """When to ask whether it still has, because the room has changed since."""
        self.gap_since_ms: int | None = None
        self.is_live = False
        """Whether something was pushed, either way, since we told our heads."""
        self.owes_word = False
        """Whether the peer waits for us to say how an exchange ends, because we have asked last."""

    @property
    def window(self) -> int:
        """From which day on entries count for both."""
        return max(self.replica.from_day(self.room), self.peer_from_day)

    def digest(self) -> Digest:
        """Return ours, over what counts for both."""
        return self.replica.digest(self.room, self.window)

    def vault(self) -> Vault:
        """Return what is here, to be given out."""
        return Vault(self.room, self.replica.store, self.log.spans, self.log.exclusions)

    def heads(self, *, is_end: bool = False, is_answer: bool = False) -> Heads:
        """Return what we have to offer."""
        size = KEY_BYTES if ambiguous(self.log) else REF_BYTES
        return Heads(
            self.room,
            self.window,
            self.digest(),
            tuple(Head(origin[:size], seq) for origin, seq in list(self.log.heads().items())[:MAX_HEADS]),
            tuple(
                Exclusion(origin[:size], seq, mark(proof))
                for origin, (seq, proof) in list(self.log.exclusions.items())[:MAX_EXCLUSIONS]
            ),
            has_gaps=self.lacks.has_gaps,
            is_end=is_end,
            is_answer=is_answer,
        )

    def settle(self, digest: Digest | None) -> None:
        """End the exchange; with the digest, if both have the same."""
        self.state = State.SETTLED
        self.agreed = digest
        self.giver = self.finder = None
        self.tables = 0
        self.has_progressed = True
        self.strikes = 0
        self.owes_word = False
        if digest is not None:
            self.lacks.peer_heads = {}
            self.failures = 0

    def confirm(self, digest: Digest) -> None:
        """End the exchange: the peer itself says that it has what we had when we said so."""
        self.settle(digest)
        if digest == self.digest():
            self.confirmed_version = self.replica.version(self.room)
            self.recheck_ms = None

    def share(self, placed: Iterable[Placed]) -> None:
        """Note that the peer has these entries too, which are new here."""
        if self.agreed is not None:
            self.agreed = self.agreed.plus(digests.of(self.counting(placed)))

    def counting(self, placed: Iterable[Placed]) -> list[EntryID]:
        """Return the ids of those entries that count for both."""
        return [each.id for each in placed if clocks.day(each.entry.clock) >= self.window]


@lru_cache(MAX_EXCLUSIONS)
def mark(proof: bytes) -> bytes:
    """Return what a proof is told by."""
    return sha256(proof).digest()[:MARK_BYTES]

"""What may be acknowledged when: XEP-0198's `<a/>`, and the confirmations between workers.

A client that has stream management takes an acknowledged message for safe. It is safe as soon as it is in SQLite, or
the client it is for has acknowledged it, or the home it was sent to has said the same, or a node that was asked to take
it. All count upwards, so whatever waits, waits in one row:

    asked ─► (do it, when the store has committed n, peer 1 has confirmed a …, and the first m requests are answered)

What is told to other nodes waits for the store alone, else two nodes that have asked each other would wait for ever.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Writes(Protocol):
    """The part of a store that counts: every write has a number, and all up to `committed` are durable."""

    @property
    def position(self) -> int:
        """The number of the last write that was queued."""

    @property
    def committed(self) -> int:
        """The number up to which all writes are durable."""


class Peers(Protocol):
    """The part of the bus that counts."""

    @property
    def index(self) -> int:
        """Which worker we are."""

    @property
    def workers(self) -> int:
        """How many there are."""

    def promised(self, peer: int) -> int:
        """The serial of the last frame to this peer that was to be kept."""

    def has_confirmed(self, peer: int) -> int:
        """The serial up to which it has confirmed these."""


class Promises:
    """The promises of one worker, kept in the order in which they were made."""

    def __init__(self, writes: Writes, peers: Peers | None) -> None:
        self._writes = writes
        self._peers = peers
        self._others = [] if peers is None else [peer for peer in range(peers.workers) if peer != peers.index]
        self._waiting: deque[tuple[Callable[[], object], int, tuple[tuple[int, int], ...], int]] = deque()
        self._local: deque[tuple[Callable[[], object], int, int]] = deque()
        self._stored: deque[tuple[Callable[[], object], int]] = deque()
        self._asked = 0  # requests to other nodes so far
        self._unanswered: dict[int, None] = {}  # their numbers, in order
        self._held: frozenset[str] = frozenset()

    def hold(self, held: bool, what: str = "") -> None:
        """Keep nothing for a while: something (`what`) has been delivered that could not be written."""
        self._held = self._held | {what} if held else self._held - {what}
        self.look()

    def ask(self) -> int:
        """Note that another node is asked to take something; returns the number to give to `answered`."""
        self._asked += 1
        self._unanswered[self._asked] = None
        return self._asked

    def answered(self, number: int) -> None:
        """It has been taken, or what follows from its refusal is safe."""
        self._unanswered.pop(number, None)
        self.look()

    @property
    def _answered(self) -> int:
        """The number up to which all requests are answered."""
        return next(iter(self._unanswered), self._asked + 1) - 1

    def __len__(self) -> int:
        return len(self._waiting) + len(self._local) + len(self._stored)

    @property
    def all_kept(self) -> bool:
        """Whether everything that was sent or written so far is safe."""
        return (
            self._is_written
            and not self._waiting
            and not self._unanswered
            and not any(map(self._unconfirmed, self._others))
        )

    @property
    def settled(self) -> bool:
        """Whether nothing waits for the store or other nodes any more, but perhaps for peers."""
        return self._is_written and not (self._local or self._stored or self._unanswered)

    @property
    def _is_written(self) -> bool:
        position = self._writes.position  # first: to ask for it may show that something cannot be written
        return not self._held and self._writes.committed >= position

    @property
    def only_written(self) -> bool:
        """Whether what was taken so far is safe as soon as it is written, without anybody else's answer."""
        return not self._held and not self._unanswered

    @property
    def held(self) -> bool:
        """Whether something has been delivered that could not be written."""
        return bool(self._held)

    def waiting(self) -> Iterator[tuple[Callable[[], object], tuple[tuple[int, int], ...]]]:
        """Yield what waits for peers, and for which of their serials."""
        return ((keep, serials) for keep, _, serials, _ in self._waiting)

    def restore(self, keep: Callable[[], object], serials: tuple[tuple[int, int], ...]) -> None:
        """Keep what another process has promised, as soon as these serials are confirmed."""
        self._waiting.append((keep, 0, serials, 0))

    def when_safe(self, keep: Callable[[], object]) -> None:
        """Call `keep` as soon as everything that was sent or written so far is safe; at once if it is already."""
        if self.all_kept:
            keep()
            return
        serials = tuple((peer, serial) for peer in self._others if (serial := self._unconfirmed(peer)))
        self._waiting.append((keep, self._writes.position, serials, self._asked))

    def when_written(self, keep: Callable[[], object]) -> None:
        """Call `keep` as soon as everything that came here so far is durable, whatever peers have confirmed."""
        if self._is_written and not self._local and not self._unanswered:
            keep()
        else:
            self._local.append((keep, self._writes.position, self._asked))

    def when_stored(self, keep: Callable[[], object]) -> None:
        """Call `keep` as soon as everything that was written here so far is durable, whatever others have answered."""
        if self._is_written and not self._stored:
            keep()
        else:
            self._stored.append((keep, self._writes.position))

    def look(self) -> None:
        """Keep what can be kept: after a commit, and after a confirmation."""
        if self._held:
            return
        committed = self._writes.committed
        while self._stored and self._stored[0][1] <= committed:
            self._stored.popleft()[0]()
        while self._local and self._local[0][1] <= committed and self._local[0][2] <= self._answered:
            self._local.popleft()[0]()
        while (
            self._waiting
            and self._waiting[0][1] <= committed
            and self._waiting[0][3] <= self._answered
            and self._confirmed(self._waiting[0][2])
        ):
            self._waiting.popleft()[0]()

    def _unconfirmed(self, peer: int) -> int:
        """The serial to wait for; 0 if there is nothing to wait for."""
        assert self._peers is not None  # noqa: S101 - there are no others without peers
        promised = self._peers.promised(peer)
        return promised if promised > self._peers.has_confirmed(peer) else 0

    def _confirmed(self, serials: tuple[tuple[int, int], ...]) -> bool:
        peers = self._peers
        return peers is None or all(peers.has_confirmed(peer) >= serial for peer, serial in serials)

"""What a node knows of the store of rows: which of its rows the store has, and where a reading may go on. No I/O.

    all was read ─► a mark is put: random bytes at a revision ─► it is heard again: from here on it counts
    the store was away ─┬─► the mark is there, at that revision: what came after it is read, and what we had found
                        │   after it must be among that
                        └─► it is not, or another: the store is an older or a new one; all of it is read

One bit is kept for each row while all is read, and after that the numbers of those that were found after the mark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from megaphone.bus.keys import Change

MARKS: Final = "mark."  # what keys begin with that are no rows
OWN_LIMIT: Final = 4096  # revisions of ours that are remembered until they are heard
SINCE_LIMIT: Final = 16_384  # rows that are found after a mark before the next one is put


class Seen:
    """Numbers of versions that the store has been found to have: one bit each."""

    __slots__ = ("_bits",)

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, number: int) -> None:
        """Take note of one."""
        at = number >> 3
        if at >= len(self._bits):
            self._bits.extend(bytes(max(at + 1 - len(self._bits), 4096)))
        self._bits[at] |= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        at = number >> 3
        return at < len(self._bits) and bool(self._bits[at] >> (number & 7) & 1)


class StoreView:
    """The view of one node, whose marks have the key `mark_key`."""

    def __init__(self, origin: bytes) -> None:
        self.mark_key = MARKS + origin.hex()
        self.mark: tuple[int, bytes] | None = None
        """Revision and value of the mark from which a reading may go on."""
        self._doubtful = False  # something in the store cannot be used: all of it is to be read the next time
        self._putting: bytes | None = None  # the value of a mark that we have not heard yet
        self._since: set[int] = set()  # numbers found since the mark
        self._since_next: set[int] = set()  # ... since the one that is being put
        self._expected: set[int] = set()  # what a reading from the mark on must find
        self._seen = Seen()
        self._own: set[int] = set()
        self._heard_to = 0

    def begin(self, *, from_mark: bool) -> None:
        """A reading begins: of all, or from the mark on."""
        if not from_mark:
            self.mark = None
        self._expected = self.expected_next if from_mark else set()
        self._doubtful = False
        self._since = set(self._expected)
        self._putting = None
        self._since_next = set()
        self._seen = Seen()
        self._own = set()
        self._heard_to = self.mark[0] if self.mark is not None else 0

    # --- rows ------------------------------------------------------------

    def found(self, number: int) -> None:
        """The store has this version, or a later one."""
        self._seen.add(number)
        if self._doubtful:
            return
        self._since.add(number)
        if self._putting is not None:
            self._since_next.add(number)

    def told(self, number: int, revision: int) -> None:
        """The store has taken this version."""
        self.found(number)
        if revision > self._heard_to and len(self._own) < OWN_LIMIT:
            self._own.add(revision)

    def unseen(self, numbers: Iterable[int]) -> list[int]:
        """Return those of these versions that the store has not been found to have."""
        return [number for number in numbers if number not in self._seen]

    @property
    def expected(self) -> list[int]:
        """What a reading from the mark on must have found at its end."""
        return sorted(self._expected)

    @property
    def expected_next(self) -> set[int]:
        """What a reading from the mark on would have to find if it began now."""
        return self._since | self._since_next

    # --- changes ------------------------------------------------------------

    def rows_of(self, changes: Sequence[Change]) -> list[Change]:
        """Return the changes that say something new about rows, and that not only we have said."""
        return [
            change
            for change in changes
            # the store forgets an old deletion, or loses a row: that is no word about the row
            if change.value is not None and change.revision not in self._own and not change.key.startswith(MARKS)
        ]

    def heard(self, changes: Sequence[Change]) -> None:
        """These changes, and all before, have been taken."""
        self._heard_to = changes[-1].revision
        self._own = {revision for revision in self._own if revision > self._heard_to}
        for change in changes:
            if change.key == self.mark_key and self._putting is not None and change.value == self._putting:
                self.mark = (change.revision, self._putting)
                self._since, self._since_next, self._putting = self._since_next, set(), None

    # --- marks ------------------------------------------------------------

    @property
    def mark_due(self) -> bool:
        """Whether a mark should be put, now that all has been read."""
        return not self._doubtful and self._putting is None and (self.mark is None or len(self._since) > SINCE_LIMIT)

    def doubt(self) -> None:
        """Something in the store cannot be used: no reading goes on from here."""
        self._doubtful = True
        self.mark = self._putting = None
        self._since, self._since_next = set(), set()

    def put_mark(self, value: bytes) -> None:
        """A mark with this value is going to be put."""
        self._putting = value
        self._since_next = set()

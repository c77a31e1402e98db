"""Slows down whoever guesses passwords: too many failed logins lock an address or an account for a short while.

Only failures are counted, in a table of fixed size; workers tell each other of them (embedded.guesses). An account's
lock is short, because somebody else can cause it; an address has to wait longer. Unknown accounts are counted like
known ones, so the answer tells nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

Failures = tuple[int, float, float]  # how many, when the last was, until when nothing is tried: Unix seconds


@dataclass(frozen=True, slots=True)
class LockPolicy:
    """The first `free_failures` cost nothing; then each locks twice as long as the one before."""

    free_failures: int
    first_lock_seconds: float
    longest_lock_seconds: float
    forget_seconds: float = 900.0  # without a failure for so long, all is forgotten
    entries: int = 16_384  # the one that failed least recently makes room


ADDRESS_POLICY = LockPolicy(free_failures=20, first_lock_seconds=2.0, longest_lock_seconds=300.0)  # many behind one NAT
ACCOUNT_POLICY = LockPolicy(free_failures=8, first_lock_seconds=1.0, longest_lock_seconds=30.0)


class FailedLogins:
    """The failures of one kind of key: addresses (an IPv6 client's is its /64), or accounts."""

    __slots__ = ("_failures", "policy", "touched")

    def __init__(self, policy: LockPolicy) -> None:
        self.policy = policy  # may be replaced; it counts for the next failure
        self._failures: OrderedDict[Hashable, Failures] = OrderedDict()
        self.touched: set[Hashable] | None = None  # while they move to another process: whose have changed

    def __len__(self) -> int:
        return len(self._failures)

    def locked(self, key: Hashable, now: float) -> bool:
        """Say whether a login must be refused without a look at its password; `now` is in Unix seconds."""
        entry = self._failures.get(key)
        return entry is not None and now < entry[2]

    def failed(self, key: Hashable, now: float) -> None:
        """Count a wrong password."""
        if self.touched is not None:
            self.touched.add(key)
        policy = self.policy
        count, last, _ = self._failures.pop(key, (0, now, 0.0))
        count = 1 if now - last >= policy.forget_seconds else count + 1
        doublings = min(count - policy.free_failures - 1, 30)
        lock = 0.0 if doublings < 0 else min(policy.first_lock_seconds * 2.0**doublings, policy.longest_lock_seconds)
        self._failures[key] = (count, now, now + lock)
        if len(self._failures) > policy.entries:
            self._failures.popitem(last=False)

    def succeeded(self, key: Hashable) -> bool:
        """Forget the failures of an account whose password was given; False if there were none.

        Not for an address: whoever has one account could go on guessing the others' there.
        """
        if self.touched is not None:
            self.touched.add(key)
        return self._failures.pop(key, None) is not None

    def all(self) -> Iterator[tuple[Hashable, Failures]]:
        """Yield every key with its failures, the one that failed least recently first."""
        yield from self._failures.items()

    def of(self, key: Hashable) -> Failures | None:
        """Return the failures of a key."""
        return self._failures.get(key)

    def put(self, key: Hashable, failures: Failures | None) -> None:
        """Take what another process has counted as it is: the latest of all that are known here."""
        self._failures.pop(key, None)
        if failures is not None:
            self._failures[key] = failures
            if len(self._failures) > self.policy.entries:
                self._failures.popitem(last=False)

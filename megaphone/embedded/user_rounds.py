"""Goes through all users at home in a worker after something was missed, a few at each sweep: to say, ask and forward.

    announce   which sessions each user has here                    after NATS was away, or a node was cut off
    ask        for the presence of each user's contacts             likewise, and after a node has left
    forward    what waits in the store, to who takes it elsewhere   after any node has come

A round that is due while one is under way begins once more behind it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ANNOUNCED_AT_ONCE: Final = 256  # users, 8 times a second
ASKED_AT_ONCE: Final = 192  # contacts
FORWARDED_AT_ONCE: Final = 16  # users


class Rounds:
    """The rounds of one worker. `announce`, `ask_anew` (returns how many it has asked) and `forward` take local parts.

    `waiting(after)` returns the next users with messages in the store, with their numbers, in order; see storage.users.
    """

    def __init__(
        self,
        *,
        announce: Callable[[str], None],
        ask_anew: Callable[[str], int],
        forward: Callable[[str], None],
        waiting: Callable[[int], Sequence[tuple[int, str]]],
    ) -> None:
        self._announce = announce
        self._ask_anew = ask_anew
        self._forward = forward
        self._waiting = waiting
        self._to_announce: deque[str] = deque()
        self._to_ask: deque[str] = deque()
        self._to_forward: deque[str] = deque()
        self._after: int | None = None  # up to whom the store was read; None: not at all

    @property
    def under_way(self) -> bool:
        """Whether something is left to do."""
        return bool(self._to_announce or self._to_ask or self._to_forward) or self._after is not None

    def go(self, users: Sequence[str]) -> None:
        """Begin all rounds."""
        self._to_announce = deque(users)
        self.ask_all(users)
        self.forward_all()

    def ask_all(self, users: Sequence[str]) -> None:
        """Ask for everybody's contacts."""
        self._to_ask = deque(users)

    def forward_all(self) -> None:
        """Look at everything that waits."""
        self._after = 0

    def sweep(self, *, alone: bool) -> bool:
        """Do a little; whether anything was done. A node that is `alone` has nobody to forward to."""
        if not self.under_way:
            return False
        for _ in range(min(ANNOUNCED_AT_ONCE, len(self._to_announce))):
            self._announce(self._to_announce.popleft())
        asked = 0
        while self._to_ask and asked < ASKED_AT_ONCE:
            asked += self._ask_anew(self._to_ask.popleft()) + 1
        if alone:
            self._after = None
            self._to_forward.clear()
        elif self._after is not None and not self._to_forward:
            found = self._waiting(self._after)
            self._after = found[-1][0] if found else None
            self._to_forward.extend(local for _, local in found)
        for _ in range(min(FORWARDED_AT_ONCE, len(self._to_forward))):
            self._forward(self._to_forward.popleft())
        return True

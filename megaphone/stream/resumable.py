"""The sessions that a client may come back to (XEP-0198 section 5): found by their id, ended when their time is over.

    add ──► attached ── detach ──► detached ── expire ──► ended: only how far it had come is remembered, for a while
               ▲                      │
               └────── attach ────────┘

Order is kept by the map itself: all detached sessions wait equally long, so the oldest is always the first to end.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from megaphone.stream.jid import JID

SessionT = TypeVar("SessionT")


@dataclass(frozen=True, slots=True)
class Ended:
    """What is left of a session that has ended: `handled` of its client's stanzas were handled, None if unknown."""

    handled: int | None


class ResumableSessions(Generic[SessionT]):
    """The resumable sessions of the users at home in one worker.

    `seconds` is how long each waits for its client. `remembered` bounds how many ended ones are kept in mind.
    """

    __slots__ = ("_attached", "_detached", "_ended", "_remembered", "seconds")

    def __init__(self, seconds: float, remembered: int = 16_384) -> None:
        self.seconds = seconds
        self._remembered = remembered
        self._attached: dict[str, tuple[JID, SessionT]] = {}
        self._detached: OrderedDict[str, tuple[float, JID, SessionT]] = OrderedDict()
        self._ended: OrderedDict[str, tuple[JID, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._attached) + len(self._detached)

    @property
    def detached_count(self) -> int:
        """How many wait for their client."""
        return len(self._detached)

    @property
    def next_end(self) -> float | None:
        """When the first of those ends that wait, in Unix seconds; None if none waits."""
        return next(iter(self._detached.values()))[0] if self._detached else None

    def add(self, id_: str, account: JID, session: SessionT) -> None:
        """Take in a session that its client may resume; `account` is the bare JID that it belongs to."""
        if id_ in self._attached or id_ in self._detached:
            raise ValueError("two sessions have the same resumption id")
        self._attached[id_] = account, session

    def find(self, previd: str, account: JID) -> SessionT | Ended:
        """Return the session that `account` may resume as `previd`, connected or not; else what is known of it.

        A session of somebody else is as unknown as none at all (answer: item-not-found).
        """
        attached = self._attached.get(previd)
        if attached is not None:
            return attached[1] if attached[0] == account else Ended(None)
        detached = self._detached.get(previd)
        if detached is not None:
            return detached[2] if detached[1] == account else Ended(None)
        ended = self._ended.get(previd)
        return Ended(ended[1] if ended is not None and ended[0] == account else None)

    def detach(self, id_: str, now: float) -> None:
        """Let a session wait whose connection broke."""
        account, session = self._attached.pop(id_)
        self._detached[id_] = now + self.seconds, account, session

    def attach(self, id_: str) -> None:
        """Take a session back that was resumed; one that is connected stays so."""
        waiting = self._detached.pop(id_, None)
        if waiting is not None:
            self._attached[id_] = waiting[1:]

    def end(self, id_: str, handled: int) -> None:
        """Forget a session that is over for whatever reason, but remember how far it had come."""
        attached = self._attached.pop(id_, None)
        detached = self._detached.pop(id_, None)
        account = attached[0] if attached is not None else detached[1] if detached is not None else None
        if account is None:
            return
        self._ended[id_] = account, handled
        if len(self._ended) > self._remembered:
            self._ended.popitem(last=False)

    def expired(self, now: float) -> list[SessionT]:
        """Return the sessions whose time is over; they stay until the host calls `end` for each."""
        found = []
        for ends, _, session in self._detached.values():
            if ends > now:
                break
            found.append(session)
        return found

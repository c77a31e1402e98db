"""Stream management of one session (XEP-0198): what its client has not acknowledged yet is kept, and sent again.

Made when the client enables it; a session without it has none of this. The host calls `sent` for every stanza it sends
and `received` for every stanza it has handled, and asks `wants_request` at the end of a turn.

    sent ──► [ waits for an ack ........................ ]     acknowledged + len(queue) == number of stanzas sent
              ▲ acknowledged(h) cuts here    resume(h): what is left is sent again
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from megaphone.wire.stanza_writer import STANZA_ERROR_CONDITIONS
from megaphone.wire.writer import STREAM_END, escape, stream_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from megaphone.stream.jid import JID

COUNT_MASK = 0xFFFFFFFF  # counts are modulo 2 to the 32nd (section 4)
ID_BYTES = 16

REQUEST = b"<r xmlns='urn:xmpp:sm:3'/>"
# Section 5: the old stream of a session that is resumed while it is still connected.
REPLACED = stream_error("conflict", "The session was resumed on another connection") + STREAM_END


@dataclass(frozen=True, slots=True)
class SMLimits:
    """How much may wait for an acknowledgement, and when one is asked for; shared by all sessions."""

    stanzas: int = 1_000
    bytes: int = 1024 * 1024
    request_every: int = 32  # stanzas, while there is no pause in which to ask


DEFAULT_LIMITS = SMLimits()


class HandledTooManyError(ValueError):
    """A client that acknowledges more than it was sent (section 4); `answer` is the stream error and the end."""

    def __init__(self, h: int, sent: int) -> None:
        super().__init__(f"the client says it has handled {h} stanzas of {sent}")
        detail = b"<handled-count-too-high xmlns='urn:xmpp:sm:3' h='%d' send-count='%d'/>" % (h, sent)
        text = f"You acknowledged {h} stanzas, but only {sent} were sent to you"
        self.answer = stream_error("undefined-condition", text, detail=detail) + STREAM_END


class StreamManagement:
    """The counters and the queue of one session.

    `handled` is how many stanzas of the client were handled, `acknowledged` how many of ours the client has, both
    modulo 2 to the 32nd. `id` is "" for a stream that cannot be resumed.
    """

    __slots__ = ("_queue", "acknowledged", "asked", "handled", "id", "limits", "queued_bytes", "unasked")

    def __init__(self, id_: str = "", limits: SMLimits = DEFAULT_LIMITS) -> None:
        self.id = id_
        self.handled = 0
        self.acknowledged = 0
        self.queued_bytes = 0
        self.limits = limits
        self._queue: list[bytes] = []  # hardly ever long, mostly empty, and then a tenth of a deque
        self.asked = False  # a request is under way
        self.unasked = 0  # stanzas sent behind the last request

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def waiting(self) -> Sequence[bytes]:
        """What waits for an acknowledgement, oldest first."""
        return self._queue

    @property
    def sent_count(self) -> int:
        """How many stanzas were sent, modulo 2 to the 32nd."""
        return (self.acknowledged + len(self._queue)) & COUNT_MASK

    def received(self) -> None:
        """Count one stanza of the client's as handled."""
        self.handled = (self.handled + 1) & COUNT_MASK

    def sent(self, stanza: bytes) -> bool:
        """Keep a stanza until it is acknowledged; it is kept in any case. False if that is over a limit.

        Then the session has to end: with a stream error (resource-constraint) if it is connected, at once if not; what
        it holds is to be given back (`take_all`).
        """
        self._queue.append(stanza)
        self.unasked += 1
        self.queued_bytes += len(stanza)
        return len(self._queue) <= self.limits.stanzas and self.queued_bytes <= self.limits.bytes

    def wants_request(self, *, pause: bool) -> bool:
        """Say whether `<r/>` is to be sent now; if so, the caller sends it, and it counts as sent.

        One request is under way at a time. `pause` says that nothing else is about to be sent: the end of a turn.
        """
        if self.asked or not self.unasked or not (pause or self.unasked >= self.limits.request_every):
            return False
        self.asked = True
        self.unasked = 0
        return True

    def acknowledge(self, h: int) -> int:
        """Take `<a h=.../>`: forget what the client has; how many stanzas that is. HandledTooManyError if it cannot be.

        A count that went back is one that is too high: they differ by 2 to the 32nd only (section 4).
        """
        count = self._forget(h)
        self.asked = False
        return count

    def resume(self, h: int) -> tuple[bytes, ...]:
        """Take the `h` of `<resume/>`; what has to be sent again, in order, after `<resumed/>`.

        It goes on waiting for an acknowledgement. HandledTooManyError as in `acknowledge`.
        """
        self._forget(h)
        self.asked = False
        self.unasked = len(self._queue)
        return tuple(self._queue)

    def take_all(self) -> list[bytes]:
        """Return what the client never acknowledged and forget it: the session is over (section 4, at its end)."""
        stanzas, self._queue = self._queue, []
        self.queued_bytes = self.unasked = 0
        return stanzas

    def _forget(self, h: int) -> int:
        queue = self._queue
        count = (h - self.acknowledged) & COUNT_MASK
        if count > len(queue):
            raise HandledTooManyError(h, self.sent_count)
        if count:
            self.queued_bytes -= sum(map(len, queue[:count]))
            del queue[:count]
        self.acknowledged = h
        self.unasked = min(self.unasked, len(queue))
        return count


class EndedSessions:
    """How far sessions had come that are over: what `<failed/>` tells a client that comes back too late (section 5).

    The latest `limit` are remembered, so that its client need not send again what was handled.
    """

    __slots__ = ("_handled", "_limit", "added")

    def __init__(self, limit: int = 16_384) -> None:
        self._limit = limit
        self._handled: OrderedDict[str, tuple[JID, int]] = OrderedDict()
        self.added: list[tuple[str, JID, int]] | None = None  # while they move to another process: those since

    def add(self, id_: str, account: JID, handled: int) -> None:
        """Remember a resumable session of `account`, a bare JID, that is over."""
        self._handled[id_] = account, handled
        if self.added is not None:
            self.added.append((id_, account, handled))
        if len(self._handled) > self._limit:
            self._handled.popitem(last=False)

    def all(self) -> Iterator[tuple[str, JID, int]]:
        """Yield all that is remembered, oldest first: id, account, how many stanzas were handled."""
        for id_, (account, handled) in self._handled.items():
            yield id_, account, handled

    def handled(self, previd: str, account: JID) -> int | None:
        """Return how many stanzas of the client were handled; None if that is not known, or is not `account`'s."""
        found = self._handled.get(previd)
        return found[1] if found is not None and found[0] == account else None


def resumption_id(token: Callable[[int], bytes]) -> str:
    """Return an id that nobody can guess; `token(n)` returns n such bytes."""
    return token(ID_BYTES).hex()


def answer(handled: int) -> bytes:
    """Return `<a/>`, the answer to the client's `<r/>`."""
    return b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % handled


def enabled(id_: str = "", max_seconds: int = 0) -> bytes:
    """Return `<enabled/>` (section 3); with an id it can be resumed for `max_seconds` after its connection broke."""
    if not id_:
        return b"<enabled xmlns='urn:xmpp:sm:3'/>"
    return b"<enabled xmlns='urn:xmpp:sm:3' id='%b' max='%d' resume='true'/>" % (escape(id_), max_seconds)


def resumed(previd: str, handled: int) -> bytes:
    """Return `<resumed/>` (section 5): the session `previd` goes on, `handled` of the client's stanzas were handled."""
    return b"<resumed xmlns='urn:xmpp:sm:3' h='%d' previd='%b'/>" % (handled, escape(previd))


def failed(condition: str, h: int | None = None) -> bytes:
    """Return `<failed/>` (sections 3 and 5) with a stanza error condition.

    `h` is how many stanzas of a lost session were handled, if that is still known.
    """
    if condition not in STANZA_ERROR_CONDITIONS:
        raise ValueError(f"{condition!r} is not a stanza error condition of RFC 6120 section 8.3.3")
    known = b"" if h is None else b" h='%d'" % h
    return b"<failed xmlns='urn:xmpp:sm:3'%b><%b xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>" % (
        known,
        condition.encode(),
    )

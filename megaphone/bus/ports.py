"""What workers say to each other about subjects: the interface, and what it promises, whatever carries it.

The model is NATS core. A subject is dotted text (`accounts.removed`); whoever subscribes hears what is published from
then on, in order per publisher, at most once. A request goes to every subscriber, and the first answer counts.

Nothing is called back from within a call: subscribers and `answered` are called later, from the same thread.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from megaphone.errors import SubjectError

if TYPE_CHECKING:
    from collections.abc import Callable

SUBJECT_LIMIT_BYTES = 255

_SUBJECT = re.compile(r"[^\s.*>\x00-\x1f\x7f]+(\.[^\s.*>\x00-\x1f\x7f]+)*")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker may ask of the bus.

    `payload_bytes` bounds one message or answer (1 MiB, as NATS has it), `subscriptions` those that have not ended,
    `requests` those under way, `own_bytes` what waits for subscribers of the same worker.
    """

    payload_bytes: int = 1_048_576
    subscriptions: int = 8192
    requests: int = 4096
    own_bytes: int = 33_554_432


@dataclass(frozen=True, slots=True)
class NobodyThere:
    """Nobody can answer a request.

    `asked` False: nobody subscribes, nothing has been done. True: all who were asked have gone before they answered, so
    that it may have been done.
    """

    asked: bool


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The time for an answer is over; what was asked for may have been done, or may still be."""


Answer = bytes | NobodyThere | NoAnswer


@dataclass(frozen=True, slots=True)
class Message:
    """What a subscriber gets.

    `reply` is None unless it is a request; it takes the answer, once, and is False if it cannot be sent: too large, too
    late, or no room. `inbox` is where it goes, for a bus that has such places.
    """

    subject: str
    payload: bytes
    reply: Callable[[bytes], bool] | None = None
    inbox: bytes = b""


class Subscription(Protocol):
    """One subscriber's interest in one subject."""

    def end(self) -> None:
        """Call the subscriber no more, not even for what is on its way; harmless when said twice."""


class Bus(Protocol):
    """The bus as one worker sees it. SubjectError for a subject that is none."""

    @property
    def limits(self) -> Limits:
        """What may be asked of it."""

    def publish(self, subject: str, payload: bytes) -> bool:
        """Bring this to everybody who subscribes, this worker's own subscribers too.

        False if it is too large, or if some of them do not get it because too much waits for them already.
        """

    def subscribe(self, subject: str, subscriber: Callable[[Message], bytes | None]) -> Subscription:
        """Call `subscriber` for each message; the bytes it returns answer a request. SubjectError beyond the limit.

        A subscriber may also return None and call the message's `reply` when it knows the answer.
        """

    def request(self, subject: str, payload: bytes, timeout_seconds: float, answered: Callable[[Answer], None]) -> bool:
        """Ask everybody who subscribes; `answered` is called exactly once, with the first answer or why there is none.

        False if the request cannot be sent (too large, too many under way, no room); then `answered` is not called.
        `timeout_seconds` is greater than 0; the answer NoAnswer comes at that time or shortly after it.
        """


@lru_cache(8192)
def encode_subject(subject: str) -> bytes:
    """Return the UTF-8 of a subject. SubjectError unless it is dotted tokens without blanks, * or >, 1 to 255 bytes."""
    encoded = subject.encode()
    if len(encoded) > SUBJECT_LIMIT_BYTES or _SUBJECT.fullmatch(subject) is None:
        raise SubjectError(f"no subject: {subject[:SUBJECT_LIMIT_BYTES]!r}")
    return encoded

"""The restart policy of workers as a pure function: one for one, restart intensity, exponential back-off with jitter.

One for one: a crashed worker is replaced, its siblings are left alone. Intensity, as in Erlang/OTP's supervisor: at
most `intensity` restarts of all workers together within `period_seconds`; the next crash in that time means that
restarting does not help, and the supervisor gives up. Time and randomness come in as numbers, the decision goes out as
a value.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

_LARGEST_EXPONENT: Final = 30  # 2**30 times any back-off is beyond every maximum; keeps the float finite


@dataclass(frozen=True, slots=True)
class Policy:
    """How often is too often, and how long to wait before the next attempt."""

    intensity: int  # restarts, at least 1
    period_seconds: float
    backoff_first_seconds: float
    backoff_max_seconds: float


class Restart(NamedTuple):
    """One restart that was granted."""

    at_seconds: float
    worker: int


@dataclass(frozen=True, slots=True)
class RestartAfter:
    """Replace the worker after this pause."""

    delay_seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The intensity is exceeded: restarting does not help."""

    restarts: int
    within_seconds: float


Decision = RestartAfter | GiveUp


def decide(
    policy: Policy, history: tuple[Restart, ...], *, worker: int, now_seconds: float, jitter: float
) -> tuple[Decision, tuple[Restart, ...]]:
    """What to do about the crash of `worker` at `now_seconds`, and the history to bring next time.

    `history` holds the restarts granted so far, oldest first; only those of the last `period_seconds` are kept, so it
    never grows beyond `intensity` entries. A worker's first restart in the period is immediate, since a single crash
    should cost its clients nothing more; the n-th after that waits `backoff_first_seconds * 2**(n-1)`, at most
    `backoff_max_seconds`, of which `jitter` (0.0 to 1.0, drawn by the caller) takes up to half away.
    """
    if not 0.0 <= jitter <= 1.0:
        raise ValueError(f"jitter must be between 0 and 1, got {jitter}")
    recent = tuple(entry for entry in history if now_seconds - entry.at_seconds < policy.period_seconds)
    if len(recent) >= policy.intensity:
        return GiveUp(restarts=len(recent), within_seconds=policy.period_seconds), recent
    earlier = sum(entry.worker == worker for entry in recent)
    delay_seconds = 0.0
    if earlier:
        exponent = min(earlier - 1, _LARGEST_EXPONENT)
        delay_seconds = min(policy.backoff_first_seconds * 2**exponent, policy.backoff_max_seconds) * (1 - jitter / 2)
    return RestartAfter(delay_seconds), (*recent, Restart(now_seconds, worker))

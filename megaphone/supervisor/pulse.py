"""Tells a worker that hangs from one that only waits for a processor.

Both have an old heartbeat. Where more runs than there are processors, killing the second kind throws its clients at the
others, which then wait even longer: one by one a whole node would go. The kernel says how long a process was ready to
run and did not; that time is not held against it, within reason.
"""

from collections.abc import Callable
from typing import Final

from megaphone.supervisor.process_facts import Schedule

LONGEST_TIMEOUTS: Final = (
    12  # without a heartbeat for so many times the time-out, it hangs for its clients whatever it is
)


class Pulse:
    """The heartbeat of one worker; `schedule()` says how it ran and waited up to now, None if that is not known."""

    def __init__(self, schedule: Callable[[], Schedule | None]) -> None:
        self._schedule = schedule
        self._beat_ns = 0
        self._first: Schedule | None = None  # of this silence
        self._last: Schedule | None = None
        self._changed_ns = 0  # when `_last` was first seen

    def still_seconds(self, beat_ns: int, now_ns: int, timeout_seconds: float) -> float:
        """For how long the worker has not moved although it could, its last heartbeat having been at `beat_ns`.

        The kernel is asked only when a quarter of the time-out is over.
        """
        age_seconds = (now_ns - beat_ns) / 1e9
        if beat_ns != self._beat_ns:
            self._beat_ns = beat_ns
            self._first = self._last = None
        if age_seconds <= timeout_seconds / 4 or age_seconds > LONGEST_TIMEOUTS * timeout_seconds:
            return age_seconds
        schedule = self._schedule()
        if schedule is None:
            return age_seconds
        if schedule != self._last:
            self._last, self._changed_ns = schedule, now_ns
        if self._first is None:
            self._first = schedule
        waited_ns = schedule.waited_ns - self._first.waited_ns
        if schedule.ready:  # it has not run since then: a wait that the kernel counts when it is over
            waited_ns += now_ns - self._changed_ns
        return age_seconds - min(waited_ns / 1e9, age_seconds)

"""A worker that hangs, and one that waits for a processor."""

from collections.abc import Iterator, Sequence

import pytest

from megaphone.supervisor.process_facts import Schedule
from megaphone.supervisor.pulse import LONGEST_TIMEOUTS, Pulse

SECOND = 10**9
TIMEOUT = 4.0


def still(schedules: Sequence[Schedule | None], *, beat_ns: int = 100 * SECOND) -> list[float]:
    """What a pulse says 1, 2, 3 ... seconds after a heartbeat; each reading of the kernel in turn."""
    readings: Iterator[Schedule | None] = iter(schedules)
    pulse = Pulse(lambda: next(readings))
    return [
        round(pulse.still_seconds(beat_ns, beat_ns + second * SECOND, TIMEOUT), 3)
        for second in range(1, len(schedules) + 2)  # nobody asks in the first
    ]


def test_asleep_or_stopped() -> None:
    assert still([Schedule(5, 7, False)] * 4) == [1, 2, 3, 4, 5]


def test_running_in_circles() -> None:
    assert still([Schedule(second * SECOND, 7, True) for second in range(4)]) == [1, 2, 3, 4, 5]


def test_running_a_little_and_waiting_most_of_the_time() -> None:
    schedules = [Schedule(second * SECOND // 10, second * SECOND * 9 // 10, True) for second in range(4)]
    assert still(schedules) == [1, 2, 2.1, 2.2, 2.3]


def test_waiting_without_running_at_all() -> None:
    """The kernel has not counted this wait yet; when it does, it is not counted twice."""
    before, after = Schedule(5, 7, True), Schedule(6, 3 * SECOND + 7, True)
    assert still([before, before, before, after, after]) == [1, 2, 2, 2, 2, 2]


def test_a_kernel_that_does_not_say() -> None:
    assert still([None] * 4) == [1, 2, 3, 4, 5]


def test_waiting_is_no_excuse_for_ever() -> None:
    waiting = Schedule(5, 7, True)
    readings = still([waiting] * int(LONGEST_TIMEOUTS * TIMEOUT))
    assert readings[-2:] == [2, LONGEST_TIMEOUTS * TIMEOUT + 1]


def test_a_heartbeat_begins_anew() -> None:
    waited = iter([0, 2 * SECOND, 2 * SECOND, 2 * SECOND])
    pulse = Pulse(lambda: Schedule(5, next(waited), False))
    ages = [(100, 102), (100, 104), (110, 112), (110, 114)]
    assert [pulse.still_seconds(beat * SECOND, now * SECOND, TIMEOUT) for beat, now in ages] == pytest.approx(
        [2, 2, 2, 4]
    )

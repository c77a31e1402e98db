"""Many measurements at once into Locust's statistics: a second's worth of messages is one entry, not thousands.

`locust.events.request` costs some 20 us for each measurement, more than a message itself. Locust's own way to add
statistics to statistics is what a master does with its workers' reports (`StatsEntry.extend`). So is this, and all
that Locust computes (percentiles, of the last ten seconds too, rates, totals, what workers send to their master) comes
out as if each measurement had been an event of its own.
"""

import time
from collections.abc import Iterable
from typing import Any

from locust.stats import RequestStats, StatsEntry, StatsError, bucket_response_time

Buckets = Iterable[tuple[float, int]]
"""Response times in milliseconds, each with how many there were."""


def add_times(
    stats: RequestStats, kind: str, name: str, buckets: Buckets, *, in_total: bool = True, now: float | None = None
) -> int:
    """Add measurements to the row `kind`, `name` and to the total; returns how many there were.

    `now` is the Unix time at which they happened; they count as one second's.
    """
    second: Any = StatsEntry(stats, name, kind)  # whose times are declared as int, and float in Locust's own use
    present = [(milliseconds, count) for milliseconds, count in buckets if count > 0]
    for milliseconds, count in present:
        second.num_requests += count
        second.total_response_time += milliseconds * count
        second.response_times[bucket_response_time(milliseconds)] += count
    if present:
        second.min_response_time, second.max_response_time = min(present)[0], max(present)[0]
    _extend(stats, second, now, in_total)
    return sum(count for _, count in present)


def add_count(stats: RequestStats, kind: str, name: str, count: int, *, now: float | None = None) -> None:
    """Add `count` successes that have no response time."""
    if count > 0:
        second = StatsEntry(stats, name, kind)
        second.num_requests = second.num_none_requests = count
        _extend(stats, second, now)


def add_failures(
    stats: RequestStats, kind: str, name: str, reason: str, count: int, *, now: float | None = None
) -> None:
    """Add `count` failures for one reason to the row `kind`, `name`, to the total and to the list of failures.

    A failure is a request without a response time, so a row's count is that of all attempts.
    """
    if count <= 0:
        return
    second = StatsEntry(stats, name, kind)
    second.num_requests = second.num_none_requests = second.num_failures = count
    at = time.time() if now is None else now
    second.num_fail_per_sec[int(at)] = count
    _extend(stats, second, at)
    key = StatsError.create_key(kind, name, reason)
    error = stats.errors.setdefault(key, StatsError(kind, name, reason, first_seen=at))
    error.occurrences += count
    error.last_seen = at


def _extend(stats: RequestStats, second: StatsEntry, now: float | None, in_total: bool = True) -> None:
    if second.num_requests:
        at = time.time() if now is None else now
        second.num_reqs_per_sec[int(at)] = second.num_requests
        second.last_request_timestamp = at
        stats.entries[(second.name, second.method)].extend(second)
        if in_total:
            stats.total.extend(second)

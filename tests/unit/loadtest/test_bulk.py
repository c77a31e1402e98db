"""Measurements added in bulk give the figures that Locust computes of single events, on a worker's master too."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from locust.event import Events
from locust.stats import PERCENTILES_TO_REPORT, RequestStats, StatsEntry, setup_distributed_stats_event_listeners

from loadtest.bulk import add_failures, add_times

TIMES = st.lists(st.integers(0, 70_000), min_size=1, max_size=200)
KIND, NAME = "MESSAGE", "one to one"


def singly(times: list[int]) -> RequestStats:
    stats = RequestStats()
    for each in times:
        stats.log_request(KIND, NAME, each, 0)
    return stats


def in_bulk(times: list[int], parts: int, stats: RequestStats | None = None) -> RequestStats:
    stats = stats or RequestStats()
    for part in range(parts):
        share = times[part::parts]
        assert add_times(stats, KIND, NAME, [(each, share.count(each)) for each in set(share)]) == len(share)
    return stats


def figures(entry: StatsEntry) -> list[object]:
    return [
        entry.num_requests,
        entry.num_failures,
        entry.min_response_time,
        entry.max_response_time,
        entry.median_response_time,
        pytest.approx(entry.avg_response_time),
        [entry.get_response_time_percentile(each) for each in PERCENTILES_TO_REPORT],
        entry.fail_ratio,
    ]


@given(TIMES, st.integers(1, 5))
def test_the_figures_are_those_of_single_events(times: list[int], parts: int) -> None:
    one, many = singly(times), in_bulk(times, parts)
    assert figures(many.get(NAME, KIND)) == figures(one.get(NAME, KIND))
    assert figures(many.total) == figures(one.total)


@given(TIMES, TIMES)
def test_a_master_sees_the_figures_of_all_its_workers(first: list[int], second: list[int]) -> None:
    master = RequestStats()
    at_master = Events()
    setup_distributed_stats_event_listeners(at_master, master)
    for times in (first, second):
        worker, events = RequestStats(use_response_times_cache=False), Events()
        setup_distributed_stats_event_listeners(events, worker)
        in_bulk(times, 2, worker)
        add_failures(worker, "LOGIN", "PLAIN", "not-authorized", 3)
        report: dict[str, object] = {}
        events.report_to_master.fire(client_id="worker", data=report)
        at_master.worker_report.fire(client_id="worker", data=report)
    assert figures(master.get(NAME, KIND)) == figures(singly(first + second).get(NAME, KIND))
    assert [(each.error, each.occurrences) for each in master.errors.values()] == [("not-authorized", 6)]
    assert master.total.num_requests == len(first) + len(second) + 6


def test_failures_are_counted_with_their_reason_and_leave_the_times_alone() -> None:
    stats = in_bulk([10, 20, 30], 1)
    add_failures(stats, KIND, NAME, "service-unavailable", 2)
    add_failures(stats, KIND, NAME, "timeout", 1)
    add_failures(stats, KIND, NAME, "service-unavailable", 4)
    add_failures(stats, KIND, NAME, "never", 0)
    row = stats.get(NAME, KIND)
    assert (row.num_requests, row.num_failures, row.median_response_time, row.avg_response_time) == (10, 7, 20, 20)
    assert {each.error: each.occurrences for each in stats.errors.values()} == {"service-unavailable": 6, "timeout": 1}


def test_a_time_is_in_one_of_locusts_own_buckets() -> None:
    stats = RequestStats()
    add_times(stats, KIND, NAME, [(147.3, 2), (3432.0, 1), (0.2, 5)])
    assert dict(stats.get(NAME, KIND).response_times) == {150: 2, 3400: 1, 0: 5}


def test_rates_and_percentiles_of_the_last_seconds_are_there() -> None:
    stats = RequestStats()
    chance = random.Random(1)
    start = int(stats.total.start_time)
    for second in range(30):
        slow = 100 if second < 15 else 900
        add_times(stats, KIND, NAME, [(slow + chance.randrange(3), 50)], now=start + second + 0.5)
    row = stats.get(NAME, KIND)
    assert row.current_rps == 50
    assert row.response_times_cache is not None
    # What Locust keeps for "the last ten seconds": the state at each second, and no more than twenty of them.
    assert list(row.response_times_cache) == list(range(start + 10, start + 30))
    assert row.response_times_cache[start + 14].num_requests == 15 * 50

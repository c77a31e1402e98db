"""What a swarm counted becomes rows of statistics, each thing once and in its place."""

from dataclasses import dataclass, field

import pytest
from gevent import monkey
from locust.stats import RequestStats

from loadtest.harvest import CLOSE, HOSTILE, LATENESS, MESSAGE, SESSION, Harvest, milliseconds
from loadtest.swarm import Histogram

LOGIN = ("LOGIN", "PLAIN over tls")


@dataclass
class Counted:
    """What a swarm has counted so far."""

    count: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    took: dict[str, Histogram] = field(default_factory=dict)

    def counters(self) -> dict[str, int]:
        return dict(self.count)

    def failures(self) -> dict[str, int]:
        return dict(self.failed)

    def histograms(self) -> dict[str, Histogram]:
        return dict(self.took)


def rows(stats: RequestStats) -> dict[tuple[str, str], tuple[int, int]]:
    found = {(method, name): row for (name, method), row in stats.entries.items()}
    return {row: (entry.num_requests, entry.num_failures) for row, entry in found.items()}


def test_each_measurement_comes_once() -> None:
    swarm, stats = Counted(count={"open": 1}), RequestStats()
    harvest = Harvest(swarm, LOGIN[1])
    swarm.took = {"login": Histogram.of([0.5]), "chat": Histogram.of([0.01, 0.02]), "lateness": Histogram.of([1.0])}
    assert harvest.bring(stats) == {"open": 1}
    assert harvest.bring(stats) == {"open": 1}
    assert rows(stats) == {LOGIN: (1, 0), MESSAGE: (2, 0), LATENESS: (1, 0)}
    swarm.took = {"login": Histogram.of([0.5]), "chat": Histogram.of([0.01, 0.02, 0.03]), "close": Histogram.of([0.1])}
    harvest.bring(stats)
    assert rows(stats) == {LOGIN: (1, 0), MESSAGE: (3, 0), LATENESS: (1, 0), CLOSE: (1, 0)}
    assert stats.total.num_requests == 5  # the generator's lateness is not the server's doing
    assert stats.get(*reversed(MESSAGE)).max_response_time == pytest.approx(30, rel=1 / 128)


def test_failures_are_in_the_row_of_what_failed() -> None:
    swarm, stats = Counted(), RequestStats()
    harvest = Harvest(swarm, LOGIN[1])
    swarm.failed = {"sasl:not-authorized": 2, "connect:ECONNREFUSED": 1, "session:closed": 3, "stream:conflict": 1}
    swarm.failed |= {"message:service-unavailable": 5}
    harvest.bring(stats)
    swarm.failed["session:closed"] = 4
    harvest.bring(stats)
    assert rows(stats) == {LOGIN: (3, 3), SESSION: (5, 5), MESSAGE: (5, 5)}
    assert {each.error: each.occurrences for each in stats.errors.values()} == swarm.failed


def test_of_odd_clients_only_hostile_input_counts() -> None:
    swarm, stats = Counted(), RequestStats()
    harvest = Harvest(swarm, LOGIN[1], odd=True)
    swarm.count = {"hostile_refused": 7, "hostile_wrong": 1}
    swarm.failed = {"session:closed": 3, "hostile:accepted": 1}
    swarm.took = {"login": Histogram.of([0.5])}
    harvest.bring(stats)
    harvest.bring(stats)
    assert rows(stats) == {HOSTILE: (8, 1)}


def test_percentiles_are_those_of_the_histogram() -> None:
    times = [each / 1000 for each in range(1, 1001)]
    stats, swarm = RequestStats(), Counted(took={"chat": Histogram.of(times)})
    Harvest(swarm, "").bring(stats)
    row = stats.get(*reversed(MESSAGE))
    for percent in (50, 90, 95, 99, 100):
        # A bucket of the swarm is 1 part in 128 wide, one of Locust's 1 in 10 at worst.
        assert row.get_response_time_percentile(percent / 100) == pytest.approx(percent * 10, rel=0.06)
    assert sum(count for _, count in milliseconds(swarm.took["chat"])) == 1000


def test_this_process_keeps_its_own_sockets() -> None:
    assert not monkey.is_module_patched("socket")

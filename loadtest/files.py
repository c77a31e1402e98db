"""Two more files beside those of Locust's `--csv PREFIX`: sessions over time, and the verdict.

Locust writes its own once a second and not at the end, so that they lack what the last second brought. They are written
once more when it has closed them.
"""

import atexit
import csv
import time
from pathlib import Path
from typing import Any, cast

import gevent
from locust.env import Environment
from locust.stats import PERCENTILES_TO_REPORT, StatsCSV

from loadtest.conduct import Conductor
from loadtest.page import COUNTERS
from loadtest.run import Run

INTERVAL_SECONDS = 1.0


class Files:
    """`PREFIX_sessions.csv`, a line a second while a test runs, and `PREFIX_verdict.csv` after it."""

    def __init__(self, environment: Environment, run: Run, conductor: Conductor, prefix: str) -> None:
        self._environment = environment
        self._run = run
        self._conductor = conductor
        self._prefix = prefix
        self._writing: gevent.Greenlet | None = None

    def listen(self) -> None:
        """Connect to Locust's events; after the conductor's listeners."""
        self._environment.events.test_start.add_listener(self.start)
        self._environment.events.test_stop.add_listener(self.stop)
        atexit.register(self._complete)

    def start(self, **_kwargs: object) -> None:
        """Listener of `test_start`."""
        self._writing = gevent.spawn(self._write)

    def stop(self, **_kwargs: object) -> None:
        """Listener of `test_stop`."""
        if self._writing:
            self._writing.kill()
        with Path(f"{self._prefix}_verdict.csv").open("w", newline="") as opened:
            writer = csv.writer(opened)
            writer.writerow(["Criterion", "Wanted", "Measured", "Passed"])
            for each in self._conductor.lines:
                writer.writerow([each.criterion, each.wanted, each.measured, "yes" if each.passed else "no"])

    def _complete(self) -> None:
        figures = StatsCSV(self._environment, PERCENTILES_TO_REPORT)
        for name, write in (("stats", figures.requests_csv), ("failures", figures.failures_csv)):
            with Path(f"{self._prefix}_{name}.csv").open("w", newline="") as opened:
                write(cast(Any, csv.writer(opened)))

    def _write(self) -> None:
        with Path(f"{self._prefix}_sessions.csv").open("w", newline="", buffering=1) as opened:
            writer = csv.writer(opened)
            writer.writerow(["Timestamp", "Phase", *(title.capitalize() for title in COUNTERS.values())])
            while True:
                totals = self._run.census.totals()
                phase = self._conductor.course.phase if self._conductor.course else ""
                writer.writerow([int(time.time()), phase, *(totals.get(key, 0) for key in COUNTERS)])
                gevent.sleep(INTERVAL_SECONDS)

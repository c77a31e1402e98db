"""The course of a test, on the master or the only process: ramp, hold, disturbance, settling, end, verdict.

    ramp ── enough sessions live, or time is up ──► hold ── hold_seconds ──► settle ── all delivered, or 10 s ──► end
                                                     └─ after_seconds: the tester's command, or a process killed

The hold's figures are differences between its two ends. Locust's own `--run-time`, stop button and Ctrl-C cut it short:
then what there is by then is judged, and that it was cut short is a problem.
"""

import logging
import os
import shlex
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import gevent
from gevent import subprocess
from locust.env import Environment
from locust.stats import RequestStats, calculate_response_time_percentile

from loadtest.harvest import LATENESS, MESSAGE, PING, ROOM
from loadtest.options import Plan
from loadtest.run import Run
from loadtest.verdict import Measured

STEP_SECONDS = 0.25
SETTLE_SECONDS = 10.0
SETTLED_SECONDS = 2.5  # flocks and workers report once a second: what looks settled must stay so
ARRIVED = ("chat_received", "chat_delayed", "chat_bounced", "room_received", "room_delayed")
COMMAND_SECONDS = 3_600.0
KINDS = {"message": MESSAGE, "ping": PING, "room": ROOM, "lateness": LATENESS}

logger = logging.getLogger("loadtest")


@dataclass(slots=True)
class Mark:
    """The figures and since when they are so, to subtract from later ones."""

    at: float
    totals: Mapping[str, int]
    times: dict[str, Counter[int]] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Run, stats: RequestStats) -> "Mark":
        """The present figures."""
        rows = {kind: stats.entries.get((name, method)) for kind, (method, name) in KINDS.items()}  # no new ones
        times = {kind: Counter(row.response_times if row else {}) for kind, row in rows.items()}
        return cls(run.census.of_when(), run.census.totals(), times)

    def since(self, earlier: "Mark", name: str) -> int:
        """How much a counter has grown."""
        return self.totals.get(name, 0) - earlier.totals.get(name, 0)


class Course:
    """One test from start to verdict; `measured` fills as it goes on.

    `wanted` gives the number of sessions asked for, which the web page can change in the middle.
    """

    def __init__(self, environment: Environment, run: Run, plan: Plan, wanted: Callable[[], int]) -> None:
        self.plan = plan
        self.phase = "ramp"
        self.measured = Measured(wanted=wanted())
        self._wanted = wanted
        self.complete = self._measured = False
        self._environment = environment
        self._run = run
        self._start = time.monotonic()
        self._hold = Mark.of(run, environment.stats)
        self._holding = self._start
        self._disturbed_at: Mark | None = None
        self._last_below: float | None = None
        self._disturbing: gevent.Greenlet | None = None

    def follow(self) -> None:
        """The whole course, in a greenlet of its own; returns when the test should end, and is over then."""
        timing = self.plan.profile.timing
        deadline = self._start + timing.ramp_seconds
        while not self._ready() and time.monotonic() < deadline:
            if self._run.census.problems:
                return
            gevent.sleep(STEP_SECONDS)
        if self._ready():
            self.measured.ramp_seconds = time.monotonic() - self._start
        self._hold, self._holding = Mark.of(self._run, self._environment.stats), time.monotonic()
        self.phase = "hold"
        logger.info(
            "%s of %s sessions are live; holding for %g s", self.live, self.measured.wanted, timing.hold_seconds
        )
        self._keep(timing.hold_seconds)
        self.phase = "settle"
        self.measure()
        self._settle()
        self.phase, self.complete = "end", True

    @property
    def live(self) -> int:
        """Sessions that are logged in now."""
        return self._run.census.totals().get("open", 0)

    def measure(self) -> None:
        """Take what there is by now as the end of the hold, unless that was done."""
        measured, now = self.measured, Mark.of(self._run, self._environment.stats)
        if self._measured:
            return
        self._measured = True
        measured.hold_seconds = now.at - self._hold.at
        measured.live_at_end = now.totals.get("open", 0)
        measured.lost = now.since(self._hold, "lost")
        measured.sent = now.since(self._hold, "chat_sent")
        for kind in KINDS:
            if times := now.times[kind] - self._hold.times[kind]:
                measured.p99_ms[kind] = calculate_response_time_percentile(times, times.total(), 0.99)
        if self._disturbed_at:
            self._measure_disturbance(now, self._disturbed_at)

    def conclude(self, exceptions: int) -> Measured:
        """What counts from the first login to the last farewell; `exceptions`: how many Users met one of Python's."""
        measured, stats, totals = self.measured, self._environment.stats, self._run.census.totals()
        self.measure()
        logins = sum(
            (Counter(row.response_times) for row in stats.entries.values() if row.method == "LOGIN"), Counter()
        )
        if logins:
            measured.p99_ms["login"] = calculate_response_time_percentile(logins, logins.total(), 0.99)
        measured.refused = totals.get("odd_hostile_refused", 0)
        measured.hostile = measured.refused + totals.get("odd_hostile_wrong", 0)
        for error in stats.errors.values():
            reason = str(error.error)
            measured.failures[reason] = measured.failures.get(reason, 0) + error.occurrences
        measured.problems += self._run.census.problems
        if not self.complete and not measured.problems:
            measured.problems.append(f"the test was stopped during its {self.phase}")
        if exceptions:
            measured.problems.append(f"{exceptions} exceptions in the load test itself")
        return measured

    def _ready(self) -> bool:
        """Whether enough sessions are live and, if the profile has rooms, inside: entering takes longer."""
        percent, size = self.plan.profile.criteria.live_percent, self.plan.profile.activity.room_occupants
        per_user = self.plan.profile.sessions.per_user
        share = per_user // size * size / per_user if size else 0.0
        inside = self._run.census.totals().get("occupants", 0)
        return self._enough(percent) and 100 * inside >= percent * share * self.measured.wanted

    def _enough(self, percent: float) -> bool:
        self.measured.wanted = self._wanted()
        return 100 * self.live >= percent * self.measured.wanted > 0

    def _keep(self, seconds: float) -> None:
        disturbance = self.plan.profile.disturbance
        while (rest := self._holding + seconds - time.monotonic()) > 0:
            due = disturbance and time.monotonic() >= self._holding + disturbance.after_seconds
            if due and self._disturbing is None:
                self._disturbing = gevent.spawn(self._disturb)
            if not self._enough(self.plan.profile.criteria.back_percent):
                self._last_below = time.monotonic()
            gevent.sleep(min(rest, STEP_SECONDS))
        if disturbance and not self._disturbed_at:
            self.measured.disturbance_failed = self.measured.disturbance_failed or "not until the end of the hold"
        if self._disturbing is not None:
            self._disturbing.kill()

    def _disturb(self) -> None:
        before = Mark.of(self._run, self._environment.stats)
        failed = disturb(self.plan)
        self.measured.disturbance_failed = failed
        before.at = time.monotonic()
        self._disturbed_at = before
        logger.info("The disturbance %s", failed or "took place")

    def _measure_disturbance(self, now: Mark, disturbed_at: Mark) -> None:
        measured, below = self.measured, self._last_below
        measured.disturbed = now.since(disturbed_at, "lost")
        if self._enough(self.plan.profile.criteria.back_percent):
            measured.back_seconds = max(0.0, below - disturbed_at.at) if below is not None else 0.0

    def _settle(self) -> None:
        """Let nobody say more and wait until all that was said has arrived, or the time for it is over."""
        self._run.hush()
        deadline, steps = time.monotonic() + SETTLE_SECONDS, 0
        while True:
            totals = self._run.census.totals()
            sent, expected = totals.get("chat_sent", 0), totals.get("room_expected", 0)
            arrived = sum(totals.get(name, 0) for name in ARRIVED)
            before, self.measured.undelivered = self.measured.undelivered, max(0, sent + expected - arrived)
            before_due, self.measured.due = self.measured.due, sent + expected
            same = before == self.measured.undelivered and before_due == self.measured.due
            steps = steps + 1 if same and not self.measured.undelivered else 0
            if not self.measured.due or steps * STEP_SECONDS >= SETTLED_SECONDS or time.monotonic() >= deadline:
                return
            gevent.sleep(STEP_SECONDS)


def disturb(plan: Plan) -> str:
    """Do what the tester said, and wait for it; returns what went wrong, or nothing."""
    if plan.disturb_pid:
        try:
            os.kill(plan.disturb_pid, signal.SIGKILL)
        except OSError as error:
            return f"process {plan.disturb_pid} cannot be killed: {error.strerror}"
        return ""
    try:
        ended = subprocess.run(shlex.split(plan.disturb), timeout=COMMAND_SECONDS, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return f"{plan.disturb!r}: {error}"
    return f"{plan.disturb!r} ended with {ended.returncode}" if ended.returncode else ""

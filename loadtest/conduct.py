"""Conducts tests on the master or the only process: starts a course with each test, judges it, sets the exit code."""

import sys
from typing import Any, cast

import gevent
from locust.env import Environment
from locust.runners import STATE_SPAWNING, Runner

from loadtest.course import Course
from loadtest.run import Run
from loadtest.users.choice import sessions_of
from loadtest.verdict import Line, judge, passed, remark, table

PASSED, MISSED, BAD_USAGE = 0, 1, 2


class Conductor:
    """Listens to Locust's events of a test; `lines` is the last verdict."""

    def __init__(self, environment: Environment, run: Run) -> None:
        self._environment = environment
        self._options: Any = environment.parsed_options
        self._run = run
        self._following: gevent.Greenlet | None = None
        self.course: Course | None = None
        self.lines: list[Line] = []
        self.remark = ""

    def listen(self) -> None:
        """Connect to Locust's events; after the run's own listeners."""
        events = self._environment.events
        events.test_start.add_listener(self.start)
        events.test_stopping.add_listener(self.stopping)
        events.test_stop.add_listener(self.stop)
        events.quitting.add_listener(self.quitting)
        if self._headless:
            events.quit.add_listener(self.show)

    def start(self, **_kwargs: object) -> None:
        """Listener of `test_start`."""
        plan, runner = self._run.plan, cast(Runner, self._environment.runner)
        each = sessions_of(runner.user_classes, plan.profile)
        self.lines, self.remark = [], ""
        self.course = Course(self._environment, self._run, plan, lambda: runner.target_user_count * each)
        self._following = gevent.spawn(self._follow, self.course)

    def stopping(self, **_kwargs: object) -> None:
        """Listener of `test_stopping`: sessions are about to leave."""
        if self.course:
            self.course.measure()

    def stop(self, **_kwargs: object) -> None:
        """Listener of `test_stop`: sessions have left."""
        runner, course = self._environment.runner, self.course
        if course is None or runner is None or self.lines:
            return
        measured = course.conclude(sum(each["count"] for each in runner.exceptions.values()))
        self.lines = judge(course.plan.profile, measured)
        self.remark = remark(measured.p99_ms)
        code = BAD_USAGE if self._run.census.problems else PASSED if passed(self.lines) else MISSED
        self._environment.process_exit_code = code
        if self._following and self._following is not gevent.getcurrent():
            self._following.kill(block=False)
        if not self._headless:
            self.show()

    def quitting(self, **_kwargs: object) -> None:
        """Listener of `quitting`: Ctrl-C or SIGTERM in the middle of a test."""
        if self._environment.runner and self.course and not self.lines:
            self._environment.runner.stop()

    def show(self, **_kwargs: object) -> None:
        """Print the verdict, below Locust's own tables."""
        if self.lines and self.course:
            out = sys.stderr if self._options.json else sys.stdout
            verdict = "PASSED" if self._environment.process_exit_code == PASSED else "NOT PASSED"
            name = self._environment.profile
            text = f"\nProfile {name} ({self.course.plan.profile.summary}): {verdict}\n\n{table(self.lines)}\n"
            print(text, self.remark, sep="\n" if self.remark else "", file=out, flush=True)

    @property
    def _headless(self) -> bool:
        return bool(self._options.headless)

    def _follow(self, course: Course) -> None:
        course.follow()
        runner = cast(Runner, self._environment.runner)
        while runner.state == STATE_SPAWNING:  # a stop in between would leave Users behind
            gevent.sleep(0.1)
        runner.stop()
        if self._headless:
            runner.quit()

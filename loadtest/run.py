"""One process's part of a test: its plan, its flocks, whom they talk to; the same code in one process and in many.

The master makes the plan when the test starts and adds it to the options that Locust sends to workers with the order
to spawn Users. Every few seconds each process gathers JIDs of its sessions; the master sends all of them to all
workers, so that people on different machines talk to each other.
"""

import resource
from collections.abc import Mapping
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtest.census import Census
from loadtest.options import Plan, plan, plan_tables
from loadtest.swarm import DescriptorLimitError, Swarm

SPARE_DESCRIPTORS = 100  # for files, the page, workers
PEERS_SECONDS = 2.0
PEERS_SAMPLE = 2_000  # JIDs of one process
PEERS_LIMIT = 20_000  # JIDs in all
PEERS_MESSAGE = "loadtest_peers"
QUIET_MESSAGE = "loadtest_quiet"

_runs: dict[Environment, "Run"] = {}


def run_of(environment: Environment) -> "Run":
    """The run that belongs to an environment; a process has one."""
    if environment not in _runs:
        _runs[environment] = Run(environment)
    return _runs[environment]


class Run:
    """What a process knows of the test."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.census = Census()
        self._plan: Plan | None = None
        self.quiet = False
        """Whether sessions are to say nothing more, so that what was said can arrive."""
        self._workers = self._flocks = 1
        self._numbered = self._reserved = 0
        self._swarms: set[Swarm] = set()
        self._sharing: gevent.Greenlet | None = None
        self._jids: dict[str, bytes] = {}

    @property
    def plan(self) -> Plan:
        """The plan of the test that runs, or of the last one."""
        if self._plan is None:
            raise LookupError("no test was started")
        return self._plan

    def listen(self) -> None:
        """Connect to Locust's events; after the runner was made."""
        events, runner = self.environment.events, self.environment.runner
        events.test_start.add_listener(self.start)
        events.test_stop.add_listener(self.stop)
        if isinstance(runner, MasterRunner):
            events.worker_report.add_listener(self.census.receive)
            runner.register_message(PEERS_MESSAGE, self._take_jids)
        elif isinstance(runner, WorkerRunner):
            events.report_to_master.add_listener(self.census.report)
            runner.register_message(PEERS_MESSAGE, lambda environment, msg: self._tell(msg.data["jids"]))
            runner.register_message(QUIET_MESSAGE, lambda environment, msg: self.hush())

    def start(self, environment: Environment, **_kwargs: object) -> None:
        """Listener of `test_start`."""
        runner, options = environment.runner, vars(environment.parsed_options)
        if not isinstance(runner, WorkerRunner):
            options.update(
                plan_tables(options),
                workers=runner.worker_count if isinstance(runner, MasterRunner) else 1,
                flocks=runner.target_user_count if runner else 1,
            )
        self._workers, self._flocks = options["workers"], options["flocks"]
        self._plan = plan(options, environment.host)
        self.census.clear()
        self.quiet = False
        self._numbered = self._reserved = 0
        self._jids.clear()
        self._sharing = gevent.spawn(self._share)

    def stop(self, **_kwargs: object) -> None:
        """Listener of `test_stop`."""
        if self._sharing:
            self._sharing.kill()
            self._sharing = None

    def next_flock(self) -> tuple[int, int]:
        """The number of the next flock, different in all processes, and how many were planned when the test started."""
        index = getattr(self.environment.runner, "worker_index", 0)
        number = self._numbered * self._workers + max(0, index)
        self._numbered += 1
        return number, self._flocks

    def reserve(self, sessions: int) -> None:
        """Claim descriptors for sessions of this process; DescriptorLimitError if it may not have so many.

        A swarm looks at what is open when it is told to open more, and other swarms' sessions are still to come then.
        """
        limit, used = resource.getrlimit(resource.RLIMIT_NOFILE)[0], self._reserved + SPARE_DESCRIPTORS
        if used + sessions > limit:
            raise DescriptorLimitError(sessions, used, limit)
        self._reserved += sessions

    def join(self, swarm: Swarm) -> None:
        """Let a swarm's sessions talk to those of others."""
        self._swarms.add(swarm)

    def leave(self, swarm: Swarm) -> None:
        """A swarm that ends."""
        self._swarms.discard(swarm)

    def hush(self) -> None:
        """Let all sessions, everywhere, say nothing more."""
        self.quiet = True
        if isinstance(self.environment.runner, MasterRunner):
            self.environment.runner.send_message(QUIET_MESSAGE)

    def _share(self) -> None:
        runner = self.environment.runner
        while True:
            gevent.sleep(PEERS_SECONDS)
            if isinstance(runner, MasterRunner):
                runner.send_message(PEERS_MESSAGE, {"jids": b"\n".join(self._jids.values())})
                continue
            share = max(1, PEERS_SAMPLE // max(1, len(self._swarms)))
            jids = b"\n".join(filter(None, (swarm.jids(share).strip() for swarm in self._swarms)))
            if isinstance(runner, WorkerRunner):
                runner.send_message(PEERS_MESSAGE, {"jids": jids})
            elif len(self._swarms) > 1:
                self._tell(jids)

    def _take_jids(self, environment: Environment, msg: Any) -> None:
        found: Mapping[str, bytes] = msg.data
        known = sum(jids.count(b"\n") for sender, jids in self._jids.items() if sender != msg.node_id)
        if known + found["jids"].count(b"\n") < PEERS_LIMIT:
            self._jids[msg.node_id] = found["jids"]

    def _tell(self, jids: bytes) -> None:
        for swarm in self._swarms:
            swarm.peers(jids)

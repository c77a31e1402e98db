"""What `locust -f loadtest/locustfile.py` loads: the Users, our options, and what happens around a test."""

import resource
import sys
from typing import Any

import locust.runners
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtest.conduct import BAD_USAGE, Conductor
from loadtest.files import Files
from loadtest.options import DEFAULT_PROFILE, UsageError, add_options, plan, plan_tables
from loadtest.page import extend
from loadtest.profiles import names
from loadtest.run import run_of
from loadtest.users.choice import choose
from loadtest.users.flock import FlockUser
from loadtest.users.session import SessionUser

__all__ = ["FlockUser", "SessionUser"]

# So that live sessions, and figures of the last seconds, are hardly older on a master than in one process.
locust.runners.WORKER_REPORT_INTERVAL = 1.0


def _options(parser: LocustArgumentParser, **_kwargs: object) -> None:
    add_options(parser)


def _prepare(environment: Environment, runner: Any, web_ui: Any, **_kwargs: object) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    run = run_of(environment)
    run.listen()
    if isinstance(runner, WorkerRunner):
        return
    options = vars(environment.parsed_options)
    # A flock is spawned at once; how fast its sessions come is the profile's matter.
    options["spawn_rate"] = options["spawn_rate"] or min(100, options["num_users"] or 1)
    options["hold_seconds"], options["run_time"] = options["run_time"] or 0, None
    if web_ui:
        options["profile"] = environment.profile = options["profile"] or DEFAULT_PROFILE
    try:
        if not options["profile"]:
            raise UsageError(f"which scenario? --profile with one of {', '.join(names())}")
        if options["host"] or not web_ui:
            made = plan(options | plan_tables(options), environment.host)
            choose(environment, made.profile, options)
    except UsageError as error:
        print(f"locust: error: {error}", file=sys.stderr)
        sys.exit(BAD_USAGE)
    conductor = Conductor(environment, run)
    conductor.listen()
    if options["csv_prefix"]:
        Files(environment, run, conductor, options["csv_prefix"]).listen()
    if web_ui:
        extend(environment, run, conductor)


events.init_command_line_parser.add_listener(_options)
events.init.add_listener(_prepare)

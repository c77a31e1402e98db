"""One run from beginning to end: settings, Megaphone, load generator, phases, report; and everything put back."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Final

from loadtest.million import hold, needs, report, soak, storm, upgrade
from loadtest.million.facts import facts
from loadtest.million.generator import Generator, GeneratorError, source_addresses
from loadtest.million.hold import Outcome
from loadtest.million.host import Host, read_host
from loadtest.million.plan import Plan
from loadtest.million.progress import Progress
from loadtest.million.sampler import Sampler
from loadtest.million.server import ADDRESS, DOMAIN, Server, ServerError
from loadtest.million.settings import JOURNAL, SettingsError, changed
from loadtest.million.size import Size, TooManyError, size_of
from loadtest.million.watch import Watch
from loadtest.swarm import Settings, Target

DIRECTORY: Final = "megaphone-million-"  # what Megaphone keeps goes below the system's temporary directory
MET: Final = 0
MISSED: Final = 1
KINDS: Final = {"hold": hold.run, "storm": storm.run, "soak": soak.run, "upgrade": upgrade.run}


class Stopped(BaseException):
    """Somebody has asked us to end: SIGTERM or Ctrl-C."""


def cut(plan: Plan, host: Host) -> Size:
    """How the plan is cut up on this host; TooManyError."""
    return size_of(
        plan.sessions,
        descriptors=host.descriptors,
        ports=host.ports,
        cores=host.cores,
        workers=plan.workers,
        loaders=plan.loaders,
        moved=storm.KILLED if plan.kind == "storm" else 0.0,
        tls=plan.tls,
        tls12=plan.tls12,
    )


def check(plan: Plan) -> int:
    """Say what the machine lacks for the plan, and change nothing."""
    host = read_host()
    try:
        found = needs.needs_of(cut(plan, host), host)
    except TooManyError as error:
        print(f"MISSING  {error}")
        return MISSED
    print(f"For {plan.sessions:,} sessions:")
    for need in found:
        print(f"  {need.line()}")
    missing = [need for need in found if not need.met]
    if missing and not host.may_change:
        print("Only root may change settings of the kernel.")
    print("Nothing is missing." if not missing else f"{len(missing)} of {len(found)} are missing.")
    return MISSED if missing else MET


def run(plan: Plan, journal: Path = JOURNAL) -> int:
    """Do it; MET or MISSED, after a line that says why."""
    progress = Progress(plan.sessions)
    try:
        with _ends_in_order():
            return _run(plan, progress, journal)
    except (TooManyError, SettingsError, ServerError, GeneratorError, PermissionError) as error:
        progress.say(f"The run has failed: {error}")
        return MISSED
    except Stopped as stopped:
        progress.say(f"The run was {stopped}; everything is as it was before.")
        return MISSED


def _run(plan: Plan, progress: Progress, journal: Path) -> int:
    host = read_host()
    size = cut(plan, host)
    plan = replace(plan, in_flight=plan.in_flight or size.in_flight)
    found = needs.needs_of(size, host)
    for need in found:
        if not need.met:
            progress.say(need.line())
    if any(not need.met and not need.setting for need in found):
        progress.say("That is too little; the run would take the machine down with it.")
        return MISSED
    values = needs.changes(found)
    progress.say(
        f"{size.sessions:,} sessions, {size.workers} workers, {size.loaders} load processes"
        + (f"; {len(values)} settings of the kernel change until the end" if values else "")
    )
    with ExitStack() as stack:
        stack.enter_context(changed(values, progress.say, journal))
        _remove_leftovers()
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{DIRECTORY}{os.getpid()}-")))
        sampler = Sampler()
        backlog = host.settings["net.core.somaxconn"]
        server = Server(
            directory,
            workers=size.workers,
            max_connections=size.max_connections,
            backlog=max(*backlog, *values.get("net.core.somaxconn", (1,))),
            tls=size.has_tls,
        )
        generator = _generator(plan, size, server)
        stack.callback(server.stop)
        stack.callback(generator.stop)  # the first to go: the server then has nobody left to say farewell to
        stack.callback(sampler.stop)
        server.start()
        sampler.start(server.pid, generator.pids, os.getpid())
        watch = Watch(server, generator, sampler, progress)
        return _watched(plan, watch, progress, host, size, values)


def _remove_leftovers() -> None:
    """Remove the directories of runs that were killed."""
    for directory in Path(tempfile.gettempdir()).glob(f"{DIRECTORY}*-*"):
        pid = directory.name.removeprefix(DIRECTORY).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(directory, ignore_errors=True)


def _watched(
    plan: Plan, watch: Watch, progress: Progress, host: Host, size: Size, values: dict[str, tuple[int, ...]]
) -> int:
    began = datetime.now(UTC).isoformat(timespec="seconds")
    outcome = Outcome()
    ended = report.ENDED
    try:
        KINDS[plan.kind](watch, plan, outcome)
    except (ServerError, GeneratorError) as error:
        ended = str(error)
    except Stopped as stopped:
        ended = str(stopped)
    if ended != report.ENDED:
        progress.say(f"The run has ended early: {ended}")
    written = report.content(plan, outcome, watch, facts(host, size), began=began, ended=ended, settings=values)
    for verdict in outcome.verdicts:
        progress.say(verdict.line())
    for reason, count in written["failures"].items():
        progress.say(f"failure {reason}: {count:,}")
    for path in report.write(written, plan.output):
        progress.say(f"report: {path}")
    return MET if written["met"] else MISSED


def _generator(plan: Plan, size: Size, server: Server) -> Generator:
    targets = [
        Target(
            host=ADDRESS,
            ports=(server.port if share.way == "plain" else server.tls_port,),
            domain=DOMAIN,
            source_addresses=tuple(source_addresses(number, size.addresses)),
            security="plain" if share.way == "plain" else "tls",
            tls_version="1.2" if share.way == "tls1.2" else "any",
            verify=False,  # it is ours: its signature is checked, but nobody else's
        )
        for number, share in enumerate(size.shares)
    ]
    settings = Settings(
        keep_alive="space",
        keep_alive_seconds=plan.keep_alive_seconds,
        body_bytes=plan.body_bytes,
        reconnect=True,
        pairs=plan.kind == "upgrade",
    )
    return Generator(targets, size.shares, settings)


@contextmanager
def _ends_in_order() -> Iterator[None]:
    """SIGTERM and Ctrl-C become an exception, once; whatever comes while we clean up does not disturb it."""
    said = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal said
        if not said:
            said = True
            raise Stopped(f"stopped by {signal.Signals(number).name}")

    before: dict[int, Callable[..., object] | int | None] = {
        number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)

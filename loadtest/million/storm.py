"""The reconnect storm: a quarter of the workers is killed while all talk; how long until everybody is back."""

import os
import signal
import time
from math import ceil
from typing import Final

from loadtest.million import hold, phases, verdicts
from loadtest.million.hold import Outcome
from loadtest.million.plan import Plan
from loadtest.million.watch import TICK_SECONDS, Watch

KILLED: Final = 0.25  # of the workers
BACK: Final = 0.99
NOTICE_SECONDS: Final = 15.0
BACK_LIMIT_SECONDS: Final = 180.0
CALM_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 0.2  # between two looks while it storms


def run(watch: Watch, plan: Plan, outcome: Outcome) -> None:
    """Fill in the outcome, as far as it gets."""
    ramp = phases.ramp(watch, plan.in_flight)
    outcome.verdicts.append(verdicts.sessions(ramp.sessions, plan.sessions))
    outcome.figures |= ramp.figures()
    phases.talk(watch, plan.rate)
    watch.begin("hold", plan.hold_seconds)
    watch.until(lambda: False, plan.hold_seconds)
    lost_before = watch.generator.count("lost")

    workers = watch.server.status()["workers"]
    killed = workers[: ceil(len(workers) * KILLED)]
    on_killed = sum(worker["connections"] for worker in killed)
    watch.look_every(CLOSE_SECONDS)
    watch.begin("storm")
    began = time.monotonic()
    for worker in killed:
        os.kill(worker["pid"], signal.SIGKILL)

    def lost() -> int:
        return watch.generator.count("lost") - lost_before

    def opened() -> int:
        return watch.generator.count("open")

    watch.until(lambda: lost() >= on_killed, NOTICE_SECONDS)
    noticed = time.monotonic() - began
    is_back = watch.until(lambda: opened() >= ramp.sessions * BACK, BACK_LIMIT_SECONDS)
    seconds = time.monotonic() - began
    all_back = is_back and watch.until(lambda: opened() >= ramp.sessions, BACK_LIMIT_SECONDS)
    all_seconds = time.monotonic() - began
    watch.generator.introduce()  # those who are back have other names
    watch.begin("calm", CALM_SECONDS)
    watch.until(lambda: False, CALM_SECONDS)
    storm = [point for point in watch.timeline.points if point.phase in ("storm", "calm")]
    logins = hold.merged(storm, "login")
    outcome.verdicts += [
        verdicts.back(seconds if is_back else None),
        verdicts.worst_login(logins.maximum),
        verdicts.undisturbed(lost(), on_killed),
    ]
    outcome.figures |= {
        "workers": len(workers),
        "workers_killed": len(killed),
        "sessions_on_killed_workers": on_killed,
        "sessions_lost": lost(),
        "all_losses_noticed_seconds": round(noticed, 2),
        "99_percent_back_seconds": round(seconds, 2) if is_back else None,
        "all_back_seconds": round(all_seconds, 2) if all_back else None,
        "storm_login_ms": hold.percentiles(logins),
        "storm_chat_ms": hold.percentiles(hold.merged(storm, "chat")),
        "hold_chat_ms": hold.percentiles(hold.merged(watch.timeline.of("hold"), "chat")),
        "frames_dropped_by_loopback": watch.sampler.dropped_frames(),
    }
    watch.look_every(TICK_SECONDS)
    phases.quiet(watch)
    outcome.figures |= {
        "messages_to_who_was_gone": watch.generator.count("chat_bounced"),
        "messages_lost_with_the_workers": phases.unanswered(watch),
        "all_left_in_order": phases.leave(watch),
    }

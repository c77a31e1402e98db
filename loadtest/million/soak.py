"""The soak: for hours some leave, as many come, and the others talk; Megaphone's memory shall not grow."""

from statistics import fmean
from typing import Final

from loadtest.million import hold, phases, verdicts
from loadtest.million.hold import Outcome
from loadtest.million.plan import Plan
from loadtest.million.timeline import Point
from loadtest.million.watch import Watch

EARLY_SECONDS: Final = 600.0  # after which memory is compared with that at the end
EARLY_PART: Final = 1 / 4  # of a soak that is short
WINDOW_PART: Final = 1 / 20  # of the soak, over which memory is averaged
INTRODUCE_SECONDS: Final = 30.0  # after which those who have come are peers, too
GONE: Final = "message:service-unavailable"  # the answer to who writes to somebody who has left


def run(watch: Watch, plan: Plan, outcome: Outcome) -> None:
    """Fill in the outcome, as far as it gets."""
    ramp = phases.ramp(watch, plan.in_flight)
    outcome.verdicts.append(verdicts.sessions(ramp.sessions, plan.sessions))
    outcome.figures |= ramp.figures()
    phases.talk(watch, plan.rate)
    lost = watch.generator.counters()["lost"]
    watch.begin("soak", plan.hold_seconds)
    began = introduced = watch.now
    owed = [0.0] * len(watch.generator.loaders)
    last = began
    while (now := watch.now) < began + plan.hold_seconds:
        for number, loader in enumerate(watch.generator.loaders):
            owed[number] += loader.share * plan.churn * (now - last)
            if (count := int(owed[number])) > 0:
                owed[number] -= count
                watch.generator.tell(loader, "replace", count)
        last = now
        if now - introduced >= INTRODUCE_SECONDS:
            introduced = now
            watch.generator.introduce()
        watch.until(lambda: False, 1.0)
    points = watch.timeline.of("soak")
    early, late = compared(points, began, plan.hold_seconds)
    outcome.verdicts.append(verdicts.soak_growth(early, late))
    phases.quiet(watch)
    counters = watch.generator.counters()
    outcome.verdicts.append(verdicts.lost(counters["lost"] - lost))
    chat = hold.merged(points, "chat")
    outcome.verdicts.append(verdicts.latency(chat.percentile(99), chat.count))
    outcome.figures |= {
        "soak_seconds": plan.hold_seconds,
        "logins": counters["logins"],
        "memory_early_bytes": round(early),
        "memory_late_bytes": round(late),
        "chat_ms": hold.percentiles(chat),
        "messages_unanswered": phases.unanswered(watch),
        "messages_to_who_had_left": watch.generator.failures()[GONE],
    }
    outcome.figures["all_left_in_order"] = phases.leave(watch)


def compared(points: list[Point], began: float, seconds: float) -> tuple[float, float]:
    """Megaphone's memory after the first ten minutes (a quarter of a short soak), and at the end; averages."""
    window = seconds * WINDOW_PART
    first = began + min(EARLY_SECONDS, seconds * EARLY_PART)
    early = [hold.own_bytes(point.memory) for point in points if first - window < point.at <= first + window]
    late = [hold.own_bytes(point.memory) for point in points if point.at > began + seconds - window]
    return fmean(early or [0]), fmean(late or [0])

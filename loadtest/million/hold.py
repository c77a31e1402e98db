"""The plain run: all log in, are there, talk, and leave."""

from dataclasses import dataclass, field
from typing import Any

from loadtest.million import phases, verdicts
from loadtest.million.plan import Plan
from loadtest.million.sampler import MEGAPHONE
from loadtest.million.timeline import Point
from loadtest.million.verdicts import Verdict
from loadtest.million.watch import Watch
from loadtest.swarm import Histogram


@dataclass(slots=True)
class Outcome:
    """What is said at the end of a run: verdicts, and further figures by name."""

    verdicts: list[Verdict] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


def run(watch: Watch, plan: Plan, outcome: Outcome) -> None:
    """Fill in the outcome, as far as it gets."""
    ramp = phases.ramp(watch, plan.in_flight)
    outcome.verdicts.append(verdicts.sessions(ramp.sessions, plan.sessions))
    outcome.verdicts.append(verdicts.logins(ramp.per_second))
    outcome.figures |= ramp.figures()
    before = watch.generator.counters()
    phases.idle(watch, plan.idle_seconds)
    phases.talk(watch, plan.rate)
    talking = plan.hold_seconds - plan.idle_seconds
    watch.begin("hold", talking)
    talked_from = watch.now
    watch.until(lambda: False, talking)
    watch.look_at_all()
    phases.pace(watch, 0.0)
    talked = watch.now - talked_from
    phases.quiet(watch)
    held = watch.timeline.of("hold")
    after = watch.generator.counters()
    sent = after["chat_sent"] - before["chat_sent"]
    bounced = after["chat_bounced"] - before["chat_bounced"]
    outcome.verdicts += [
        verdicts.lost(after["lost"] - before["lost"]),
        verdicts.messages(phases.unanswered(watch), bounced, sent),
        verdicts.rate((after["chat_received"] - before["chat_received"]) / talked, plan.rate),
    ]
    outcome.verdicts += figures(watch, held, ramp.sessions, outcome)
    outcome.figures["all_left_in_order"] = phases.leave(watch)


def figures(watch: Watch, held: list[Point], sessions: int, outcome: Outcome) -> list[Verdict]:
    """What was measured during the hold, as figures; the verdicts about it."""
    chat = merged([*held, *watch.timeline.of("quiet")], "chat")
    memory = largest(held)
    empty = watch.sampler.memory_empty
    user = memory.get("workers", 0) - empty.get("workers", 0)
    own = sum(memory.get(side, 0) for side in MEGAPHONE)
    kernel = memory.get("server_kernel", 0) - empty.get("server_kernel", 0)
    outcome.figures |= {
        "chat_ms": percentiles(chat),
        "login_ms": percentiles(merged(watch.timeline.points, "login")),
        "generator_lateness_ms": percentiles(merged(held, "lateness")),
        "memory_bytes": memory,
        "memory_empty_bytes": empty,
        "memory_unaccounted_bytes": watch.sampler.unaccounted_bytes(),
        "session_user_bytes": round(user / max(1, sessions)),
        "session_kernel_bytes": round(kernel / max(1, sessions)),
        "session_total_bytes": round(own / max(1, sessions)),
        "sockets": watch.sampler.sockets.count,
        "frames_dropped_by_loopback": watch.sampler.dropped_frames(),
        "cpu_of_the_hold": {
            side: round(sum(point.cpu[side] for point in held) / sum(point.seconds for point in held), 3)
            for side in (held[0].cpu if held else ())
        },
        **_cpu(watch),
    }
    return [
        verdicts.latency(chat.percentile(99), chat.count),
        verdicts.memory(own),
        verdicts.session_memory(user / max(1, sessions)),
    ]


def merged(points: list[Point], name: str) -> Histogram:
    """The durations of all points."""
    return Histogram.merged(point.durations[name] for point in points if name in point.durations)


def percentiles(durations: Histogram) -> dict[str, float]:
    """Milliseconds."""
    return {
        "count": durations.count,
        **{f"p{percent:g}": round(durations.percentile(percent) * 1000, 2) for percent in (50, 90, 99, 99.9)},
        "max": round(durations.maximum * 1000, 2),
    }


def largest(points: list[Point]) -> dict[str, int]:
    """The memory by side at the moment when Megaphone had the most."""
    return dict(max((point.memory for point in points), key=own_bytes, default={}))


def own_bytes(memory: Any) -> int:
    """Megaphone's own part."""
    return sum(memory.get(side, 0) for side in MEGAPHONE)


def _cpu(watch: Watch) -> dict[str, Any]:
    """Microseconds of CPU for each login, message and idle session and second, of the workers and the generator."""
    found: dict[str, Any] = {}
    spent = {phase: _spent(watch.timeline.of(phase)) for phase in ("ramp", "idle", "hold")}
    for side in ("workers", "generator"):
        ramp, idle, hold = (spent[phase] for phase in ("ramp", "idle", "hold"))
        each_second = idle[side] / idle["seconds"] if idle["seconds"] else 0.0
        talking = hold[side] - each_second * hold["seconds"]
        found[f"{side}_cpu_us"] = {
            "per_login": round(ramp[side] / ramp["logins"] * 1e6, 2) if ramp["logins"] else None,
            "per_message": round(talking / hold["messages"] * 1e6, 2) if hold["messages"] else None,
            "per_idle_session_and_minute": round(each_second * 60 / idle["open"] * 1e6, 2) if idle["open"] else None,
        }
    return found


def _spent(points: list[Point]) -> dict[str, float]:
    found = {side: sum(point.cpu.get(side, 0.0) for point in points) for side in ("workers", "generator")}
    return found | {
        "seconds": sum(point.seconds for point in points),
        "logins": sum(point.counts["logins"] for point in points),
        "messages": sum(point.counts["chat_received"] for point in points),
        "open": points[-1].open if points else 0,
    }

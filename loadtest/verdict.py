"""Whether a test passed: what was measured against the profile's criteria, as a table."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from loadtest.profiles import Profile

GENERATOR_LATE_MS = 100.0


@dataclass(slots=True)
class Measured:
    """What a test found, over all its processes; times in milliseconds of Locust's two digits."""

    wanted: int = 0
    """Sessions asked for."""
    ramp_seconds: float | None = None
    """How long it took until enough were live; None: they never were."""
    live_at_end: int = 0
    lost: int = 0
    """Sessions lost during the hold."""
    disturbed: int = 0
    """Sessions lost from the disturbance on."""
    disturbance_failed: str = ""
    back_seconds: float | None = None
    """From the end of the disturbance until enough were live for good; None: they never were."""
    p99_ms: dict[str, int] = field(default_factory=dict)
    """By kind: login, message, ping, room, lateness. What never happened is not there."""
    hold_seconds: float = 0.0
    sent: int = 0
    """Chat messages during the hold; deliveries due to rooms are in `room_expected`."""
    undelivered: int = 0
    """Of all messages and room deliveries ever due, neither delivered nor returned."""
    due: int = 0
    refused: int = 0
    hostile: int = 0
    """Bad inputs that were answered in some way; `refused` of them with the right stream error."""
    failures: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """What went wrong in the load test itself."""


@dataclass(frozen=True, slots=True)
class Line:
    """One criterion."""

    criterion: str
    wanted: str
    measured: str
    passed: bool


def judge(profile: Profile, measured: Measured) -> list[Line]:
    """One line for each criterion that the profile asks for, and one for each problem."""
    lines = [*_sessions(profile, measured), *_disturbance(profile, measured), *_traffic(profile, measured)]
    lines += _failures(profile, measured)
    lines += [Line(each, "no problem", "problem", False) for each in measured.problems]
    return lines


def table(lines: list[Line]) -> str:
    """The lines as text."""
    rows = [("criterion", "wanted", "measured", "verdict")]
    rows += [(each.criterion, each.wanted, each.measured, "pass" if each.passed else "MISSED") for each in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    rows.insert(1, tuple("-" * width for width in widths))  # type: ignore[arg-type]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def passed(lines: list[Line]) -> bool:
    """Whether all criteria are met."""
    return all(each.passed for each in lines)


def _sessions(profile: Profile, measured: Measured) -> Iterator[Line]:
    criteria, wanted = profile.criteria, measured.wanted
    within, took = profile.timing.ramp_seconds, measured.ramp_seconds
    rooms = " and in rooms" if profile.activity.room_occupants else ""
    yield _soon(f"{criteria.live_percent:g} % of the sessions live{rooms} within", within, took)
    yield _at_least("sessions live at the end", criteria.live_percent, measured.live_at_end, wanted)
    if criteria.lost_percent is not None:
        yield _at_most("sessions lost during the hold", criteria.lost_percent, measured.lost, wanted)


def _disturbance(profile: Profile, measured: Measured) -> Iterator[Line]:
    criteria = profile.criteria
    if profile.disturbance:
        failed = measured.disturbance_failed
        yield Line("the disturbance took place", "yes", failed or "yes", not failed)
    if criteria.disturbed_percent is not None:
        asked = criteria.disturbed_percent
        yield _at_least("sessions lost by the disturbance", asked, measured.disturbed, measured.wanted)
    if criteria.back_seconds is not None:
        yield _soon(f"{criteria.back_percent:g} % live again within", criteria.back_seconds, measured.back_seconds)


def _traffic(profile: Profile, measured: Measured) -> Iterator[Line]:
    criteria, every = profile.criteria, profile.activity.chat_seconds
    limits = {
        "login": criteria.login_p99_ms,
        "message": criteria.message_p99_ms,
        "ping": criteria.ping_p99_ms,
        "room": criteria.room_p99_ms,
    }
    for kind, limit in limits.items():
        if limit is not None:
            found = measured.p99_ms.get(kind)
            text = "none" if found is None else f"{found} ms"
            yield Line(f"99 % of {kind} times", f"<= {limit:g} ms", text, found is not None and found <= limit)
    if criteria.undelivered_percent is not None:
        yield _at_most("messages not delivered", criteria.undelivered_percent, measured.undelivered, measured.due)
    if criteria.rate_percent is not None:
        planned = round(measured.wanted / every * measured.hold_seconds) if every else 0
        yield _at_least("messages sent of those planned", criteria.rate_percent, measured.sent, planned)
    if criteria.refused_percent is not None:
        yield _at_least("hostile input refused", criteria.refused_percent, measured.refused, measured.hostile)


def _failures(profile: Profile, measured: Measured) -> Iterator[Line]:
    """A reason falls under its own limit, its place's or `*`, in this order; limits that nothing fell under are met."""
    limits = profile.criteria.failures_percent
    counts = {name: 0 for name in limits if name != "*"}
    others: dict[str, int] = {}
    for reason, count in measured.failures.items():
        name = next((each for each in (reason, reason.partition(":")[0]) if each in counts), None)
        if name:
            counts[name] += count
        else:
            others[reason] = count
    for name, count in counts.items():
        yield _at_most(f"failures of {name}", limits[name], count, measured.wanted)
    if "*" in limits:
        for reason, count in others.items() or [("any other reason" if counts else "any reason", 0)]:
            yield _at_most(f"failures of {reason}", limits["*"], count, measured.wanted)


def _soon(criterion: str, limit: float, seconds: float | None) -> Line:
    text = "never" if seconds is None else f"{seconds:.1f} s"
    return Line(criterion, f"<= {limit:g} s", text, seconds is not None and seconds <= limit)


def _at_most(criterion: str, limit: float, part: int, whole: int) -> Line:
    return Line(criterion, f"<= {limit:g} %", _share(part, whole), whole > 0 and 100 * part <= limit * whole)


def _at_least(criterion: str, limit: float, part: int, whole: int) -> Line:
    return Line(criterion, f">= {limit:g} %", _share(part, whole), whole > 0 and 100 * part >= limit * whole)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.4g} % ({part} of {whole})" if whole else "there were none"


def remark(measured: Mapping[str, int]) -> str:
    """A warning if the load generator itself was late: then its figures are no longer the server's."""
    late = measured.get("lateness", 0)
    if late <= GENERATOR_LATE_MS:
        return ""
    return (
        f"The load generator itself was late: 1 % of its messages went out {late} ms or more after they were due. "
        "The times above are partly its own; give it more processes (--processes) or machines."
    )

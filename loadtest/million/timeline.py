"""What a run was like over time: points of some seconds each, of a bounded number."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, TypeVar

from loadtest.swarm import Histogram

MOST_POINTS: Final = 1_200  # kept; then they become half as many
PERCENTILES: Final = (50, 99, 99.9)

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Point:
    """The interval that ends `at` seconds after the start; memory and sessions are those at its end."""

    at: float
    seconds: float
    phase: str
    open: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)  # of events in the interval: logins, lost, ...
    cpu: Mapping[str, float] = field(default_factory=dict)  # seconds of a processor in the interval, by side
    memory: Mapping[str, int] = field(default_factory=dict)  # bytes by side
    durations: Mapping[str, Histogram] = field(default_factory=dict)

    def joined(self, later: "Point") -> "Point":
        """Both intervals as one."""
        return replace(
            later,
            seconds=self.seconds + later.seconds,
            counts=_sums(self.counts, later.counts),
            cpu=_sums(self.cpu, later.cpu),
            durations={
                name: self.durations.get(name, Histogram()) + later.durations.get(name, Histogram())
                for name in self.durations.keys() | later.durations.keys()
            },
        )

    def rate(self, count: str) -> float:
        """Events of a kind a second."""
        return self.counts.get(count, 0) / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """The point for report.json: rates a second, milliseconds, MB (10^6 bytes), processors."""
        return {
            "at": round(self.at, 1),
            "phase": self.phase,
            "open": self.open,
            "logins": round(self.rate("logins"), 1),
            "messages": round(self.rate("chat_received"), 1),
            "lost": self.counts.get("lost", 0),
            "cpu": {side: round(spent / self.seconds, 3) for side, spent in self.cpu.items()} if self.seconds else {},
            "memory": {side: round(size / 1e6, 1) for side, size in self.memory.items()},
            **{
                name: [round(durations.percentile(percent) * 1000, 2) for percent in PERCENTILES]
                for name, durations in self.durations.items()
                if name in ("login", "chat") and durations.counts
            },
        }


class Timeline:
    """Points in order of time, at most MOST_POINTS."""

    def __init__(self) -> None:
        self.points: list[Point] = []

    def add(self, point: Point) -> None:
        """Add a point; when there are too many, some are joined."""
        self.points.append(point)
        if len(self.points) > MOST_POINTS:
            self.points = thinned(self.points, MOST_POINTS // 2)

    def of(self, phase: str) -> list[Point]:
        """The points of a phase."""
        return [point for point in self.points if point.phase == phase]


def thinned(points: Iterable[Point], most: int) -> list[Point]:
    """At most `most` points, or one for each phase: neighbours of one phase are joined to intervals of one length."""
    found = list(points)
    if not found:
        return found
    phases = 1 + sum(one.phase != other.phase for one, other in pairwise(found))
    seconds = sum(point.seconds for point in found) / most
    while len(joined := _joined(found, seconds)) > max(most, phases):
        seconds *= 1.1
    return joined


def _joined(points: Iterable[Point], seconds: float) -> list[Point]:
    """Neighbours of one phase as one, as long as they are not longer than `seconds` together."""
    joined: list[Point] = []
    for point in points:
        last = joined[-1] if joined else None
        if last is not None and last.phase == point.phase and last.seconds + point.seconds <= seconds:
            joined[-1] = last.joined(point)
        else:
            joined.append(point)
    return joined


def _sums(one: Mapping[str, Number], other: Mapping[str, Number]) -> dict[str, Number]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in one.keys() | other.keys()}

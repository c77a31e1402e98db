"""The run as it goes: hears the load processes, looks at both sides each second, and shows it."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from loadtest.million.generator import Generator
from loadtest.million.sampler import Sampler
from loadtest.million.server import Server
from loadtest.million.timeline import Point, Timeline

TICK_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 60.0
LEAST_SECONDS: Final = 0.1  # a point of less would show rates that never were
CONNECTED: Final = ("connecting", "open", "closing")
COUNTED: Final = (
    "logins",
    "login_failures",
    "lost",
    "reconnects",
    "closed",
    "chat_sent",
    "chat_received",
    "chat_bounced",
    "chat_unsent",
    "spaces_sent",
    "stanza_errors",
)


class Shows(Protocol):
    """Whoever shows the progress."""

    def show(self, point: Point, part: float | None) -> None:
        """One more second has passed, and `part` of the phase; None when its length is not known."""


class Watch:
    """`phase` is what the points of the timeline are called from now on; `turn` is the heart beat of a run."""

    def __init__(self, server: Server, generator: Generator, sampler: Sampler, progress: Shows) -> None:
        self.server = server
        self.generator = generator
        self.sampler = sampler
        self.timeline = Timeline()
        self.phase = "start"
        self._progress = progress
        self._tick_seconds = TICK_SECONDS
        self.longest_pause = 0.0  # seconds that a look came too late, because nothing ran or the machine was too busy
        self._counters: Counter[str] = Counter()
        sampler.spent()
        self._began = self._ticked = time.monotonic()
        self._phase_from = self._phase_seconds = 0.0

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def begin(self, phase: str, seconds: float = 0.0) -> None:
        """What happens from now on belongs to another phase, which takes so long, if that is known."""
        if time.monotonic() - self._ticked >= LEAST_SECONDS:
            self.tick()
        self.phase = phase
        self._phase_from, self._phase_seconds = self.now, seconds

    def look_every(self, seconds: float) -> None:
        """Look, and let the load processes report, so often from now on."""
        self._tick_seconds = seconds
        self.generator.tell_all("report_every", seconds)

    def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Turn until the condition holds, or for so many seconds; whether it holds."""
        deadline = time.monotonic() + seconds
        while not (held := condition()) and (rest := deadline - time.monotonic()) > 0:
            self.turn(rest)
        return held

    def look_at_all(self) -> None:
        """Have the memory of all processes looked at now, while the run goes on."""
        rounds = self.sampler.ask()
        self.until(lambda: self.sampler.rounds >= rounds, LOOK_SECONDS)

    def turn(self, seconds: float = TICK_SECONDS) -> None:
        """Wait for news, at most so long; now and then a point. ServerError or GeneratorError when a side has ended."""
        rest = self._ticked + self._tick_seconds - time.monotonic()
        if rest > 0:
            self.generator.listen(min(rest, seconds))
        else:
            self.generator.listen(0.0)
            self.tick()

    def tick(self) -> None:
        """Look at everything, and make a point of it."""
        self.server.check()
        now = time.monotonic()
        seconds, self._ticked = now - self._ticked, now
        self.longest_pause = max(self.longest_pause, seconds - self._tick_seconds)
        counters = self.generator.counters()
        self.sampler.connections = sum(counters[state] for state in CONNECTED)
        point = Point(
            at=now - self._began,
            seconds=seconds,
            phase=self.phase,
            open=counters["open"],
            counts={name: counters[name] - self._counters[name] for name in COUNTED},
            cpu=self.sampler.spent(),
            memory=self.sampler.memory(),
            durations=self.generator.take_durations(),
        )
        self._counters = counters
        self.timeline.add(point)
        part = (self.now - self._phase_from) / self._phase_seconds if self._phase_seconds else None
        self._progress.show(point, part)

"""The phases of a run: all log in, all are there, all talk, all leave."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from loadtest.million.generator import Loader
from loadtest.million.watch import Watch

AT_ONCE: Final = 8  # load processes that log in or leave at a time: few with much to do cost less than many with little
STALL_SECONDS: Final = 60.0  # without a single login more, the ramp is over
SETTLE_SECONDS: Final = 30.0
UNCHANGED_SECONDS: Final = 5.0  # after which no message is expected any more
LEAVE_SECONDS: Final = 60.0
LEAVES_PER_SECOND: Final = 1_000  # at least, beside that time


@dataclass(frozen=True, slots=True)
class Ramp:
    """How the logins went."""

    sessions: int
    seconds: float
    lost: int  # and back again, if all are there

    @property
    def per_second(self) -> float:
        """Logins a second, from the first to the last."""
        return self.sessions / self.seconds if self.seconds else 0.0

    def figures(self) -> dict[str, Any]:
        """For the report."""
        return {
            "ramp_seconds": round(self.seconds, 2),
            "logins_per_second": round(self.per_second, 1),
            "sessions_lost_in_the_ramp": self.lost,
        }


def ramp(watch: Watch, in_flight: int) -> Ramp:
    """Log all in as fast as the host takes it, with at most `in_flight` logins under way."""
    watch.begin("ramp")
    waiting = list(watch.generator.loaders)
    width = min(AT_ONCE, len(waiting), in_flight)
    active: list[Loader] = []
    began = progressed = time.monotonic()
    sessions = sum(loader.share for loader in waiting)
    opened = 0
    while True:
        active = [loader for loader in active if loader.report.counters.get("open", 0) < loader.share]
        while waiting and len(active) < width:
            loader = waiting.pop(0)
            watch.generator.tell(loader, "open", loader.share, in_flight // width)
            active.append(loader)
        now = time.monotonic()
        if (count := watch.generator.count("open")) > opened:
            opened, progressed = count, now
        # Some may have been lost since their load process had all.
        if (not active and count >= sessions) or now - progressed > STALL_SECONDS:
            return Ramp(count, now - began, watch.generator.count("lost"))
        watch.turn()


def idle(watch: Watch, seconds: float) -> None:
    """All are there and only keep themselves alive."""
    watch.begin("idle", seconds)
    watch.until(lambda: False, seconds)


def talk_in_pairs(watch: Watch, rate: float, loaders: Sequence[Loader]) -> int:
    """From now on the sessions of these load processes talk, each to one of them for good; how many they are."""
    count = watch.generator.pair(loaders)
    pace(watch, rate)
    return count


def talk(watch: Watch, rate: float) -> None:
    """From now on random pairs of all sessions talk, `rate` messages a second."""
    watch.generator.introduce()
    pace(watch, rate)


def pace(watch: Watch, rate: float) -> None:
    """So many messages a second from now on."""
    loaders = [loader for loader in watch.generator.loaders if loader.talks]
    sessions = sum(loader.share for loader in loaders)
    for loader in loaders:
        watch.generator.tell(loader, "change", {"chat_per_second": rate * loader.share / sessions})


def quiet(watch: Watch) -> None:
    """Nobody talks any more: wait for the messages that are on their way."""
    pace(watch, 0.0)
    watch.begin("quiet")
    loaders = watch.generator.loaders
    heard = [loader.reports for loader in loaders]
    # The next report of each may have been on its way already.
    watch.until(
        lambda: all(loader.reports >= old + 2 for loader, old in zip(loaders, heard, strict=True)), SETTLE_SECONDS
    )
    waiting, since = unanswered(watch), watch.now

    def settled() -> bool:
        nonlocal waiting, since
        if (now := unanswered(watch)) != waiting:
            waiting, since = now, watch.now
        return now == 0 or watch.now - since > UNCHANGED_SECONDS

    watch.until(settled, SETTLE_SECONDS)


def unanswered(watch: Watch) -> int:
    """Messages that were neither delivered nor came back with an error."""
    count = watch.generator.count
    return count("chat_sent") - count("chat_received") - count("chat_bounced")


def leave(watch: Watch) -> bool:
    """All leave in order; whether all have."""
    watch.begin("leave")
    waiting = list(watch.generator.loaders)
    active: list[Loader] = []
    sessions = watch.generator.count("open")
    deadline = time.monotonic() + LEAVE_SECONDS + sessions / LEAVES_PER_SECOND
    while time.monotonic() < deadline:
        active = [loader for loader in active if not _gone(loader)]
        while waiting and len(active) < AT_ONCE:
            loader = waiting.pop(0)
            watch.generator.tell(loader, "leave")
            active.append(loader)
        if not active:
            return True
        watch.turn()
    return False


def _gone(loader: Loader) -> bool:
    counters = loader.report.counters
    return bool(counters) and counters["open"] + counters["closing"] + counters["connecting"] == 0

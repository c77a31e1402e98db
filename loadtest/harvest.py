"""What happened in a swarm since last time, as rows of Locust's statistics.

| Type | Name | response time |
|---|---|---|
| LOGIN | mechanism and security | from connect to the bound resource |
| MESSAGE | one to one | from sent to delivered |
| PING | round trip | from request to answer (XEP-0199) |
| ROOM | delivery, join | from sent to delivered, for each occupant; from asking to being inside |
| CLOSE | in order | from unavailable to the server's end of stream |
| SESSION | kept | failures only: sessions that were lost, by reason |
| HOSTILE | refused | none: bad input that got the right stream error; what did not is a failure |
| LATENESS | of this generator | how much later than planned messages were sent; not in the total |
"""

from collections.abc import Mapping
from typing import Protocol

from locust.stats import RequestStats

from loadtest.bulk import add_count, add_failures, add_times
from loadtest.swarm import Histogram
from loadtest.swarm.histogram import highest_of

MESSAGE = ("MESSAGE", "one to one")
PING = ("PING", "round trip")
ROOM = ("ROOM", "delivery")
JOIN = ("ROOM", "join")
CLOSE = ("CLOSE", "in order")
SESSION = ("SESSION", "kept")
HOSTILE = ("HOSTILE", "refused")
LATENESS = ("LATENESS", "of this generator")

Row = tuple[str, str]

HISTOGRAMS: dict[str, Row] = {"chat": MESSAGE, "ping": PING, "room": ROOM, "join": JOIN, "close": CLOSE}
"""Which histogram of a swarm is which row, besides `login` and `lateness`."""

PLACES: dict[str, Row] = {
    **dict.fromkeys(("session", "stream", "ping"), SESSION),
    "message": MESSAGE,
    "room": ROOM,
    "close": CLOSE,
}
"""Where a failure belongs, by the part of its reason before the colon; all others kept a session from logging in."""


class Swarming(Protocol):
    """What is read of a swarm (`loadtest.swarm.Swarm`)."""

    def counters(self) -> dict[str, int]:
        """What is and what was."""

    def failures(self) -> dict[str, int]:
        """Failures ever, by reason."""

    def histograms(self) -> dict[str, Histogram]:
        """Durations ever."""


class Harvest:
    """Brings what is new in one swarm into the statistics.

    `login` is the name of the row of logins. Of clients that misbehave (`odd`) only the hostile ones' results count:
    whatever else the server does with them is its right.
    """

    def __init__(self, swarm: Swarming, login: str, *, odd: bool = False) -> None:
        self._swarm = swarm
        self._login: Row = ("LOGIN", login)
        self._odd = odd
        self._counters: Mapping[str, int] = {}
        self._failures: Mapping[str, int] = {}
        self._histograms: Mapping[str, Histogram] = {}

    def bring(self, stats: RequestStats) -> dict[str, int]:
        """Add what came since the last call; returns the swarm's counters as they are now."""
        counters, failures, histograms = self._swarm.counters(), self._swarm.failures(), self._swarm.histograms()
        if self._odd:
            refused = counters.get("hostile_refused", 0) - self._counters.get("hostile_refused", 0)
            add_count(stats, *HOSTILE, refused)
        else:
            for name, now in histograms.items():
                new = now - self._histograms.get(name, Histogram())
                row = LATENESS if name == "lateness" else HISTOGRAMS.get(name, self._login)
                add_times(stats, *row, milliseconds(new), in_total=row is not LATENESS)
        for reason, count in failures.items():
            if new_failures := count - self._failures.get(reason, 0):
                place = reason.partition(":")[0]
                if not self._odd:
                    add_failures(stats, *PLACES.get(place, self._login), reason, new_failures)
                elif place == "hostile":
                    add_failures(stats, *HOSTILE, reason, new_failures)
        self._counters, self._failures, self._histograms = counters, failures, histograms
        return counters


def milliseconds(histogram: Histogram) -> list[tuple[float, int]]:
    """The buckets of a histogram as Locust counts: milliseconds, to 1 part in 128."""
    return [(highest_of(bucket) / 1e3, count) for bucket, count in histogram.counts.items()]

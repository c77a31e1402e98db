"""How many sessions there are and what became of them, over all flocks of all processes of a test."""

import time
from collections.abc import Mapping
from typing import Any

NOW = frozenset({"wanted", "connecting", "open", "closing", "waiting", "occupants", "peers"})
"""Counters of a swarm that say what is; all others say what ever was, and are kept when a flock ends."""
REPORT_KEY = "loadtest_census"
SILENT_AFTER_SECONDS = 10.0


class Census:
    """The counters of this process's flocks and, on a master, of its workers; odd clients' begin with `odd_`."""

    def __init__(self) -> None:
        self._flocks: dict[object, tuple[float, Mapping[str, int]]] = {}
        self._ended: dict[str, int] = {}
        self._workers: dict[str, tuple[float, Mapping[str, int]]] = {}
        self.problems: list[str] = []
        """What kept a flock from being what it should be, for the tester to read."""

    def clear(self) -> None:
        """Begin a new test."""
        self.__init__()  # type: ignore[misc]

    def count(self, flock: object, counters: Mapping[str, int]) -> None:
        """Take the present counters of a flock."""
        self._flocks[flock] = (time.monotonic(), counters)

    def end(self, flock: object) -> None:
        """A flock is no more: only what it did remains."""
        for name, value in self._flocks.pop(flock, (0.0, {}))[1].items():
            if name.removeprefix("odd_") not in NOW:
                self._ended[name] = self._ended.get(name, 0) + value

    def problem(self, text: str) -> None:
        """Note a problem; the same one once, and no more than a hundred."""
        if text not in self.problems and len(self.problems) < 100:
            self.problems.append(text)

    def totals(self) -> dict[str, int]:
        """All counters, summed. A worker that has not reported for 10 seconds has no sessions."""
        silent = time.monotonic() - SILENT_AFTER_SECONDS
        found = dict(self._ended)
        for _, counters in self._flocks.values():
            _add(found, counters)
        for reported, counters in self._workers.values():
            present = reported > silent
            _add(found, {name: value for name, value in counters.items() if present or name not in NOW})
        return found

    def of_when(self) -> float:
        """Since when the totals are so, on `time.monotonic`: on average, for each flock counts at its own moments."""
        moments = [moment for moment, _ in (self._flocks or self._workers).values()]
        return sum(moments) / len(moments) if moments else time.monotonic()

    def report(self, client_id: str, data: dict[str, Any]) -> None:
        """Listener of `report_to_master`: what a worker adds to its report."""
        data[REPORT_KEY] = {
            "counters": self.totals(),
            "age": time.monotonic() - self.of_when(),
            "problems": self.problems,
        }

    def receive(self, client_id: str, data: Mapping[str, Any]) -> None:
        """Listener of `worker_report`: takes that on the master."""
        if found := data.get(REPORT_KEY):
            self._workers[client_id] = (time.monotonic() - found["age"], found["counters"])
            for each in found["problems"]:
                self.problem(each)


def _add(found: dict[str, int], counters: Mapping[str, int]) -> None:
    for name, value in counters.items():
        found[name] = found.get(name, 0) + value

"""One load process: a swarm that does what it is told over a pipe, and reports once a second."""

import ctypes
import json
import os
import select
import signal
import time
from dataclasses import dataclass, field
from math import ceil
from multiprocessing.connection import Connection
from typing import Any, Final

from loadtest.swarm import Accounts, Histogram, Settings, Swarm, Target

REPORT_SECONDS: Final = 1.0
CLOSING_AT_ONCE: Final = 256  # sessions that wait for the server's farewell
HISTOGRAMS: Final = ("login", "chat", "lateness", "ping")
PR_SET_PDEATHSIG: Final = 1

_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class Report:
    """Counters and failures are of all time, durations (bucket: count) of the time since the report before."""

    counters: dict[str, int]
    failures: dict[str, int]
    durations: dict[str, dict[int, int]] = field(default_factory=dict)


@dataclass(slots=True)
class Told:
    """A command: `what` is a method of LoadProcess."""

    what: str
    arguments: tuple[Any, ...] = ()


def run(channel: Connection, target: Target, settings: Settings, limit: int) -> None:
    """Be a load process until told to stop, or until the other end of the channel is gone."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # A client that wakes up does not push the server aside that has just said something to it: elsewhere it would
    # have processors of its own.
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with Swarm(target, Accounts.anonymous(), settings, limit=limit) as swarm:
        LoadProcess(channel, swarm).run()


class LoadProcess:
    """The commands, and the loop around the swarm's turns."""

    def __init__(self, channel: Connection, swarm: Swarm) -> None:
        self._channel = channel
        self._swarm = swarm
        self._before = {name: Histogram() for name in HISTOGRAMS}
        self._report_seconds = REPORT_SECONDS
        self._coming = 0  # sessions that are to come as soon as others have left
        self._goal: int | None = None  # open sessions that the parent waits for
        self._leaving = False
        self._stopped = False

    def run(self) -> None:
        """Turn, listen and report until stopped."""
        poll = select.poll()
        poll.register(self._swarm, select.POLLIN)
        poll.register(self._channel, select.POLLIN)
        report_at = time.monotonic() + REPORT_SECONDS
        while not self._stopped:
            seconds = self._swarm.turn()
            if self._coming:
                self._come()
            if self._goal is not None or self._leaving:
                self._step()
            now = time.monotonic()
            if now >= report_at:
                self.report()
                report_at = max(report_at + self._report_seconds, now)
            report_at = min(report_at, now + self._report_seconds)
            milliseconds = ceil(max(0.0, min(seconds, report_at - now)) * 1000)
            for descriptor, _ in poll.poll(milliseconds):
                if descriptor == self._channel.fileno():
                    self._hear()

    def _hear(self) -> None:
        try:
            told: Told = self._channel.recv()
        except (EOFError, OSError):  # the parent has ended, perhaps in the middle of a word
            self._stopped = True
            return
        getattr(self, told.what)(*told.arguments)

    def _come(self) -> None:
        count = min(self._coming, self._swarm.room)
        self._coming -= count
        self._swarm.open(count)

    def _step(self) -> None:
        counters = self._swarm.counters()
        if self._goal is not None and counters["open"] >= self._goal:
            self._goal = None
            self.report()
        if self._leaving:
            if counters["open"] == counters["closing"] == 0:
                self._leaving = False
                self.report()
            elif (room := CLOSING_AT_ONCE - counters["closing"]) > 0:
                self._swarm.close(min(room, max(1, counters["open"])))

    # --- what the parent tells ----------------------------------------------------

    def open(self, count: int, at_once: int) -> None:
        """Log `count` sessions in, and report as soon as they are open."""
        self._goal = self._swarm.counters()["open"] + count
        self._swarm.open(count, at_once=at_once)

    def change(self, settings: dict[str, Any]) -> None:
        """Put other settings of the swarm in force."""
        self._swarm.change(**settings)

    def jids(self, sample: int) -> None:
        """Answer with full JIDs of open sessions."""
        self._say(self._swarm.jids(sample))

    def peers(self, jids: bytes) -> None:
        """Chat to these from now on."""
        self._swarm.peers(jids)

    def longest_deliveries(self) -> None:
        """Answer with the longest delivery to each session since the last time, as JSON of a histogram."""
        self._say(json.dumps(self._swarm.longest_deliveries().as_json()).encode())

    def leave(self) -> None:
        """Let all sessions leave in order, some at a time, and report when they have left."""
        self._goal = None
        self._coming = 0
        self._leaving = True

    def replace(self, count: int) -> None:
        """Let some sessions leave in order, and as many others come; where there is no room for both, one by one."""
        self._swarm.close(count)
        self._coming += count
        self._come()

    def report_every(self, seconds: float) -> None:
        """Report so often from now on."""
        self._report_seconds = seconds

    def stop(self) -> None:
        """End; what is still open is reset."""
        self._stopped = True

    def report(self) -> None:
        """Say how it is."""
        now = self._swarm.histograms()
        durations = {name: (now[name] - self._before[name]).counts for name in HISTOGRAMS}
        self._before = now
        self._say(Report(self._swarm.counters(), self._swarm.failures(), durations))

    def _say(self, what: Report | bytes) -> None:
        try:
            self._channel.send(what)
        except OSError:
            self._stopped = True


def close_other_descriptors(own: int) -> None:
    """In a forked process: close all descriptors but the first three and our own."""
    most = os.sysconf("SC_OPEN_MAX")
    os.closerange(3, own)
    os.closerange(own + 1, most)

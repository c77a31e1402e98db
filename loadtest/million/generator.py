"""All load processes together: forked from one parent, told what to do, and heard."""

import gc
import json
import os
import random
import selectors
import signal
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Final

from loadtest.million import load_process
from loadtest.million.load_process import HISTOGRAMS, Report, Told
from loadtest.million.shares import Share, Way
from loadtest.swarm import Histogram, Settings, Target

ANSWER_SECONDS: Final = 120.0
LIMIT_ROOM: Final = 64  # sessions beyond its share that a swarm may have: those that leave while others come


class GeneratorError(Exception):
    """A load process has ended by itself or does not answer."""


@dataclass(slots=True)
class Loader:
    """A load process as its parent sees it."""

    pid: int
    channel: Connection
    share: int  # sessions that it shall have
    way: Way = "plain"
    talks: bool = True  # whether its sessions chat
    report: Report = field(default_factory=lambda: Report({}, {}))
    reports: int = 0  # heard so far


class Generator:
    """The load generator. `targets` has one for each load process, with its source addresses, and so has `shares`."""

    def __init__(self, targets: Sequence[Target], shares: Sequence[Share], settings: Settings) -> None:
        self.loaders: list[Loader] = []
        self._selector = selectors.DefaultSelector()
        self._answer: bytes | None = None
        self._durations: dict[str, Counter[int]] = {name: Counter() for name in HISTOGRAMS}
        gc.collect()
        gc.freeze()  # the collector would write to pages that all load processes share
        for target, share in zip(targets, shares, strict=True):
            self.loaders.append(self._fork(target, share, settings))
        gc.unfreeze()

    def _fork(self, target: Target, share: Share, settings: Settings) -> Loader:
        ours, theirs = Pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                load_process.close_other_descriptors(theirs.fileno())
                load_process.run(theirs, target, settings, share.sessions + LIMIT_ROOM)
                code = 0
            except BaseException:  # noqa: BLE001 - nothing of the parent's may run in here, such as what puts settings back
                traceback.print_exc()
            finally:
                os._exit(code)
        theirs.close()
        loader = Loader(pid, ours, share.sessions, share.way)
        self._selector.register(ours, selectors.EVENT_READ, loader)
        return loader

    @property
    def pids(self) -> list[int]:
        """The load processes."""
        return [loader.pid for loader in self.loaders]

    # --- telling --------------------------------------------------------------------

    def tell(self, loader: Loader, what: str, *arguments: Any) -> None:
        """Tell one load process to do something; see LoadProcess. GeneratorError if it is gone."""
        try:
            loader.channel.send(Told(what, arguments))
        except OSError:
            raise self._gone(loader) from None

    def tell_all(self, what: str, *arguments: Any) -> None:
        """Tell all of them the same."""
        for loader in self.loaders:
            self.tell(loader, what, *arguments)

    def introduce(self) -> int:
        """Let every session be somebody's peer: each load process gets an equal part of every one's JIDs; their number.

        So the pairs are random ones of all load processes, and of all workers behind them.
        """
        count = len(self.loaders)
        parts: list[list[bytes]] = [[] for _ in self.loaders]
        total = 0
        for number, loader in enumerate(self.loaders):
            lines = self._ask(loader, "jids", loader.share + LIMIT_ROOM).splitlines()
            total += len(lines)
            for turn in range(count):
                parts[(number + turn) % count].append(b"\n".join(lines[turn::count]))
        for loader, part in zip(self.loaders, parts, strict=True):
            self.tell(loader, "peers", b"\n".join(filter(None, part)))
            part.clear()
        return total

    def pair(self, loaders: Sequence[Loader]) -> int:
        """Let these alone talk, each session to one other of theirs for good, and to no two the same; how many do.

        They have to be made with `Settings.pairs`.
        """
        for loader in self.loaders:
            loader.talks = loader in loaders
        lines = [self._ask(loader, "jids", loader.share).splitlines() for loader in loaders]
        for loader, part in zip(loaders, dealt(lines), strict=True):
            self.tell(loader, "peers", b"\n".join(part))
        return sum(map(len, lines))

    def take_longest_deliveries(self) -> Histogram:
        """Of all sessions of pairs: the longest delivery to each since the last call."""
        return Histogram.merged(
            Histogram.from_json(json.loads(self._ask(loader, "longest_deliveries")))
            for loader in self.loaders
            if loader.talks
        )

    def _ask(self, loader: Loader, what: str, *arguments: Any) -> bytes:
        self._answer = None
        self.tell(loader, what, *arguments)
        deadline = time.monotonic() + ANSWER_SECONDS
        while self._answer is None:
            self.listen(1.0)
            if time.monotonic() > deadline:
                raise GeneratorError(f"load process {loader.pid} does not answer to {what}")
        return self._answer

    # --- hearing --------------------------------------------------------------------

    def listen(self, seconds: float) -> None:
        """Take in the reports that come within `seconds`; returns after the first ones."""
        for key, _ in self._selector.select(max(0.0, seconds)):
            loader: Loader = key.data
            try:
                said = loader.channel.recv()
            except (EOFError, OSError):
                raise self._gone(loader) from None
            if isinstance(said, bytes):
                self._answer = said
                continue
            loader.report = said
            loader.reports += 1
            for name, durations in said.durations.items():
                self._durations[name].update(durations)

    def counters(self) -> Counter[str]:
        """The sums of all load processes, as last reported."""
        total: Counter[str] = Counter()
        for loader in self.loaders:
            total.update(loader.report.counters)
        return total

    def count(self, name: str, *ways: Way) -> int:
        """One of them, for who asks often; of the load processes that come in these ways, if any are given."""
        chosen = (loader for loader in self.loaders if not ways or loader.way in ways)
        return sum(loader.report.counters.get(name, 0) for loader in chosen)

    def failures(self) -> Counter[str]:
        """Failures by reason, likewise."""
        total: Counter[str] = Counter()
        for loader in self.loaders:
            total.update(loader.report.failures)
        return total

    def take_durations(self) -> dict[str, Histogram]:
        """What was heard of durations since the last call."""
        taken = {name: Histogram(counts) for name, counts in self._durations.items()}
        self._durations = {name: Counter() for name in HISTOGRAMS}
        return taken

    # --- the end --------------------------------------------------------------------

    def stop(self) -> None:
        """End all load processes: no traffic is left after this."""
        for loader in self.loaders:
            loader.channel.close()
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for pid in self.pids:
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                continue
        self._selector.close()
        self.loaders = []

    def _gone(self, loader: Loader) -> GeneratorError:
        return GeneratorError(f"load process {loader.pid} has ended; its message is above")


def dealt(parts: Sequence[Sequence[bytes]]) -> list[list[bytes]]:
    """What is in all parts, in a random order, in parts of the same sizes."""
    lines = [line for part in parts for line in part]
    random.shuffle(lines)
    rest = iter(lines)
    return [[next(rest) for _ in part] for part in parts]


def source_addresses(loader: int, count: int) -> Iterator[str]:
    """The `count` addresses of the 127.0.0.0/8 that load process number `loader` connects from."""
    for number in range(loader * count, (loader + 1) * count):
        yield f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"

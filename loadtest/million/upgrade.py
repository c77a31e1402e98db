"""The upgrade: Megaphone's program is replaced while all talk in fixed pairs; nobody shall notice."""

import json
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import IO, Any, Final

from loadtest.million import hold, phases, verdicts
from loadtest.million.hold import Outcome
from loadtest.million.plan import Plan
from loadtest.million.watch import TICK_SECONDS, Watch

MOVABLE: Final = ("plain", "tls")  # connections of TLS 1.2 are ended in the ordinary way
WARM_SECONDS: Final = 5.0
AFTER_SECONDS: Final = 5.0  # at least, after the command has ended
LIMIT_SECONDS: Final = 300.0
CLOSE_SECONDS: Final = 0.5  # between two looks
SOCKET: Final = "{socket}"  # in a command, stands for the path of the control socket
COMMAND: Final = (sys.executable, "-m", "megaphone", "upgrade", "--force", "--json", "--socket", SOCKET)
TOLD_CHARACTERS: Final = 300
NOT_FOUND: Final = 127  # as the shell has it


@dataclass(frozen=True, slots=True)
class Done:
    """How the command went."""

    code: int | None  # None: it had not ended in time, and was killed
    seconds: float
    said: str
    complained: str = ""

    @property
    def view(self) -> Mapping[str, Any]:
        """What `megaphone upgrade --json` has printed; empty if it was something else."""
        try:
            view = json.loads(self.said)
        except ValueError:
            return {}
        return view if isinstance(view, Mapping) else {}

    @property
    def told(self) -> str:
        """Why it has not worked, in few words."""
        return str(self.view.get("reason") or f"{self.complained}\n{self.said}".strip()[-TOLD_CHARACTERS:])


def run(watch: Watch, plan: Plan, outcome: Outcome) -> None:
    """Fill in the outcome, as far as it gets."""
    generator = watch.generator
    ramp = phases.ramp(watch, plan.in_flight)
    outcome.verdicts.append(verdicts.sessions(ramp.sessions, plan.sessions))
    outcome.figures |= ramp.figures()
    movable = [loader for loader in generator.loaders if loader.way in MOVABLE]
    in_pairs = phases.talk_in_pairs(watch, plan.rate, movable)
    watch.look_every(CLOSE_SECONDS)
    watch.begin("warm", WARM_SECONDS)
    watch.until(lambda: False, WARM_SECONDS)
    watch.look_at_all()
    memory_before, pids_before = watch.sampler.memory(), worker_pids(watch)

    watch.begin("before", plan.hold_seconds)
    lost_before = lost(watch)
    generator.take_longest_deliveries()
    began, talked_from = watch.now, generator.count("chat_received")
    watch.until(lambda: False, plan.hold_seconds)
    before = generator.take_longest_deliveries()
    seconds_before = watch.now - began

    watch.begin("upgrade")
    began_upgrade = watch.now
    done = upgraded(watch, plan.upgrade_with)
    rest = max(AFTER_SECONDS, plan.hold_seconds - done.seconds)
    watch.begin("after", rest)
    watch.until(lambda: False, rest)
    during = generator.take_longest_deliveries()
    seconds_during, talked = watch.now - began_upgrade, watch.now - began
    delivered = generator.count("chat_received") - talked_from
    watch.look_at_all()
    watch.look_every(TICK_SECONDS)
    phases.quiet(watch)

    counters = generator.counters()
    gone = {way: count - lost_before[way] for way, count in lost(watch).items()}
    lost_messages = missing(counters)
    outcome.verdicts += [
        verdicts.upgrade(done.code, done.seconds, done.told),
        verdicts.connections_lost(gone["movable"], gone["tls1.2"]),
        verdicts.exact(lost_messages, counters["chat_repeated"], counters["chat_reordered"], counters["chat_sent"]),
        verdicts.silence(during, before),
        verdicts.rate(delivered / talked, plan.rate),
    ]
    workers = moved(done.view, watch.server.logged("handed over"))
    if not plan.upgrade_with:
        total = sum(row["moved"] for row in workers.values())
        outcome.verdicts.append(verdicts.moved(total, sum(loader.share for loader in movable)))
    points = watch.timeline.points
    after = [point for point in points if point.phase in ("upgrade", "after")]
    outcome.figures |= {
        "upgrade_seconds": round(done.seconds, 2),
        "upgrade_workers": workers,
        "worker_processes_replaced": len(pids_before - worker_pids(watch)),
        "worker_processes": len(pids_before),
        "sessions_in_pairs": in_pairs,
        "window_before_seconds": round(seconds_before, 2),
        "window_of_the_upgrade_seconds": round(seconds_during, 2),
        "longest_silence_before_ms": hold.percentiles(before),
        "longest_silence_in_the_upgrade_ms": hold.percentiles(during),
        "chat_before_ms": hold.percentiles(hold.merged(watch.timeline.of("before"), "chat")),
        "chat_in_the_upgrade_ms": hold.percentiles(hold.merged(after, "chat")),
        "generator_lateness_ms": hold.percentiles(hold.merged(after, "lateness")),
        "messages_lost": lost_messages,
        "messages_repeated": counters["chat_repeated"],
        "messages_reordered": counters["chat_reordered"],
        "messages_unsent": counters["chat_unsent"],
        "connections_lost": gone["movable"],
        "connections_of_tls_1.2_ended": gone["tls1.2"],
        "memory_before_bytes": memory_before,
        "memory_after_bytes": hold.largest(watch.timeline.of("quiet")),
        "memory_most_bytes": hold.largest(after),
    }
    outcome.figures["all_left_in_order"] = phases.leave(watch)


def upgraded(watch: Watch, command: str) -> Done:
    """Have it done while the run goes on."""
    words = [word.replace(SOCKET, str(watch.server.control_socket)) for word in shlex.split(command) or COMMAND]
    try:
        return _done(watch, words)
    except OSError as error:
        return Done(NOT_FOUND, 0.0, "", f"{words[0]}: {error.strerror}")


def _done(watch: Watch, words: list[str]) -> Done:
    began = time.monotonic()
    with (
        tempfile.TemporaryFile("w+") as said,
        tempfile.TemporaryFile("w+") as complained,
        subprocess.Popen(  # noqa: S603 - the user's own words, or ours
            words, stdin=subprocess.DEVNULL, stdout=said, stderr=complained
        ) as process,
    ):
        try:
            has_ended = watch.until(lambda: process.poll() is not None, LIMIT_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
        seconds = time.monotonic() - began
        return Done(process.wait() if has_ended else None, seconds, _text(said), _text(complained))


def lost(watch: Watch) -> dict[str, int]:
    """Sessions that ended without being asked to, so far."""
    count = watch.generator.count
    return {"movable": count("lost", *MOVABLE), "tls1.2": count("lost", "tls1.2")}


def missing(counters: Mapping[str, int]) -> int:
    """Messages that did not arrive once at least; those that came back, or only from storage, are among them."""
    arrived = counters["chat_received"] - counters["chat_repeated"]
    return max(counters["chat_sent"] - arrived, counters["chat_missed"])


def moved(view: Mapping[str, Any], logged: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the command has said about each worker, and each one's log: for how long neither process did anything."""
    frozen = {entry["component"]: entry["frozen_seconds"] for entry in logged}
    return {
        f"worker {row['worker']}": {
            "moved": row["moved"],
            "ended": row["ended"],
            "seconds": round(row["seconds"] or 0.0, 2),
            "frozen seconds": frozen.get(f"worker-{row['worker']}"),
        }
        for row in view.get("workers", ())
    }


def worker_pids(watch: Watch) -> set[int]:
    """Those that run now."""
    return {worker["pid"] for worker in watch.server.status()["workers"]}


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()

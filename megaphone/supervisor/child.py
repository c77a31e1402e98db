"""One worker process: started, spoken to over its channel, watched through its heartbeat, killed when it hangs.

            spawned                 `ready`                  drain()
    (none) ---------> STARTING ---------------> READY -------------------> DRAINING
                         |                        |                            |
                         | exit, start time-out   | exit, hang                 | exit, hang, deadline
                         v                        v                            v
                       GONE <-------------------------------------------------- GONE

A hang is noticed even when the worker can run no code at all (SIGSTOP): the heartbeat is a number in shared memory that
stops growing. SIGKILL is then the only signal that is certain to work.
"""

import enum
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import trio

from megaphone.config.schema import Restart
from megaphone.dispatch.counters import Board, Slot
from megaphone.supervisor import channel, process_facts
from megaphone.supervisor.conversation import Conversation, WorkerUnavailableError
from megaphone.supervisor.pulse import Pulse

_LAST_WORDS_SECONDS: Final = 1.0  # how long after an exit the channel may still hold the reason

Cause = Literal["exit", "signal", "hang", "start-timeout", "fatal", "channel", "config", "spawn", "drain"]


class State(enum.Enum):
    """Where a worker process is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Exit:
    """How one worker process ended."""

    cause: Cause
    text: str  # one sentence for the log


def exit_text(returncode: int) -> str:
    """A process's return code in words: `"exited with status 3"`, `"killed by SIGKILL"`."""
    if returncode >= 0:
        return f"exited with status {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"


class Child:
    """One worker process, from its start to its exit."""

    def __init__(
        self,
        *,
        index: int,
        command: Sequence[str],
        board: Board,
        settings: Callable[[], Restart],
        on_ready: Callable[["Child"], None],
    ) -> None:
        self.index = index
        self.state = State.STARTING
        self.pid: int | None = None
        self.started_at_seconds = time.time()
        self.conversation = Conversation()
        self.drained: channel.Drained | None = None
        self.gone = trio.Event()
        self._command = command
        self._board = board
        self._settings = settings  # asked again and again: a reload may change them
        self._on_ready = on_ready
        self._process: trio.Process | None = None
        self._killed_for: tuple[Cause, str] | None = None
        self._fatal_reason: str | None = None
        self._was_ready = False
        self._drain_deadline_seconds = float("inf")
        self._ready_at_ns = 0

    async def run(self, start: channel.Start, descriptors: Sequence[int]) -> Exit:
        """Starts the process, looks after it and returns how it ended; cancelling kills it."""
        self.conversation.config_text = start.config_text
        self.conversation.send_nowait(start)  # before anything else can be queued
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs:
                self._process = await trio.lowlevel.open_process(
                    [*self._command, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(), *descriptors),
                    env=_environment(os.environ),
                    process_group=0,  # Ctrl-C in a terminal is for the supervisor, which then drains us
                )
        except OSError as error:
            ours.close()
            self._end()
            return Exit("spawn", f"could not be started: {error.strerror}")
        self.pid = self._process.pid
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(ours))
        try:
            async with stream, trio.open_nursery() as nursery:
                read_all = trio.Event()
                nursery.start_soon(self._read, stream, read_all)
                nursery.start_soon(self.conversation.write, stream)
                nursery.start_soon(self._watch)
                returncode = await self._process.wait()
                with trio.move_on_after(_LAST_WORDS_SECONDS):
                    await read_all.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._process.kill()
            with trio.CancelScope(shield=True):
                await self._process.wait()
            self._end()
        return self._exit(returncode)

    def _end(self) -> None:
        self.state = State.GONE
        self.gone.set()
        self.conversation.end()

    def _exit(self, returncode: int) -> Exit:
        if self._fatal_reason is not None:
            return Exit("fatal", self._fatal_reason)
        if self._killed_for is not None:
            cause, why = self._killed_for
            return Exit(cause, why)
        if self.drained is not None or (self._drain_deadline_seconds < float("inf") and returncode == 0):
            return Exit("drain", "drained")
        return Exit("signal" if returncode < 0 else "exit", exit_text(returncode))

    def drain(self, *, connections_per_second: float, deadline_seconds: float, grace_seconds: float = 1.0) -> None:
        """Asks it to send its clients away and exit; it is killed `grace_seconds` after the deadline."""
        if self.state is State.GONE:
            return
        self.state = State.DRAINING
        self._drain_deadline_seconds = trio.current_time() + deadline_seconds + grace_seconds
        try:
            self.conversation.send_nowait(channel.Drain(connections_per_second, deadline_seconds))
        except WorkerUnavailableError as error:
            self.kill("drain", f"killed: {error}")

    def kill(self, cause: Cause, why: str) -> None:
        """SIGKILL, for this reason."""
        if self._process is not None and self._process.poll() is None:
            if self._killed_for is None:
                self._killed_for = (cause, why)
            self._process.kill()

    async def _read(self, stream: trio.SocketStream, read_all: trio.Event) -> None:
        try:
            await self.conversation.read(stream, self._received)
        except channel.ChannelError as error:
            self.kill("channel", f"killed: it broke the channel protocol: {error}")
        read_all.set()

    def _received(self, message: channel.FromWorker) -> None:
        match message:
            case channel.Ready():
                self._became_ready()
            case channel.Fatal(reason):
                self._fatal_reason = reason
            case channel.Drained():
                self.drained = message
            case _:
                self.conversation.answered(message)

    def _became_ready(self) -> None:
        if self._was_ready:
            return
        self._was_ready = True
        self._ready_at_ns = time.monotonic_ns()
        if self.state is State.STARTING:
            self.state = State.READY
            self._on_ready(self)

    async def _watch(self) -> None:
        """Kills the worker when its heartbeat is too old, when it does not become ready, or when it does not drain."""
        started_seconds = trio.current_time()
        awake_at_ns = time.monotonic_ns()
        amnesty_ns = 0
        pulse = Pulse(lambda: None if self.pid is None else process_facts.schedule(self.pid))
        while True:
            timeout_seconds = self._settings().heartbeat_timeout_seconds
            interval_seconds = min(0.25, timeout_seconds / 4)
            await trio.sleep(interval_seconds)
            now_ns = time.monotonic_ns()
            if now_ns - awake_at_ns > (interval_seconds + timeout_seconds / 2) * 1e9:
                # We were stopped ourselves, and the worker probably with us (a frozen container): count from now.
                amnesty_ns = now_ns
            awake_at_ns = now_ns
            if trio.current_time() > self._drain_deadline_seconds:
                self.kill("drain", "killed: it did not finish draining in time")
            elif self.drained is not None:
                continue  # it only has to exit now; the deadline above sees to that
            elif not self._was_ready:
                limit_seconds = self._settings().start_timeout_seconds
                if trio.current_time() - started_seconds > limit_seconds:
                    self.kill("start-timeout", f"killed: not ready within {limit_seconds:g} s")
            else:
                last_ns = max(self._board.get(Slot.HEARTBEAT_NS), self._ready_at_ns, amnesty_ns)
                if pulse.still_seconds(last_ns, now_ns, timeout_seconds) > timeout_seconds:
                    self.kill("hang", f"killed: it hung, no heartbeat for {(now_ns - last_ns) / 1e9:.1f} s")


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The worker's environment: ours without what systemd tells the supervisor alone."""
    return {
        name: value
        for name, value in environment.items()
        if name not in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
    }

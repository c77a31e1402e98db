"""One worker process: started, spoken to over its channel, watched through its heartbeat, killed when it hangs.

            spawned                 `ready`                  drain(), retire()
    (none) ---------> STARTING ---------------> READY -------------------> DRAINING
                         |                        |                            |
                         | exit, start time-out   | exit, hang                 | exit, hang, deadline
                         v                        v                            v
                       GONE <-------------------------------------------------- GONE

A hang is noticed even when the worker can run no code at all (SIGSTOP): the heartbeat is a number in shared memory that
stops growing. SIGKILL is then the only signal that is certain to work.

In an upgrade two of them share one board: it is the predecessor's until its successor has taken over, then the
successor's. The other one is watched by time limits only.
"""

import enum
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

import trio

from megaphone.config.schema import Restart
from megaphone.dispatch.counters import Board, Slot
from megaphone.supervisor import channel, process_facts
from megaphone.supervisor.conversation import Conversation, WorkerUnavailableError
from megaphone.supervisor.process import Cause, Exit, Process, exit_text, start_process
from megaphone.supervisor.program import Program
from megaphone.supervisor.pulse import Pulse
from megaphone.supervisor.state import ChildState, Duplicate

__all__ = ["Cause", "Child", "Exit", "State"]

_LAST_WORDS_SECONDS: Final = 1.0  # how long after an exit the channel may still hold the reason
_NEVER: Final = float("inf")


class State(enum.Enum):
    """Where a worker process is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    GONE = "gone"


def _nothing() -> None:
    """Who looks at the child only now and then need not be told."""


class Child:
    """One worker process, from its start to its exit."""

    def __init__(
        self,
        *,
        index: int,
        board: Board,
        settings: Callable[[], Restart],
        on_ready: Callable[["Child"], None],
        program: Program,
        on_change: Callable[[], None] = _nothing,
    ) -> None:
        self.index = index
        self.state = State.STARTING
        self.pid: int | None = None
        self.started_at_seconds = time.time()
        self.conversation = Conversation()
        self.program = program  # that it was started from
        self.drained: channel.Drained | None = None
        self.took_over: channel.TookOver | None = None
        self.handed_over: channel.HandedOver | None = None
        self.hand_over_failed: str | None = None
        self.owns_board = True  # not a successor before it has taken over, nor a predecessor after that
        self.how: Exit | None = None  # it ended
        self.gone = trio.Event()
        self._board = board
        self._settings = settings  # asked again and again: a reload may change them
        self._on_ready = on_ready
        self._on_change = on_change  # called after each change of what an upgrade waits for
        self._process: Process | None = None
        self._killed_for: tuple[Cause, str] | None = None
        self._fatal_reason: str | None = None
        self._was_ready = False
        self._started_seconds = time.monotonic()
        self._drain_deadline_seconds = _NEVER
        self._ready_at_ns = 0
        self._ours: socket.socket | None = None  # our end of the channel
        self._left = False

    # Its life

    async def run(self, command: Sequence[str], start: channel.Start, descriptors: Sequence[int]) -> Exit:
        """Starts the process, looks after it and returns how it ended; cancelling kills it."""
        self.conversation.config_text = start.config_text
        self.conversation.send_nowait(start)  # before anything else can be queued
        try:
            self._process, self._ours = await start_process(command, descriptors)
        except OSError as error:
            return self._end(Exit("spawn", f"could not be started: {error.strerror}"))
        self.pid = self._process.pid
        if self._killed_for is not None:
            self._process.kill()
        return await self.look_after()

    def never_started(self) -> Exit:
        """It is not needed any more before it was started."""
        return self._end(Exit("drain", "was not started, because the node drains"))

    async def look_after(self) -> Exit:
        """Stays with the process until it ends and returns how; cancelling kills it, unless we `leave` it."""
        assert self._process is not None  # noqa: S101 - run() or of_state() comes first
        assert self._ours is not None  # noqa: S101
        ours = trio.socket.from_stdlib_socket(self._ours)
        try:
            async with trio.open_nursery() as nursery:
                read_all = trio.Event()
                nursery.start_soon(self._read, ours, read_all)
                nursery.start_soon(self.conversation.write, ours)
                nursery.start_soon(self._watch)
                await self._process.wait()
                with trio.move_on_after(_LAST_WORDS_SECONDS):
                    await read_all.wait()
                nursery.cancel_scope.cancel()
        finally:
            if not self._left or self._process.poll() is not None:
                self._process.kill()
                with trio.CancelScope(shield=True):
                    returncode = await self._process.wait()
                how = self._end(self._exit(returncode))
                ours.close()
        return how

    def _end(self, how: Exit) -> Exit:
        self.how = how
        self.state = State.GONE
        self.gone.set()
        self.conversation.end()
        self._on_change()
        return how

    def _exit(self, returncode: int) -> Exit:
        if self._fatal_reason is not None:
            return Exit("fatal", self._fatal_reason)
        if self._killed_for is not None:
            cause, why = self._killed_for
            return Exit(cause, why)
        if self.handed_over is not None and returncode == 0:
            return Exit("upgrade", "handed over to its successor")
        if self.drained is not None or (self._drain_deadline_seconds < _NEVER and returncode == 0):
            return Exit("drain", "drained")
        return Exit("signal" if returncode < 0 else "exit", exit_text(returncode))

    # What it is told

    def drain(
        self,
        *,
        connections_per_second: float,
        deadline_seconds: float,
        grace_seconds: float = 1.0,
        replaced: bool = False,
    ) -> None:
        """Asks it to send its clients away and exit; it is killed `grace_seconds` after the deadline."""
        if self.state is State.GONE:
            return
        self.state = State.DRAINING
        self._drain_deadline_seconds = time.monotonic() + deadline_seconds + grace_seconds
        try:
            self.conversation.send_nowait(channel.Drain(connections_per_second, deadline_seconds, replaced))
        except WorkerUnavailableError as error:
            self.kill("drain", f"killed: {error}")

    def take_over(self) -> None:
        """It is a successor now: until it says that it has taken over, the board is its predecessor's."""
        self.owns_board = False

    def retire(self, *, deadline_seconds: float, grace_seconds: float = 1.0) -> None:
        """Its successor has taken over: it ends what could not move and exits, or is killed after the deadline."""
        self.owns_board = False
        if self.state is not State.GONE:
            self.state = State.DRAINING
            deadline_seconds += time.monotonic() + grace_seconds
            self._drain_deadline_seconds = min(self._drain_deadline_seconds, deadline_seconds)

    def kill(self, cause: Cause, why: str) -> None:
        """SIGKILL, for this reason."""
        if self.how is not None or (self._process is not None and self._process.poll() is not None):
            return
        if self._killed_for is None:
            self._killed_for = (cause, why)
        if self._process is not None:  # else it is killed as soon as it is there
            self._process.kill()

    # What it says

    async def _read(self, ours: trio.socket.SocketType, read_all: trio.Event) -> None:
        try:
            await self.conversation.read(ours, self._received)
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
            case channel.TookOver():
                self._has_taken_over(message)
            case channel.HandedOver():
                self.handed_over = message
            case channel.HandOverFailed(reason):
                self.hand_over_failed = reason
            case _:
                self.conversation.answered(message)
        self._on_change()

    def _became_ready(self) -> None:
        if self._was_ready:
            return
        self._was_ready = True
        self._ready_at_ns = time.monotonic_ns()
        if self.state is State.STARTING:
            self.state = State.READY
            self._on_ready(self)

    def _has_taken_over(self, message: channel.TookOver) -> None:
        if self.took_over is None and not self.owns_board:
            self.took_over = message
            self.owns_board = True
            self._ready_at_ns = time.monotonic_ns()  # from now on its heartbeat counts

    # How it does

    async def _watch(self) -> None:
        """Kills the worker when its heartbeat is too old, when it does not become ready, or when it does not drain."""
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
            if time.monotonic() > self._drain_deadline_seconds:
                self.kill("drain", "killed: it did not finish draining in time")
            elif self.drained is not None:
                continue  # it only has to exit now; the deadline above sees to that
            elif not self._was_ready:
                limit_seconds = self._settings().start_timeout_seconds
                if time.monotonic() - self._started_seconds > limit_seconds:
                    self.kill("start-timeout", f"killed: not ready within {limit_seconds:g} s")
            elif self.owns_board:
                last_ns = max(self._board.get(Slot.HEARTBEAT_NS), self._ready_at_ns, amnesty_ns)
                if pulse.still_seconds(last_ns, now_ns, timeout_seconds) > timeout_seconds:
                    self.kill("hang", f"killed: it hung, no heartbeat for {(now_ns - last_ns) / 1e9:.1f} s")

    # From one program of the supervisor to the next

    def leave(self) -> None:
        """When `look_after` is cancelled now, the process is not killed: `state` says how another program goes on."""
        self._left = True

    def keep(self, duplicate: Duplicate, node_text: str) -> ChildState:
        """What another program goes on with; the channel's descriptor is what `duplicate` makes of it."""
        assert self.pid is not None  # noqa: S101 - it runs
        assert self._ours is not None  # noqa: S101
        return ChildState(
            pid=self.pid,
            channel_fd=duplicate(self._ours.fileno()),
            state=self.state.value,
            conversation=self.conversation.state(node_text),
            program=self.program,
            started_at_seconds=self.started_at_seconds,
            started_seconds=self._started_seconds,
            ready_at_ns=self._ready_at_ns if self._was_ready else None,
            drain_deadline_seconds=self._drain_deadline_seconds,
            drained=None if self.drained is None else (self.drained.closed, self.drained.cut),
            killed_for=self._killed_for,
            fatal_reason=self._fatal_reason,
        )

    def let_go(self) -> None:
        """It is another program's now."""
        if self._process is not None:
            self._process.close()
        if self._ours is not None:
            self._ours.close()

    def adopt(self, state: ChildState, node_text: str) -> None:
        """Goes on with a process that another program of this one has started; OSError if it is not there."""
        self._process = Process(state.pid)
        self._ours = socket.socket(fileno=state.channel_fd)
        self._ours.setblocking(False)
        self.pid = state.pid
        self.state = State(state.state)
        self.conversation = Conversation.of_state(state.conversation, node_text)
        self.started_at_seconds = state.started_at_seconds
        self._started_seconds = state.started_seconds
        self._was_ready = state.ready_at_ns is not None
        self._ready_at_ns = state.ready_at_ns or 0
        self._drain_deadline_seconds = state.drain_deadline_seconds
        self.drained = None if state.drained is None else channel.Drained(*state.drained)
        self._killed_for = state.killed_for
        self._fatal_reason = state.fatal_reason

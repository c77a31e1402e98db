"""The supervisor: keeps N workers running behind one set of listening sockets until it is told to drain.

          all workers ready             SIGTERM, SIGINT, /drain           all workers gone
STARTING -----------------> RUNNING ------------------------> DRAINING -----------------> (exit 0)
    |                          |                                  ^
    | fatal: exit 2            | restart intensity exceeded       |
    +--------------------------+----------------------------------+ (then exit 1)

It also ends, without ending its workers, when it leaves them to another program (upgrade.py).
"""

import enum
import os
import time
from collections.abc import Sequence
from typing import Final

import trio

from megaphone import log
from megaphone.config.schema import Config
from megaphone.errors import MegaphoneError
from megaphone.supervisor import certificate, channel, reload, signals
from megaphone.supervisor.child import Child, Exit, State
from megaphone.supervisor.conversation import WorkerUnavailableError
from megaphone.supervisor.holdings import Holdings
from megaphone.supervisor.keeper import Keeper
from megaphone.supervisor.notify import Notifier, feed_watchdog
from megaphone.supervisor.program import Program
from megaphone.supervisor.reload import Outcome
from megaphone.supervisor.role import Role
from megaphone.supervisor.seat import Seat
from megaphone.supervisor.state import SeatState

QUICK_DEADLINE_SECONDS: Final = 1.0  # what a second signal leaves the clients
UNPACED: Final = 1e9  # connections per second: as fast as the worker can

_log = log.get_logger("supervisor")


class Phase(enum.Enum):
    """Where the node is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"


class Supervisor:
    """The node: its workers, their sockets and what an operator may do to them."""

    def __init__(
        self,
        config: Config,
        holdings: Holdings,
        *,
        config_text: str,
        config_path: str,
        notifier: Notifier,
        role: Role,
        program: Program,
    ) -> None:
        """Starts nothing yet."""
        self.config = config
        self.config_text = config_text
        self.config_path = config_path
        self.certificates = certificate.expiries(config.certificate)
        self.phase = Phase.STARTING
        self.notifier = notifier
        self.holdings = holdings
        self.listeners = holdings.listeners
        self.seats = holdings.seats
        self.role = role
        self.program = program
        self.busy = ""  # "a reload" or "an upgrade", while one is under way
        self.started = trio.Event()  # `run` looks after workers
        self.ready = trio.Event()  # all workers have been ready once
        self.draining = trio.Event()
        self._failure: MegaphoneError | None = None
        self._services: trio.Nursery | None = None
        self.keeper = Keeper(self, role.worker_command)

    def adopt(self, seats: Sequence[SeatState]) -> None:
        """Goes on with the workers that another program of this process has left."""
        for seat, state in zip(self.seats, seats, strict=True):
            if state.child is not None:
                child = self.keeper.new_child(seat, state.child.program)
                try:
                    child.adopt(state.child, self.config_text)
                except OSError as error:
                    os.close(state.child.channel_fd)
                    seat.ended = Exit("exit", f"ended while the supervisor changed its program ({error.strerror})")
                else:
                    seat.child = child
        self.phase = Phase.RUNNING
        self.ready.set()

    async def run(self) -> None:
        """Runs until the node is drained or `leave` was called; raises ConfigError (at start) or RestartLimitError."""
        async with trio.open_nursery() as services:
            self._services = services
            services.start_soon(self._rotate_ticket_keys_regularly)
            services.start_soon(feed_watchdog, self.notifier)
            await services.start(self._follow_signals, services)
            async with trio.open_nursery() as workers:
                self.keeper.start(workers)
                self.started.set()
            services.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure

    def leave(self) -> None:
        """Makes `run` return while the workers go on, for another program to adopt them."""
        for seat in self.seats:
            for child in seat.processes():
                child.leave()
        if self._services is not None:
            self._services.cancel_scope.cancel()

    # What workers say

    def worker_ready(self, child: Child) -> None:
        """It takes connections, or can take over."""
        seat = self.seats[child.index]
        seconds = round(time.time() - child.started_at_seconds, 3)
        if child is seat.successor:
            _log.info("successor ready", worker=child.index, pid=child.pid, seconds=seconds)
            return
        seat.ready_once = True
        _log.info("worker ready", worker=child.index, pid=child.pid, seconds=seconds)
        self.catch_up(child)
        if self.phase is Phase.STARTING and all(seat.ready_once for seat in self.seats):
            self.phase = Phase.RUNNING
            self.ready.set()
            self.notifier.ready(self.summary())
        self.steer()

    def catch_up(self, child: Child) -> None:
        """For a worker that was starting, or told, while a reload finished."""
        if child.conversation.config_text != self.config_text and self._services is not None:
            self._services.start_soon(reload.catch_up, self, child)

    def worker_changed(self, seat: Seat) -> None:
        """A process of this index has said something, or has ended."""
        if seat.successor is not None and seat.successor.took_over is not None:
            seat.successor_took_over()
            if seat.predecessor is not None:
                seat.predecessor.retire(deadline_seconds=self.config.drain.deadline_seconds)
            self.steer()
        seat.changed()

    def steer(self) -> None:
        """Lets new connections go to ready workers only, so that none waits for one that drains or is replaced."""
        if self.phase is Phase.RUNNING:
            self.listeners.steer_away([seat.index for seat in self.seats if seat.state is not State.READY])

    def summary(self) -> str:
        """One line on how the node is, for systemd and the log."""
        ready = sum(seat.state is State.READY for seat in self.seats)
        return f"{ready} of {len(self.seats)} workers ready, fronting {len(self.config.domain)} domains"

    async def reload(self) -> Outcome:
        """Puts the file's present content in force in all workers, or in none and says why."""
        return await reload.reload(self)

    # Ending

    def drain(self, *, quick: bool = False) -> None:
        """Stops accepting, sends all clients away at `[drain]`'s pace and ends; `quick` leaves them one second."""
        first = self.phase is not Phase.DRAINING
        if not first and not quick:
            return
        self.phase = Phase.DRAINING
        self.draining.set()
        self.listeners.close()
        limits = self.config.drain
        deadline_seconds = QUICK_DEADLINE_SECONDS if quick else limits.deadline_seconds
        rate = UNPACED if quick else limits.connections_per_second / len(self.seats)
        if first:
            self.notifier.stopping(f"draining, at most {deadline_seconds:g} s")
            self.notifier.extend_timeout(deadline_seconds + 5)
        _log.info("draining", deadline_seconds=deadline_seconds, quick=quick)
        for seat in self.seats:
            for child in seat.processes():
                child.drain(connections_per_second=rate, deadline_seconds=deadline_seconds)

    def drain_worker(self, index: int) -> None:
        """Drains one worker and replaces it; WorkerUnavailableError when there is no ready worker of that index."""
        child = self.seats[index].live if 0 <= index < len(self.seats) else None
        if self.busy == "an upgrade":
            raise WorkerUnavailableError("an upgrade is under way")
        if child is None or child.state is not State.READY or self.phase is Phase.DRAINING:
            raise WorkerUnavailableError(f"worker {index} is not running")
        limits = self.config.drain
        child.drain(
            connections_per_second=limits.connections_per_second / len(self.seats),
            deadline_seconds=limits.deadline_seconds,
            replaced=True,
        )
        self.steer()

    def fail(self, failure: MegaphoneError) -> None:
        """Ends the node with this error; other workers' clients still get their orderly end if they have any."""
        if self._failure is None:
            self._failure = failure
            self.drain(quick=self.phase is Phase.STARTING)

    # Small duties

    async def _follow_signals(
        self, services: trio.Nursery, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """SIGTERM and SIGINT drain, a second one quickly; SIGHUP reloads."""
        await signals.follow(
            end=lambda: self.drain(quick=self.draining.is_set()),
            reload=lambda: services.start_soon(self.reload),
            task_status=task_status,
        )

    async def _rotate_ticket_keys_regularly(self) -> None:
        keys = self.holdings.ticket_keys
        while True:
            due_seconds = keys.made_seconds + self.config.tls.ticket_rotation_seconds
            await trio.sleep(max(0.0, due_seconds - time.monotonic()))
            self.rotate_ticket_keys()

    def rotate_ticket_keys(self) -> None:
        """Makes a new session ticket key and tells the workers."""
        self.holdings.ticket_keys.rotate()
        for seat in self.seats:
            for child in seat.processes():
                try:
                    child.conversation.send_nowait(channel.TicketKeys(self.holdings.ticket_keys.hex()))
                except WorkerUnavailableError as error:
                    _log.warning("new ticket keys not delivered", worker=seat.index, reason=str(error))

"""Keeps every worker index filled: starts processes, adopts those that were left, replaces those that end.

One for one, as restart.py decides. In an upgrade an index has two processes for a while; when the successor takes over,
it is the one to be replaced from then on.
"""

import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from megaphone import log
from megaphone.errors import ConfigError, RestartLimitError
from megaphone.supervisor import channel
from megaphone.supervisor.child import Child, Exit, State
from megaphone.supervisor.program import Program
from megaphone.supervisor.restart import GiveUp, Policy, decide
from megaphone.supervisor.seat import Seat

if TYPE_CHECKING:
    from megaphone.supervisor.supervisor import Supervisor

_log = log.get_logger("supervisor")


class Keeper:
    """The processes of one supervisor."""

    def __init__(self, supervisor: "Supervisor", command: Sequence[str]) -> None:
        self._supervisor = supervisor
        self._command = tuple(command)
        self._tasks: trio.Nursery | None = None
        self._jitter = random.Random()  # noqa: S311 - spreads restarts in time, guards nothing

    def start(self, tasks: trio.Nursery) -> None:
        """Fills every index; `tasks` ends when the node has drained."""
        self._tasks = tasks
        for seat in self._supervisor.seats:
            tasks.start_soon(self._fill, seat)

    async def _fill(self, seat: Seat) -> None:
        supervisor = self._supervisor
        if seat.ended is not None and not await self._goes_on(seat, seat.ended):
            return
        if seat.live is None:
            seat.child = self.new_child(seat, supervisor.program)
        if seat.child is not None:
            if seat.child.state is State.READY:  # adopted, perhaps in the middle of a reload
                supervisor.catch_up(seat.child)
            await self._keep_filled(seat, seat.child)

    async def _keep_filled(self, seat: Seat, child: Child, take_over_fd: int = -1) -> None:
        """One for one: a new worker for this index whenever the last one ended, until the node drains.

        A successor that takes over is the one to be replaced from then on.
        """
        while True:
            how = await self._occupy(seat, child, take_over_fd)
            if seat.child is child and seat.successor is not None:  # it may just have taken over
                await seat.until(lambda: seat.successor is None or seat.successor.how is not None)
            if seat.child is not child:
                if child is seat.predecessor:
                    seat.predecessor, seat.last_exit = None, how
                return
            if not await self._goes_on(seat, how):
                return
            child, take_over_fd = self.new_child(seat, self._supervisor.program), -1
            seat.child = child

    async def _goes_on(self, seat: Seat, how: Exit) -> bool:
        """Whether the worker that ended like this is to be replaced; waits for as long as the policy says."""
        supervisor = self._supervisor
        seat.process_ended(how)
        supervisor.steer()
        if supervisor.draining.is_set():
            _log.info("worker ended", worker=seat.index, how=how.text)
            return False
        if how.cause == "drain":  # by an operator: no crash, so the policy is not asked
            _log.info("worker drained, replacing it", worker=seat.index, how=how.text)
            seat.restarts["drain"] += 1
            return True
        if how.cause == "fatal" and not supervisor.ready.is_set():
            supervisor.fail(ConfigError(supervisor.config_path, "", how.text))
            return False
        decision, supervisor.holdings.history = decide(
            self._policy(),
            supervisor.holdings.history,
            worker=seat.index,
            now_seconds=time.monotonic(),
            jitter=self._jitter.random(),
        )
        if isinstance(decision, GiveUp):
            _log.error("worker ended", worker=seat.index, cause=how.cause, how=how.text)
            supervisor.fail(
                RestartLimitError(
                    f"gave up: worker {seat.index} {how.text}, after {decision.restarts} restarts within "
                    f"{decision.within_seconds:g} s (restart.intensity, restart.period_seconds)"
                )
            )
            return False
        _log.warning(
            "worker ended, replacing it",
            worker=seat.index,
            cause=how.cause,
            how=how.text,
            delay_seconds=round(decision.delay_seconds, 3),
        )
        seat.restarts[how.cause] += 1
        with trio.move_on_after(decision.delay_seconds):
            await supervisor.draining.wait()
        return not supervisor.draining.is_set()

    def new_child(self, seat: Seat, program: Program) -> Child:
        """A process of this index that is started from this program, or was."""
        supervisor = self._supervisor
        return Child(
            index=seat.index,
            program=program,
            board=seat.board.counters,
            settings=lambda: supervisor.config.restart,
            on_ready=supervisor.worker_ready,
            on_change=lambda: supervisor.worker_changed(seat),
        )

    def start_successor(self, seat: Seat, take_over_fd: int) -> Child:
        """Starts a second process for this index, which waits on this socket for the first one to hand over."""
        assert self._tasks is not None  # noqa: S101 - we run
        seat.successor = self.new_child(seat, self._supervisor.program)
        seat.successor.take_over()
        self._tasks.start_soon(self._keep_filled, seat, seat.successor, take_over_fd)
        return seat.successor

    async def _occupy(self, seat: Seat, child: Child, take_over_fd: int) -> Exit:
        """The whole life of one process."""
        supervisor = self._supervisor
        if child.pid is not None:
            return await child.look_after()
        if supervisor.draining.is_set():  # its listening sockets are closed
            return child.never_started()
        descriptors = supervisor.listeners.of_worker(seat.index)
        start = channel.Start(
            index=seat.index,
            workers=len(supervisor.seats),
            config_path=supervisor.config_path,
            config_text=supervisor.config_text,
            board_fd=seat.board.descriptor,
            sketch_fd=supervisor.holdings.sketch.descriptor,
            listeners=descriptors,
            ticket_keys=supervisor.holdings.ticket_keys.hex(),
            bus_directory=supervisor.holdings.bus.directory,
            bus_fds=supervisor.holdings.bus.of_worker(seat.index),
            take_over_fd=take_over_fd,
        )
        inherited = [start.board_fd, start.sketch_fd, *start.bus_fds, *(descriptor for _, descriptor in descriptors)]
        if take_over_fd >= 0:
            inherited.append(take_over_fd)
        return await child.run(self._command, start, inherited)

    def _policy(self) -> Policy:
        settings = self._supervisor.config.restart
        return Policy(
            intensity=settings.intensity,
            period_seconds=settings.period_seconds,
            backoff_first_seconds=settings.backoff_first_seconds,
            backoff_max_seconds=settings.backoff_max_seconds,
        )

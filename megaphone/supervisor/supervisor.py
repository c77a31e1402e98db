"""The supervisor: keeps N workers running behind one set of listening sockets until it is told to drain.

          all workers ready             SIGTERM, SIGINT, /drain           all workers gone
STARTING -----------------> RUNNING ------------------------> DRAINING -----------------> (exit 0)
    |                          |                                  ^
    | fatal: exit 2            | restart intensity exceeded       |
    +--------------------------+----------------------------------+ (then exit 1)
"""

import enum
import os
import random
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

import trio

from megaphone import log
from megaphone.config.schema import Config
from megaphone.edge.sketch import SEED_BYTES, sketch_bytes
from megaphone.errors import ConfigError, MegaphoneError, RestartLimitError
from megaphone.supervisor import certificate, channel, tickets
from megaphone.supervisor.boards import SharedMemory
from megaphone.supervisor.bus_sockets import BusSockets
from megaphone.supervisor.child import Child, Exit, State
from megaphone.supervisor.conversation import WorkerUnavailableError
from megaphone.supervisor.listeners import open_listeners
from megaphone.supervisor.notify import Notifier
from megaphone.supervisor.reload import Outcome, Reader, hand_out, read_candidate
from megaphone.supervisor.restart import GiveUp, Policy, Restart, decide
from megaphone.supervisor.seat import Seat

WORKER_COMMAND: Final = (sys.executable, "-m", "megaphone.worker")
RELOAD_SECONDS: Final = 10.0  # for one worker to take over a configuration
QUICK_DEADLINE_SECONDS: Final = 1.0  # what a second signal leaves the clients
UNPACED: Final = 1e9  # connections per second: as fast as the worker can

_log = log.get_logger("supervisor")


class Phase(enum.Enum):
    """Where the node is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"


def worker_count(config: Config) -> int:
    """`node.workers`, or one per core this process may run on."""
    return config.node.workers or len(os.sched_getaffinity(0))


class Supervisor:
    """The node: its workers, their sockets and what an operator may do to them."""

    def __init__(
        self,
        config: Config,
        *,
        config_text: str,
        config_path: str,
        notifier: Notifier,
        worker_command: Sequence[str] = WORKER_COMMAND,
        read_candidate: Reader = read_candidate,
    ) -> None:
        """Opens every listening socket (ConfigError when one cannot be), starts nothing yet."""
        self.config = config
        self.config_text = config_text
        self.config_path = config_path
        self.certificates = certificate.expiries(config.certificate)
        self.phase = Phase.STARTING
        self.started_at_seconds = time.time()
        self.notifier = notifier
        self._worker_command = tuple(worker_command)
        self._read_candidate = read_candidate
        self._history: tuple[Restart, ...] = ()
        self._failure: MegaphoneError | None = None
        self._services: trio.Nursery | None = None
        self._reloading = False
        self.reloads = Counter(accepted=0, refused=0)
        self.last_reload: tuple[float, Outcome] | None = None  # Unix time, what came of it
        self._ticket_keys = tickets.rotated((), secrets.token_bytes(tickets.KEY_BYTES))
        workers = worker_count(config)
        self.listeners = open_listeners(config.listen, workers=workers, file=config_path)
        self._sketch = SharedMemory("megaphone-sketch", sketch_bytes(workers))
        self._sketch.memory[:SEED_BYTES] = secrets.token_bytes(SEED_BYTES)
        self._bus = BusSockets(workers)
        self.seats = tuple(Seat(index) for index in range(workers))
        self.ready = trio.Event()  # all workers have been ready once
        self.draining = trio.Event()
        self._jitter = random.Random()  # noqa: S311 - spreads restarts in time, guards nothing

    async def run(self) -> None:
        """Runs until the node is drained; raises ConfigError (fatal at start) or RestartLimitError."""
        try:
            async with trio.open_nursery() as services:
                self._services = services
                services.start_soon(self._rotate_ticket_keys_regularly)
                services.start_soon(self._feed_watchdog)
                await services.start(self._follow_signals, services)
                async with trio.open_nursery() as workers:
                    for seat in self.seats:
                        workers.start_soon(self._keep_filled, seat)
                services.cancel_scope.cancel()
        finally:
            self.listeners.close()
            self._sketch.close()
            self._bus.close()
            for seat in self.seats:
                seat.board.close()
            self.notifier.close()
        if self._failure is not None:
            raise self._failure

    async def _keep_filled(self, seat: Seat) -> None:
        """One for one: a new worker for this index whenever the last one ended, until the node drains."""
        while not self.draining.is_set():
            how = await self._run_worker(seat)
            self._steer()
            if self.draining.is_set():
                _log.info("worker ended", worker=seat.index, how=how.text)
                return
            if how.cause == "drain":  # by an operator: no crash, so the policy is not asked
                _log.info("worker drained, replacing it", worker=seat.index, how=how.text)
                seat.restarts["drain"] += 1
                continue
            if how.cause == "fatal" and self.phase is Phase.STARTING:
                self._fail(ConfigError(self.config_path, "", how.text))
                return
            decision, self._history = decide(
                self._policy(),
                self._history,
                worker=seat.index,
                now_seconds=trio.current_time(),
                jitter=self._jitter.random(),
            )
            if isinstance(decision, GiveUp):
                _log.error("worker ended", worker=seat.index, cause=how.cause, how=how.text)
                self._fail(
                    RestartLimitError(
                        f"gave up: worker {seat.index} {how.text}, after {decision.restarts} restarts within "
                        f"{decision.within_seconds:g} s (restart.intensity, restart.period_seconds)"
                    )
                )
                return
            _log.warning(
                "worker ended, replacing it",
                worker=seat.index,
                cause=how.cause,
                how=how.text,
                delay_seconds=round(decision.delay_seconds, 3),
            )
            seat.restarts[how.cause] += 1
            with trio.move_on_after(decision.delay_seconds):
                await self.draining.wait()

    async def _run_worker(self, seat: Seat) -> Exit:
        descriptors = self.listeners.of_worker(seat.index)
        start = channel.Start(
            index=seat.index,
            workers=len(self.seats),
            config_path=self.config_path,
            config_text=self.config_text,
            board_fd=seat.board.descriptor,
            sketch_fd=self._sketch.descriptor,
            listeners=descriptors,
            ticket_keys=self._ticket_keys_hex(),
            bus_directory=self._bus.directory,
            bus_fds=self._bus.of_worker(seat.index),
        )
        seat.child = Child(
            index=seat.index,
            command=self._worker_command,
            board=seat.board.counters,
            settings=lambda: self.config.restart,
            on_ready=self._worker_ready,
        )
        inherited = [
            seat.board.descriptor,
            self._sketch.descriptor,
            *start.bus_fds,
            *(descriptor for _, descriptor in descriptors),
        ]
        how = await seat.child.run(start, inherited)
        seat.process_ended(how)
        return how

    def _worker_ready(self, child: Child) -> None:
        self.seats[child.index].ready_once = True
        _log.info(
            "worker ready",
            worker=child.index,
            pid=child.pid,
            seconds=round(time.time() - child.started_at_seconds, 3),
        )
        if child.conversation.config_text != self.config_text and self._services is not None:
            self._services.start_soon(self._catch_up, child)  # a reload finished while it was starting
        if self.phase is Phase.STARTING and all(seat.ready_once for seat in self.seats):
            self.phase = Phase.RUNNING
            self.ready.set()
            self.notifier.ready(self.summary())
        self._steer()

    def _steer(self) -> None:
        """Lets new connections go to ready workers only, so that none waits for one that drains or is replaced."""
        if self.phase is Phase.RUNNING:
            self.listeners.steer_away([seat.index for seat in self.seats if seat.state is not State.READY])

    def summary(self) -> str:
        """One line on how the node is, for systemd and the log."""
        ready = sum(seat.state is State.READY for seat in self.seats)
        return f"{ready} of {len(self.seats)} workers ready, fronting {len(self.config.domain)} domains"

    # Reloading

    async def reload(self) -> Outcome:
        """Puts the file's present content in force in all workers, or in none and says why."""
        if self._reloading or self.draining.is_set():
            return Outcome("a reload is already under way" if self._reloading else "the node is draining")
        self._reloading = True
        self.notifier.reloading("reloading the configuration")
        try:
            outcome = await self._reload_checked()
        finally:
            self._reloading = False
            self.notifier.ready(self.summary())
        self.last_reload = (time.time(), outcome)
        self.reloads["accepted" if outcome.accepted else "refused"] += 1
        if outcome.accepted:
            _log.info("configuration reloaded", workers=len(outcome.workers))
        else:
            _log.error("reload refused, the old configuration stays in force", reason=outcome.reason)
        return outcome

    async def _reload_checked(self) -> Outcome:
        try:
            config, text, warnings = await trio.to_thread.run_sync(self._read_candidate, self.config_path, self.config)
        except ConfigError as error:
            return Outcome(str(error))
        for warning in warnings:
            _log.warning("configuration", warning=warning)
        outcome = await hand_out(
            [seat.child for seat in self.seats if seat.child is not None and seat.state is State.READY],
            new_text=text,
            old_text=self.config_text,
            timeout_seconds=RELOAD_SECONDS,
        )
        if outcome.accepted:
            self.config, self.config_text = config, text
            self.certificates = certificate.expiries(config.certificate)
            log.configure(config.log.format, config.log.level)
            for seat in self.seats:
                if seat.index not in outcome.workers and seat.state is State.READY and seat.child is not None:
                    await self._catch_up(seat.child)
        return outcome

    async def _catch_up(self, child: Child) -> None:
        """Brings a worker that was starting during a reload to the configuration of its siblings."""
        reason = await child.conversation.reload(self.config_text, timeout_seconds=RELOAD_SECONDS)
        if reason is not None:
            _log.error("worker refused what its siblings accepted, replacing it", worker=child.index, reason=reason)
            child.kill("config", f"killed: it refused the configuration its siblings accepted: {reason}")

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
            if seat.live is not None:
                seat.live.drain(connections_per_second=rate, deadline_seconds=deadline_seconds)

    def drain_worker(self, index: int) -> None:
        """Drains one worker and replaces it; WorkerUnavailableError when there is no ready worker of that index."""
        child = self.seats[index].live if 0 <= index < len(self.seats) else None
        if child is None or child.state is not State.READY or self.phase is Phase.DRAINING:
            raise WorkerUnavailableError(f"worker {index} is not running")
        limits = self.config.drain
        child.drain(
            connections_per_second=limits.connections_per_second / len(self.seats),
            deadline_seconds=limits.deadline_seconds,
        )
        self._steer()

    def _fail(self, failure: MegaphoneError) -> None:
        """Ends the node with this error; other workers' clients still get their orderly end if they have any."""
        if self._failure is None:
            self._failure = failure
            self.drain(quick=self.phase is Phase.STARTING)

    # Small duties

    async def _follow_signals(
        self, services: trio.Nursery, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """SIGTERM and SIGINT drain, a second one quickly; SIGHUP reloads."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            task_status.started()
            async for number in received:
                _log.info("signal", signal=signal.Signals(number).name)
                if number == signal.SIGHUP:
                    services.start_soon(self.reload)
                else:
                    self.drain(quick=self.draining.is_set())

    def _policy(self) -> Policy:
        settings = self.config.restart
        return Policy(
            intensity=settings.intensity,
            period_seconds=settings.period_seconds,
            backoff_first_seconds=settings.backoff_first_seconds,
            backoff_max_seconds=settings.backoff_max_seconds,
        )

    def _ticket_keys_hex(self) -> list[str]:
        return [key.hex() for key in self._ticket_keys]

    async def _rotate_ticket_keys_regularly(self) -> None:
        while True:
            await trio.sleep(self.config.tls.ticket_rotation_seconds)
            self.rotate_ticket_keys()

    def rotate_ticket_keys(self) -> None:
        """Makes a new session ticket key and tells the workers."""
        self._ticket_keys = tickets.rotated(self._ticket_keys, secrets.token_bytes(tickets.KEY_BYTES))
        for seat in self.seats:
            if seat.live is not None:
                try:
                    seat.live.conversation.send_nowait(channel.TicketKeys(self._ticket_keys_hex()))
                except WorkerUnavailableError as error:
                    _log.warning("new ticket keys not delivered", worker=seat.index, reason=str(error))

    async def _feed_watchdog(self) -> None:
        if self.notifier.watchdog_seconds is None:
            return
        while True:
            self.notifier.watchdog()
            await trio.sleep(self.notifier.watchdog_seconds / 2)

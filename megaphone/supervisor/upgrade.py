"""An upgrade of the node: the supervisor becomes another program, then each worker hands over to a successor in turn.

            asked                 it can             the same upgrade, in the new program
    none --------> CHECKING -----------> SUPERVISOR ----------------------------------> WORKERS ---------> DONE
                      |                      | exec fails                                  |
                      v                      v                                             v one cannot hand over,
                   REFUSED <-----------------+                                           FAILED   or the node drains

Until the exec nothing has changed: REFUSED. After it a worker that cannot hand over goes on as it is, and the upgrade
stops there: FAILED. The next one, of the same program or back to the one before, begins with what then runs.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import trio
from msgspec import Struct

from megaphone import log
from megaphone.errors import UpgradeError
from megaphone.supervisor import reexec
from megaphone.supervisor.child import Child
from megaphone.supervisor.program import Program
from megaphone.supervisor.seat import Seat
from megaphone.supervisor.state import NodeState, UpgradeState
from megaphone.supervisor.successor import EndedBeforeError, hand_over
from megaphone.supervisor.supervisor import Phase, Supervisor

CHECKING: Final = "checking"
SUPERVISOR: Final = "supervisor"
WORKERS: Final = "workers"
DONE: Final = "done"
FAILED: Final = "failed"
REFUSED: Final = "refused"
RESULTS: Final = (DONE, FAILED, REFUSED)

_log = log.get_logger("supervisor")


class Progress(Struct):
    """How far one worker is."""

    worker: int
    stage: str = "waiting"  # handing over; done, failed, replaced (it had ended before), stays (in a hub)
    moved: int = 0
    ended: int = 0
    seconds: float = 0.0


class Upgrade:
    """The upgrade under way, if there is one, else what came of the last."""

    def __init__(self, supervisor: Supervisor, state: UpgradeState) -> None:
        self.state = state
        self.approved = trio.Event()  # the other program can go on: time to leave
        self.workers = [Progress(index) for index, _ in state.replace]
        self._supervisor = supervisor
        if self.under_way:
            supervisor.busy = "an upgrade"
        for result in RESULTS:  # counters that Prometheus sees from 0 on
            state.counts.setdefault(result, 0)

    @property
    def under_way(self) -> bool:
        """Whether it goes on in this program: it has just become the supervisor's."""
        return self.state.stage == SUPERVISOR

    async def begin(self, to: Program, *, force: bool, snapshot: Callable[[], NodeState]) -> bool:
        """Whether there is something to do, and the other program is to go on with it; UpgradeError says why not."""
        supervisor = self._supervisor
        if supervisor.busy:
            raise UpgradeError(f"{supervisor.busy} is already under way")
        if supervisor.phase is not Phase.RUNNING:
            raise UpgradeError(f"the node is {supervisor.phase.value}")
        children = [seat.live for seat in supervisor.seats]
        replace = [
            (child.index, child.pid)
            for child in children
            if child is not None and child.pid is not None and (force or not child.program.is_same_as(to))
        ]
        if not force and to.is_same_as(supervisor.program) and not replace:
            return False
        self.state.number += 1
        self.state.of, self.state.to, self.state.stage, self.state.reason = supervisor.program, to, CHECKING, ""
        self.state.started_at_seconds, self.state.replace = time.time(), replace
        self.workers = [Progress(index) for index, _ in replace]
        supervisor.busy = "an upgrade"
        supervisor.notifier.reloading(f"asking Megaphone {to.version} whether it can take over")
        _log.info("upgrade", version=to.version, of=supervisor.program.version, command=" ".join(to.command))
        try:
            reason = await reexec.check(to, snapshot())
        except BaseException:
            self._end(REFUSED, "the supervisor has ended")
            raise
        if supervisor.draining.is_set():
            reason = "the node is draining"
        if reason:
            self._end(REFUSED, reason)
            raise UpgradeError(reason)
        self.state.stage = SUPERVISOR
        self.approved.set()
        return True

    def refuse(self, reason: str) -> None:
        """The node did not leave after all."""
        self._end(REFUSED, reason)

    async def go_on(self) -> None:
        """In the new program: the workers, one after the other, until one cannot hand over or the node drains."""
        self.state.stage = WORKERS
        await self._supervisor.started.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._stop_when_draining, nursery.cancel_scope)
            reason = ""
            try:
                for progress, (index, pid) in zip(self.workers, self.state.replace, strict=True):
                    await self._replace(progress, self._supervisor.seats[index], pid)
            except UpgradeError as error:
                reason = str(error)
            except Exception as error:  # noqa: BLE001 - a mistake in here must not end the node
                _log.exception("upgrade failed")
                reason = f"internal error, see the log: {error}"
            self._end(FAILED if reason else DONE, reason)
            nursery.cancel_scope.cancel()

    async def _stop_when_draining(self, scope: trio.CancelScope) -> None:
        await self._supervisor.draining.wait()
        self._end(FAILED, "the node was told to drain")
        scope.cancel()

    async def _replace(self, progress: Progress, seat: Seat, pid: int) -> None:
        supervisor = self._supervisor
        if not supervisor.role.hands_over:
            progress.stage = "stays"
            return
        if seat.live is None or seat.live.pid != pid:
            progress.stage = "replaced"
            return
        notifier = supervisor.notifier
        notifier.status(f"upgrading to {supervisor.program.version}: worker {seat.index} of {len(supervisor.seats)}")
        notifier.extend_timeout(_longest_seconds(supervisor))
        progress.stage, begun = "handing over", time.monotonic()
        try:
            predecessor = await hand_over(supervisor, seat)
        except EndedBeforeError:
            progress.stage = "replaced"
            return
        except UpgradeError:
            progress.stage = "failed"
            raise
        finally:
            progress.seconds = round(time.monotonic() - begun, 3)
        progress.stage = "done"
        self._count(progress, seat.child, predecessor)
        _log.info("worker upgraded", worker=seat.index, moved=progress.moved, ended=progress.ended)

    def _count(self, progress: Progress, successor: Child | None, predecessor: Child) -> None:
        if successor is not None and successor.took_over is not None:
            progress.moved = successor.took_over.moved
        if predecessor.handed_over is not None:
            progress.moved, progress.ended = predecessor.handed_over.moved, predecessor.handed_over.ended
        self.state.moved += progress.moved
        self.state.ended += progress.ended

    def _end(self, result: str, reason: str) -> None:
        self.state.stage, self.state.reason = result, reason
        self.state.counts[result] += 1
        supervisor = self._supervisor
        supervisor.busy = ""
        if not supervisor.draining.is_set():
            supervisor.notifier.ready(supervisor.summary())
        if result == DONE:
            _log.info("upgraded", version=supervisor.program.version)
        else:
            _log.error("upgrade stopped", result=result, reason=reason)

    def view(self) -> dict[str, Any]:
        """For operators (docs/reference/command-line.md)."""
        return {
            "number": self.state.number,
            "stage": self.state.stage,
            "reason": self.state.reason,
            "from": self.state.of and self.state.of.version,
            "to": self.state.to and self.state.to.version,
            "ago_seconds": round(time.time() - self.state.started_at_seconds, 1) if self.state.number else None,
            "workers": self.workers,
        }


def _longest_seconds(supervisor: Supervisor) -> float:
    config = supervisor.config
    return config.restart.start_timeout_seconds + config.upgrade.deadline_seconds + config.drain.deadline_seconds + 15

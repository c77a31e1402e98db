"""One worker hands over to its successor: who is told what, how long it may take, and what the death of either means.

    supervisor                      predecessor                        successor
    start(take_over_fd) ------------------------------------------------> STARTING
                                                                  ready <----
    hand_over(path) --------------> serves on, sends everything --------> takes it, inactive
                                    stops, sends the last changes ------> is active
    board, sketch, sockets <----------------------------------------- took_over
                                    ends what could not move
                     handed_over <- exit 0

| what happens                                         | what comes of it                                              |
|------------------------------------------------------|---------------------------------------------------------------|
| the successor is not ready in time, or dies          | the predecessor goes on, the upgrade stops                    |
| the predecessor dies before it was told to hand over | a crash: the successor is killed, the upgrade goes on         |
| the predecessor says `hand_over_failed`              | it goes on, the successor is killed, the upgrade stops        |
| it says nothing within `upgrade.deadline_seconds`    | the same                                                      |
| the predecessor dies before `took_over`              | a crash: the successor is killed, the restart policy is asked |
| it dies after `took_over`                            | nothing: what it would have ended has ended                   |
| the successor dies after `took_over`                 | a crash, as of any worker                                     |
"""

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio

from megaphone import log
from megaphone.errors import UpgradeError
from megaphone.supervisor import channel
from megaphone.supervisor.child import Child, State
from megaphone.supervisor.conversation import WorkerUnavailableError
from megaphone.supervisor.seat import Seat
from megaphone.supervisor.supervisor import Supervisor

GRACE_SECONDS: Final = 5.0  # after the deadline, at which the predecessor gives up by itself
VERDICT_SECONDS: Final = 5.0  # for the one to say what it knows, after the other has died
_BACKLOG: Final = 1

_log = log.get_logger("supervisor")


class EndedBeforeError(UpgradeError):
    """The worker has ended before it was told to hand over; the restart policy replaces it with the new program."""


async def hand_over(supervisor: Supervisor, seat: Seat) -> Child:
    """Gives the worker of this seat a successor, and returns the predecessor when it has ended what could not move.

    UpgradeError says why it did not come to that; the predecessor then goes on. Cancelled, both go on as they are.
    """
    predecessor = seat.live
    if predecessor is None or predecessor.state is not State.READY:
        raise UpgradeError(f"worker {seat.index} is {seat.state.value}")
    with _listening(supervisor.holdings.bus.directory, seat.index) as (path, listening):
        successor = supervisor.keeper.start_successor(seat, listening.fileno())
        try:
            await _become_ready(seat, predecessor, successor)
            listening.close()  # the successor's from now on: if that dies, a connection is refused at once
            await _move(supervisor, seat, predecessor, successor, path)
        except UpgradeError:
            successor.kill("upgrade", "killed: its predecessor goes on")
            with trio.CancelScope(shield=True):
                await successor.gone.wait()
            if successor is seat.successor:
                seat.successor = None
                seat.changed()
            raise
    took_over = successor.took_over
    _log.info("successor took over", worker=seat.index, pid=successor.pid, moved=took_over.moved if took_over else 0)
    await predecessor.gone.wait()
    return predecessor


async def _become_ready(seat: Seat, predecessor: Child, successor: Child) -> None:
    """The start time-out is the limit: the successor is killed then, as every worker is."""
    await seat.until(lambda: successor.state is State.READY or successor.how or predecessor.how)
    if successor.how is not None:
        raise UpgradeError(f"the successor of worker {seat.index} {successor.how.text}")
    if predecessor.how is not None:
        raise EndedBeforeError(f"worker {seat.index} {predecessor.how.text} before it was told to hand over")


async def _move(supervisor: Supervisor, seat: Seat, predecessor: Child, successor: Child, path: str) -> None:
    """Returns when the successor has taken over; UpgradeError when it has not, and will not once it is killed."""
    limits = supervisor.config.upgrade
    message = channel.HandOver(path, limits.connections_per_second, limits.deadline_seconds)
    try:
        predecessor.conversation.send_nowait(message)
    except WorkerUnavailableError as error:
        raise UpgradeError(f"worker {seat.index} cannot be told to hand over: {error}") from None

    def settled() -> bool:
        either_gone = predecessor.how is not None or successor.how is not None
        return successor.took_over is not None or predecessor.hand_over_failed is not None or either_gone

    in_time = await seat.until(settled, limits.deadline_seconds + GRACE_SECONDS)
    if successor.took_over is not None:
        return
    if predecessor.hand_over_failed is not None:
        raise UpgradeError(f"worker {seat.index} did not hand over: {predecessor.hand_over_failed}")
    if predecessor.how is not None:
        if await seat.until(lambda: successor.took_over or successor.how, VERDICT_SECONDS) and successor.took_over:
            return
        raise UpgradeError(f"worker {seat.index} {predecessor.how.text} while it handed over")
    if not in_time:
        successor.kill("upgrade", "killed: it did not take over in time")
    await seat.until(lambda: predecessor.hand_over_failed is not None or predecessor.how, VERDICT_SECONDS)
    if successor.took_over is not None:  # it had just done so, and died
        return
    reason = f"nothing within {limits.deadline_seconds:g} s"
    if in_time and successor.how is not None:
        reason = f"its successor {successor.how.text}"
    raise UpgradeError(f"worker {seat.index} did not hand over: {reason}")


@contextlib.contextmanager
def _listening(bus_directory: str, index: int) -> Iterator[tuple[str, socket.socket]]:
    """A path in a directory that only this user may enter, and the SEQPACKET socket that listens on it."""
    made = None if bus_directory else tempfile.mkdtemp(prefix="megaphone-upgrade-")
    path = Path(made or bus_directory) / f"{index}.hand-over"
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        listening.bind(os.fspath(path))
        listening.listen(_BACKLOG)
        yield os.fspath(path), listening
    finally:
        listening.close()
        with contextlib.suppress(OSError):
            path.unlink()
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)

"""Signals: what they mean to the supervisor, and that none is lost while it changes its program.

An exec resets what a process does about a signal, but keeps those that are blocked and wait. So they are blocked before
the old program lets go of them, and let in by the new one once it is ready for them.
"""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

import trio

from megaphone import log

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_log = log.get_logger("supervisor")


async def follow(
    *,
    end: Callable[[], None],
    reload: Callable[[], None],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Calls `end` for SIGTERM and SIGINT, `reload` for SIGHUP."""
    with trio.open_signal_receiver(*SIGNALS) as received:
        release()
        task_status.started()
        async for number in received:
            _log.info("signal", signal=signal.Signals(number).name)
            if number == signal.SIGHUP:
                reload()
            else:
                end()


def hold() -> None:
    """From now on signals wait for the next program."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def release() -> None:
    """There is no next program after all."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def prepare() -> None:
    """To be called before the loop runs: other threads of ours cannot block signals, and may get one after `hold`."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # of SIGINT trio wants Python's own treatment
        signal.signal(number, _postpone)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell starts what is to run in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # an exec would keep it ignored, and drop what waits


def _postpone(number: int, _: FrameType | None) -> None:
    if number not in signal.pthread_sigmask(signal.SIG_BLOCK, ()):  # not held: what it does without a handler
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_kill(threading.main_thread().ident or 0, number)

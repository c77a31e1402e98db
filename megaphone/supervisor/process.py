"""A worker process as the supervisor holds it: its own child, also if another program of the supervisor started it."""

import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import trio

Cause = Literal["exit", "signal", "hang", "start-timeout", "fatal", "channel", "config", "spawn", "drain", "upgrade"]


@dataclass(frozen=True, slots=True)
class Exit:
    """How one worker process ended."""

    cause: Cause
    text: str  # one sentence for the log

    def pair(self) -> tuple[Cause, str]:
        """Both, to be told to another program."""
        return self.cause, self.text


class Process:
    """A child of this process, whichever program of it has started it."""

    def __init__(self, pid: int) -> None:
        """ProcessLookupError when there is no such process; a child that has ended and was not waited for is one."""
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)
        self._returncode: int | None = None

    async def wait(self) -> int:
        """Its return code, once it has ended: negative for a signal."""
        while (returncode := self.poll()) is None:
            await trio.lowlevel.wait_readable(self._descriptor)  # pidfd_open(2): readable when it has ended
        self.close()
        return returncode

    def poll(self) -> int | None:
        """Its return code, None while it runs."""
        if self._returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._returncode = os.waitstatus_to_exitcode(status)
        return self._returncode

    def kill(self) -> None:
        """SIGKILL; nothing happens when it has ended."""
        if self._returncode is None:
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def close(self) -> None:
        """Lets go of it: it is another program's, or has ended."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


async def start_process(command: Sequence[str], descriptors: Sequence[int]) -> tuple[Process, socket.socket]:
    """Starts a worker, which inherits these descriptors, and returns it with our end of its channel; OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with theirs:
            pid = await trio.to_thread.run_sync(
                _spawn, [*command, str(theirs.fileno())], (theirs.fileno(), *descriptors)
            )
    except BaseException:
        ours.close()
        raise
    ours.setblocking(False)
    return Process(pid), ours


def _spawn(words: Sequence[str], descriptors: Sequence[int]) -> int:
    started = subprocess.Popen(  # noqa: S603 - our own worker
        words,
        stdin=subprocess.DEVNULL,
        pass_fds=descriptors,
        env=environment(os.environ),
        process_group=0,  # Ctrl-C in a terminal is for the supervisor, which then drains it
    )
    started.returncode = 0  # not Python's to wait for when it collects the object
    return started.pid


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """The worker's environment: ours without what systemd tells the supervisor alone."""
    return {
        name: value
        for name, value in ours.items()
        if name not in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
    }


def exit_text(returncode: int) -> str:
    """A process's return code in words: `"exited with status 3"`, `"killed by SIGKILL"`."""
    if returncode >= 0:
        return f"exited with status {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"

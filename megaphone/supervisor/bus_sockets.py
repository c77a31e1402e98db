"""Where the workers of a node reach each other: two Unix sockets per worker, kept open by the supervisor over crashes.

One is for frames (bus.local), one for connections that change hands (embedded.hand_over). Both lie in a directory that
only this user may enter. What is dialled while a worker is being replaced waits for its successor.

The directory of a supervisor that was killed is removed by the next one: its lock is free.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Final

from megaphone.supervisor.state import BusState, Duplicate

BACKLOG: Final = 1024
PREFIX: Final = "megaphone-bus-"
LOCK: Final = "lock"


class BusSockets:
    """The sockets of `workers` workers; none with one worker, which has nobody to talk to."""

    def __init__(self, workers: int) -> None:
        self._sockets: list[tuple[socket.socket, socket.socket]] = []
        self.directory = ""
        self._lock = -1
        if workers == 1:
            return
        remove_abandoned(Path(tempfile.gettempdir()))
        self.directory = tempfile.mkdtemp(prefix=PREFIX)
        try:
            self._lock = os.open(Path(self.directory) / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            for index in range(workers):
                frames = self._open(socket.SOCK_STREAM, f"{index}.frames")
                self._sockets.append((frames, self._open(socket.SOCK_SEQPACKET, f"{index}.connections")))
        except BaseException:
            self.close()
            raise

    @classmethod
    def adopt(cls, state: BusState) -> "BusSockets":
        """Those that another program of this process has opened, with its lock."""
        adopted = cls(1)
        adopted.directory, adopted._lock = state.directory, state.lock_fd
        adopted._sockets = [(socket.socket(fileno=frames), socket.socket(fileno=other)) for frames, other in state.fds]
        return adopted

    def state(self, duplicate: Duplicate) -> BusState:
        """What another program of this process goes on with."""
        fds = [(duplicate(frames.fileno()), duplicate(other.fileno())) for frames, other in self._sockets]
        return BusState(directory=self.directory, lock_fd=duplicate(self._lock) if self._lock >= 0 else -1, fds=fds)

    def _open(self, kind: socket.SocketKind, name: str) -> socket.socket:
        opened = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
        opened.bind(str(Path(self.directory) / name))
        opened.listen(BACKLOG)
        return opened

    def of_worker(self, index: int) -> tuple[int, ...]:
        """The descriptors of one worker: for frames, for connections."""
        return tuple(each.fileno() for each in self._sockets[index]) if self._sockets else ()

    def close(self, *, keep_directory: bool = False) -> None:
        """Closes the sockets and removes the directory, unless somebody goes on with it."""
        for pair in self._sockets:
            for each in pair:
                each.close()
        if self.directory and not keep_directory:
            shutil.rmtree(self.directory, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def remove_abandoned(directory: Path) -> None:
    """Remove what supervisors of this user have left that were killed. One without a lock is just being made."""
    for left in directory.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else's, or gone meanwhile
            if left.is_symlink() or left.stat().st_uid != os.geteuid():
                continue
            lock = os.open(left / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)

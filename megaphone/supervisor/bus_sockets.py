"""Where the workers of a node reach each other: two Unix sockets per worker, kept open by the supervisor over crashes.

One is for frames (bus.local), one for connections that change hands (embedded.hand_over). Both lie in a directory that
only this user may enter. What is dialled while a worker is being replaced waits for its successor.
"""

import shutil
import socket
import tempfile
from pathlib import Path
from typing import Final

BACKLOG: Final = 1024


class BusSockets:
    """The sockets of `workers` workers; none with one worker, which has nobody to talk to."""

    def __init__(self, workers: int) -> None:
        self._sockets: list[tuple[socket.socket, socket.socket]] = []
        self.directory = ""
        if workers == 1:
            return
        self.directory = tempfile.mkdtemp(prefix="megaphone-bus-")
        try:
            for index in range(workers):
                frames = self._open(socket.SOCK_STREAM, f"{index}.frames")
                self._sockets.append((frames, self._open(socket.SOCK_SEQPACKET, f"{index}.connections")))
        except BaseException:
            self.close()
            raise

    def _open(self, kind: socket.SocketKind, name: str) -> socket.socket:
        opened = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
        opened.bind(str(Path(self.directory) / name))
        opened.listen(BACKLOG)
        return opened

    def of_worker(self, index: int) -> tuple[int, ...]:
        """The descriptors of one worker: for frames, for connections."""
        return tuple(each.fileno() for each in self._sockets[index]) if self._sockets else ()

    def close(self) -> None:
        """Closes the sockets and removes the directory."""
        for pair in self._sockets:
            for each in pair:
                each.close()
        if self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)

"""The Unix control socket: created for its owner only, never taken from a Megaphone that still answers on it."""

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

from megaphone.errors import ConfigError

KEY: Final = "admin.socket"
BACKLOG: Final = 64
_PATH_LIMIT_BYTES: Final = 107  # sun_path, without its final zero byte


class ControlSocket:
    """A listening Unix socket and the file that leads to it."""

    def __init__(self, path: str, listening: socket.socket) -> None:
        self.path = path
        self.listening = listening
        self._inode = -1
        with contextlib.suppress(OSError):  # somebody has removed the file
            self._inode = os.stat(path).st_ino

    def close(self, *, keep_file: bool = False) -> None:
        """Closes the socket and removes its file, unless the file is somebody else's by now."""
        self.listening.close()
        if keep_file:
            return
        with contextlib.suppress(OSError):
            if os.stat(self.path).st_ino == self._inode:
                os.unlink(self.path)


def open_control_socket(
    path: str, *, file: str, key: str = KEY, mode: int = 0o600, backlog: int = BACKLOG
) -> ControlSocket:
    """Creates the socket with `mode`, and its directory if need be; ConfigError for `key` says why it cannot."""
    if len(os.fsencode(path)) > _PATH_LIMIT_BYTES:
        raise ConfigError(file, key, f'"{path}" is longer than the {_PATH_LIMIT_BYTES} bytes a Unix socket may have')
    directory = Path(path).parent
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        _remove_stale(path, file=file, key=key)
        return ControlSocket(path, _listen(path, mode, backlog))
    except OSError as error:
        advice = " (run as the owner of the directory, or set another path)" if error.errno == errno.EACCES else ""
        reason = f'cannot create "{path}": {os.strerror(error.errno or 0)}{advice}'
        raise ConfigError(file, key, reason) from None


def _remove_stale(path: str, *, file: str, key: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(file, key, f'"{path}" exists and is not a socket; remove it or set another path')
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a Unix socket answers at once: yes, no, or its queue is full
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # left behind by a process that was killed
            return
        except BlockingIOError:
            pass  # a full queue is somebody's
    raise ConfigError(file, key, f'another Megaphone is running and answers on "{path}"; stop it or set another path')


def _listen(path: str, mode: int, backlog: int) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)  # so that there is no moment in which others could connect
    try:
        listening.bind(path)
        listening.listen(backlog)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(before)
    return listening

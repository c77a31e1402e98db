"""What it takes to run a Megaphone from another program: its configuration, its end with ours, its control socket."""

import ctypes
import http.client
import json
import os
import resource
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

PR_SET_PDEATHSIG: Final = 1

_libc: Final = ctypes.CDLL(None, use_errno=True)


def toml(tables: Mapping[str, Any]) -> str:
    """TOML text of tables and arrays of tables with plain values (JSON's scalars and arrays are TOML's, too)."""
    lines = []
    for name, value in tables.items():
        header = f"[[{name}]]" if isinstance(value, list) else f"[{name}]"
        for table in value if isinstance(value, list) else [value]:
            lines += [header, *(f"{key} = {json.dumps(item)}" for key, item in table.items()), ""]
    return "\n".join(lines)


def dies_with(parent: int) -> Callable[[], None]:
    """What a new child has to call, to end when `parent` ends, and to have all the descriptors it may have."""

    def prepare() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        if os.getppid() != parent:  # it died between fork and prctl
            os._exit(1)

    return prepare


class ControlConnection(http.client.HTTPConnection):
    """HTTP over the control socket."""

    def __init__(self, path: Path, *, timeout_seconds: float = 60.0) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        """Connect to the Unix socket instead of a port."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))

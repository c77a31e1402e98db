"""One real worker process, with this test as its supervisor: channel, board, sketch and listening sockets."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from megaphone.dispatch.counters import BOARD_BYTES, Board, Slot
from megaphone.edge.sketch import sketch_bytes

PATIENCE_SECONDS = 60.0  # on a busy machine; nothing waits this long when it works
CONFIG = """
[node]
workers = 1
max_connections = 200
[[listen]]
address = "127.0.0.1:0"
tls = "none"
[[domain]]
name = "example.org"
upstreams = ["first"]
[[upstream]]
name = "first"
address = "{upstream}"
proxy_protocol = false
[log]
format = "json"
[health]
interval_seconds = 600
{more}
"""
TICKET_KEY = bytes(80).hex()


class Node:
    """What survives a worker: its board, the sketch, the listening socket."""

    def __init__(self) -> None:
        self.board_fd = os.memfd_create("board")
        os.ftruncate(self.board_fd, BOARD_BYTES)
        self.board = Board(mmap.mmap(self.board_fd, BOARD_BYTES))
        self.sketch_fd = os.memfd_create("sketch")
        os.ftruncate(self.sketch_fd, sketch_bytes(1))
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.listening.setblocking(False)
        self.address: tuple[str, int] = self.listening.getsockname()

    def close(self) -> None:
        for descriptor in (self.board_fd, self.sketch_fd):
            os.close(descriptor)
        self.listening.close()


class WorkerUnderTest:
    """Starts the process and says `start`; `ask` and `tell` are the channel.

    `listen` is the place in the configuration that the node's socket stands for.
    """

    def __init__(
        self,
        node: Node,
        config: str,
        *,
        stderr: int | None = None,
        before: Callable[[], None] | None = None,
        take_over: socket.socket | None = None,
        listen: int = 0,
    ) -> None:
        self.node = node
        self.channel, theirs = socket.socketpair()
        self.channel.settimeout(PATIENCE_SECONDS)
        self._pending = b""
        self._asked = 0
        fds = [theirs.fileno(), node.board_fd, node.sketch_fd, node.listening.fileno()]
        if take_over is not None:
            fds.append(take_over.fileno())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "megaphone.worker", str(theirs.fileno())],
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE if stderr is None else stderr,
            preexec_fn=before,
        )
        theirs.close()
        self.tell(
            type="start",
            index=0,
            workers=1,
            config_path="/etc/megaphone/megaphone.toml",
            config_text=config,
            board_fd=node.board_fd,
            sketch_fd=node.sketch_fd,
            listeners=[[listen, node.listening.fileno()]],
            ticket_keys=[TICKET_KEY],
            bus_directory="",
            bus_fds=[],
            take_over_fd=-1 if take_over is None else take_over.fileno(),
        )

    def tell(self, **message: Any) -> None:
        self.channel.sendall(json.dumps(message).encode() + b"\n")

    def hear(self) -> dict[str, Any] | None:
        """The next message; None at the end."""
        while b"\n" not in self._pending:
            data = self.channel.recv(65_536)
            if not data:
                return None
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def expect(self, kind: str) -> dict[str, Any]:
        message = self.hear()
        assert message is not None, f"the channel ended; {self.errors()}"
        assert message["type"] == kind, message
        return message

    def ask(self, **message: Any) -> Any:
        """A question with its answer."""
        self._asked += 1
        self.tell(id=self._asked, **message)
        reply = self.expect("reply")
        assert reply["id"] == self._asked
        return reply["result"]

    def connections(self, **filters: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.ask(
            **{"type": "connections", "address": None, "jid": None, "state": None, "limit": 100} | filters
        )
        return rows

    def kick(self, **whom: Any) -> int:
        kicked: int = self.ask(
            **{"type": "kick", "connection": None, "address": None, "jid": None, "condition": "policy-violation"} | whom
        )
        return kicked

    def descriptors(self) -> int:
        """How many it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def wait_exit(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)

    def errors(self) -> list[dict[str, Any]]:
        """Everything it logged, once it has ended."""
        assert self.process.stderr is not None
        self.process.wait(PATIENCE_SECONDS)
        return [json.loads(line) for line in self.process.stderr.read().splitlines()]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_SECONDS)
        self.channel.close()
        if self.process.stderr is not None:
            self.process.stderr.close()


def until(condition: Callable[[], object], what: str) -> None:
    """Waits until the condition holds; fails the test when it never does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(0.01)


class Line:
    """A blocking TCP connection, client or server."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE_SECONDS)
        self.socket = sock
        self.received = b""

    def send(self, data: bytes) -> Line:
        self.socket.sendall(data)
        return self

    def expect(self, data: bytes) -> Line:
        """This comes next, whatever follows."""
        while len(self.received) < len(data):
            more = self.socket.recv(65_536)
            assert more, f"ended after {self.received!r}"
            self.received += more
        assert self.received[: len(data)] == data
        self.received = self.received[len(data) :]
        return self

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        with contextlib.suppress(ConnectionResetError):
            while more := self.socket.recv(65_536):
                self.received += more
        return self.received

    def close(self) -> None:
        self.socket.close()


def open_connections(node: Node) -> int:
    """The sum of the gauges."""
    return sum(node.board.get(Slot(slot)) for slot in range(Slot.OPEN_NEGOTIATING, Slot.OPEN_CLOSING + 1))

"""The workers of an embedded service as real processes, with this test as their supervisor; and clients for them."""

from __future__ import annotations

import base64
import contextlib
import json
import mmap
import os
import re
import secrets
import selectors
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from megaphone.dispatch.counters import BOARD_BYTES, Board
from megaphone.edge.sketch import sketch_bytes
from megaphone.service.accounts import make_credentials
from megaphone.storage.accounts import AccountBook
from megaphone.storage.database import prepare
from tests.servers.certificates import CertificateAuthority
from tests.unit.worker.worker_under_test import TICKET_KEY

PATIENCE_SECONDS = 60.0  # on a busy machine; nothing waits this long when it works

CONFIG = """
[node]
workers = {workers}
max_connections = 20000
[[listen]]
address = "127.0.0.1:0"
tls = "none"
[[listen]]
address = "127.0.0.1:1"
tls = "direct"
[[certificate]]
chain = "{chain}"
key = "{key}"
[tls]
record_layer = "{record_layer}"
[[domain]]
name = "example.org"
[service]
data = "{data}"
anonymous = true
plain_without_tls = true
scram_iterations = 4096
failed_logins_per_address = 1000000
[rooms]
domain = "rooms.example.org"
[limits]
accepts_per_second = 1000000
accepts_per_second_per_address = 1000000
connections_per_address = 1000000
connections_per_prefix = 1000000
stanzas_per_second = 1000000
stanzas_burst = 1000000
bytes_per_second = 1000000000
bytes_burst = 1000000000
[log]
format = "json"
"""
# of these rosaline and laurence are not at home in worker 0, whether there are two or three
USERS = ("juliet", "romeo", "nurse", "tybalt", "mercutio", "paris", "rosaline", "laurence")
HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" to='example.org' version='1.0'>"
)


class Process:
    """One worker process."""

    def __init__(self, house: House, index: int, take_over: socket.socket | None = None) -> None:
        self.channel, theirs = socket.socketpair()
        self.channel.settimeout(PATIENCE_SECONDS)
        self._pending = b""
        listening = [house.listening[index].fileno(), house.listening_tls[index].fileno()]
        descriptors = [theirs.fileno(), house.board_fds[index], house.sketch_fd, *listening]
        bus = [each.fileno() for each in house.bus[index]] if house.bus else []
        descriptors += bus
        if take_over is not None:
            descriptors.append(take_over.fileno())
        house.logs += 1
        self.log = house.directory / f"worker-{index}-{house.logs}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-m", "megaphone.worker", str(theirs.fileno())],
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        theirs.close()
        self.tell(
            type="start",
            index=index,
            workers=house.workers,
            config_path="/etc/megaphone/megaphone.toml",
            config_text=house.config,
            board_fd=house.board_fds[index],
            sketch_fd=house.sketch_fd,
            listeners=list(enumerate(listening)),
            ticket_keys=[TICKET_KEY],
            bus_directory=str(house.directory),
            bus_fds=bus,
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
        assert message is not None, f"the channel ended; {self.log.read_text()}"
        assert message["type"] == kind, f"{message}; {self.log.read_text()}"
        return message

    def hear_either(self, *kinds: str) -> dict[str, Any]:
        """The next message, which is of one of these kinds."""
        message = self.hear()
        assert message is not None, self.log.read_text()
        assert message["type"] in kinds, message
        return message

    def heard_already(self) -> list[dict[str, Any]]:
        """Messages that are there now; they are taken."""
        self.channel.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while data := self.channel.recv(65_536):
                self._pending += data
        self.channel.settimeout(PATIENCE_SECONDS)
        *lines, self._pending = self._pending.split(b"\n")
        return [json.loads(line) for line in lines]

    def descriptors(self) -> int:
        """How many it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def faults(self) -> list[str]:
        """Mistakes of ours that it has logged."""
        lines = self.log.read_text().splitlines()
        return [line for line in lines if "internal error" in line or "Traceback" in line or "Fatal" in line]

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        self.channel.close()


class House:
    """What survives workers; `hand_over` replaces one of them."""

    def __init__(self, directory: Path, workers: int, *, record_layer: str = "own") -> None:
        self.directory = directory
        self.workers = workers
        self.logs = 0
        authority = CertificateAuthority(directory / "certificates")
        files = authority.issue("example.org")
        self.trusting = ssl.create_default_context(cafile=str(authority.certificate))
        self.config = CONFIG.format(
            workers=workers, data=directory / "data", chain=files.chain, key=files.key, record_layer=record_layer
        )
        prepare(str(directory / "data"))
        book = AccountBook(str(directory / "data"))
        for user in USERS:
            assert book.add(user, make_credentials("secret", secrets.token_bytes(16), 4096), time.time())
        book.close()
        self.board_fds = []
        self.boards = []
        for _ in range(workers):
            descriptor = os.memfd_create("board")
            os.ftruncate(descriptor, BOARD_BYTES)
            self.board_fds.append(descriptor)
            self.boards.append(Board(mmap.mmap(descriptor, BOARD_BYTES)))
        self.sketch_fd = os.memfd_create("sketch")
        os.ftruncate(self.sketch_fd, sketch_bytes(workers))
        self.listening = [socket.create_server(("127.0.0.1", 0), backlog=4096) for _ in range(workers)]
        self.listening_tls = [socket.create_server(("127.0.0.1", 0), backlog=4096) for _ in range(workers)]
        for listening in (*self.listening, *self.listening_tls):
            listening.setblocking(False)
        self.bus = [] if workers == 1 else [self._bus(index) for index in range(workers)]
        self.all: list[Process] = []
        self.running = {index: self.start(index) for index in range(workers)}
        for each in self.running.values():
            each.expect("ready")
        self.handed: list[dict[str, Any]] = []

    def _bus(self, index: int) -> tuple[socket.socket, socket.socket]:
        made = []
        for kind, name in ((socket.SOCK_STREAM, "frames"), (socket.SOCK_SEQPACKET, "connections")):
            each = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
            each.bind(str(self.directory / f"{index}.{name}"))
            each.listen(64)
            made.append(each)
        return made[0], made[1]

    def start(self, index: int, take_over: socket.socket | None = None) -> Process:
        made = Process(self, index, take_over)
        self.all.append(made)
        return made

    def successor(self, index: int) -> tuple[Process, str]:
        """A process that can take over from this worker, and where it listens."""
        path = str(self.directory / f"take-over-{self.logs}")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            listening.bind(path)
            listening.listen(1)
            made = self.start(index, listening)
        made.expect("ready")
        return made, path

    def begin(self, index: int, path: str, *, per_second: float = 1_000_000) -> None:
        self.running[index].tell(
            type="hand_over", path=path, connections_per_second=per_second, deadline_seconds=PATIENCE_SECONDS
        )

    def hand_over(self, index: int) -> dict[str, Any]:
        """Replace a worker; returns what it said last."""
        successor, path = self.successor(index)
        before = self.running[index]
        self.begin(index, path)
        handed = before.expect("handed_over")
        taken = successor.expect("took_over")
        assert taken["moved"] == handed["moved"]
        assert before.process.wait(PATIENCE_SECONDS) == 0
        self.running[index] = successor
        self.handed.append(handed)
        return handed

    def count(self, slot: int) -> int:
        """A slot of all boards, added up."""
        return sum(board.get(slot) for board in self.boards) & ((1 << 64) - 1)

    def client(self, name: str, *, via: int = 0, tls: bool = False, **options: Any) -> Client:
        """A client that comes to this worker."""
        if tls:
            return Client(self.listening_tls[via].getsockname(), name, trusting=self.trusting, **options)
        return Client(self.listening[via].getsockname(), name, **options)

    def close(self) -> None:
        for each in self.all:
            each.close()
        for listening in (*self.listening, *self.listening_tls, *(each for pair in self.bus for each in pair)):
            listening.close()
        for descriptor in (*self.board_fds, self.sketch_fd):
            os.close(descriptor)

    def faults(self) -> list[str]:
        return [fault for each in self.all for fault in each.faults()]


_STANZA = re.compile(rb"<(message|presence|iq|r|a|enabled|resumed|failed|success|failure|challenge|stream:features)\b")


class Client:
    """A client: "user/resource", or "" for a guest. With `managed` it uses XEP-0198 and acknowledges what it gets."""

    def __init__(
        self,
        address: tuple[str, int],
        name: str,
        *,
        managed: bool = False,
        resume: tuple[str, int] | None = None,
        trusting: ssl.SSLContext | None = None,
    ) -> None:
        local, _, resource = name.partition("/")
        self.name = name
        self.managed = managed
        self.acknowledges = managed
        self.received = b""
        self.got: list[bytes] = []  # stanzas
        self.handled = 0  # of theirs
        self.sent = 0  # stanzas of ours, since XEP-0198 was enabled
        self.acked = 0  # of ours
        self.resumption = ""
        self.socket = socket.create_connection(address)
        if trusting is not None:
            self.socket = trusting.wrap_socket(self.socket, server_hostname="example.org")
        self.socket.settimeout(PATIENCE_SECONDS)
        self.say(HEADER)
        self.await_("stream:features")
        if local:
            self.say(self._auth("PLAIN", f"\0{local}\0secret"))
        else:
            self.say(self._auth("ANONYMOUS", ""))
        self.await_("success")
        self.say(HEADER)
        self.await_("stream:features")
        if resume is not None:
            self.say(b"<resume xmlns='urn:xmpp:sm:3' previd='%b' h='%d'/>" % (resume[0].encode(), resume[1]))
            self.handled = resume[1]
            self.answer = self.await_("resumed", "failed")
            return
        bind = b"<resource>%b</resource>" % resource.encode() if resource else b""
        self.say(b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>%b</bind></iq>" % bind)
        found = re.search(rb"<jid>([^<]*)</jid>", self.await_("iq"))
        assert found is not None
        self.jid = found[1].decode()
        if managed:
            self.say(b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
            enabled = re.search(rb"id='([^']*)'", self.await_("enabled"))
            assert enabled is not None
            self.resumption = enabled[1].decode()
            self.handled = 0
        self.got.clear()

    @staticmethod
    def _auth(mechanism: str, message: str) -> bytes:
        encoded = base64.b64encode(message.encode()) or b"="
        return b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='%b'>%b</auth>" % (
            mechanism.encode(),
            encoded,
        )

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def stanza(self, text: str) -> None:
        self.sent += 1
        self.say(text.encode())

    def ask(self) -> None:
        self.say(b"<r xmlns='urn:xmpp:sm:3'/>")

    def _elements(self) -> list[tuple[str, bytes]]:
        """Take whole first-level elements out of what has been received."""
        found = []
        while True:
            self.received = self.received.lstrip()
            if self.received.startswith(b"<?xml"):
                self.received = self.received.partition(b"?>")[2]
                continue
            if self.received.startswith(b"<stream:stream"):
                _, end, after = self.received.partition(b">")
                if not end:
                    return found
                self.received = after
                continue
            match = _STANZA.match(self.received)
            if match is None:
                assert b"<stream:error" not in self.received, self.received
                assert b"</stream" not in self.received, self.received
                return found
            name = match[1]
            head = self.received.find(b">")
            if head < 0:
                return found
            if self.received[head - 1 : head] == b"/":
                end_at = head + 1
            else:
                close = self.received.find(b"</%b>" % name)
                if close < 0:
                    return found
                end_at = close + len(name) + 3
            found.append((name.decode(), self.received[:end_at]))
            self.received = self.received[end_at:]

    def read(self, *, wait: bool = True) -> list[tuple[str, bytes]]:
        """What has come: at least one element if `wait`."""
        while True:
            found = self._elements()
            for name, data in found:
                self._took(name, data)
            if found:
                return found
            self.socket.setblocking(wait)
            if wait:
                self.socket.settimeout(PATIENCE_SECONDS)
            try:
                data = self.socket.recv(65_536)
                while not wait or (isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()):
                    assert data, f"{self.name} was disconnected after {self.received!r}"
                    self.received += data
                    data = self.socket.recv(65_536)
            except (BlockingIOError, ssl.SSLWantReadError):
                found = self._elements()
                for name, each in found:
                    self._took(name, each)
                return found
            finally:
                self.socket.settimeout(PATIENCE_SECONDS)
            assert data, f"{self.name} was disconnected after {self.received!r}"
            self.received += data

    def _took(self, name: str, data: bytes) -> None:
        if name in ("message", "presence", "iq"):
            self.handled += 1
            self.got.append(data)
        elif name == "r" and self.acknowledges:
            self.say(b"<a xmlns='urn:xmpp:sm:3' h='%d'/>" % self.handled)
        elif name == "a":
            found = re.search(rb"h='(\d+)'", data)
            assert found is not None
            self.acked = int(found[1])

    def await_(self, *names: str) -> bytes:
        """Read until one of these comes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            for name, data in self.read():
                if name in names:
                    return data
        raise AssertionError(f"{self.name} got no {names}")

    def numbers(self) -> list[int]:
        """The numbers in the bodies of the messages that have come."""
        return [int(each) for data in self.got for each in re.findall(rb"<body>(\d+)</body>", data)]

    def goodbye(self) -> None:
        """End the stream in order, and wait for the other side's end."""
        self.acknowledges = False  # nothing may be said any more
        self.say(b"</stream:stream>")
        while b"</stream:stream>" not in self.received:
            data = self.socket.recv(65_536)
            assert data, f"{self.name} was disconnected after {self.received!r}"
            self.received += data

    def cut(self) -> None:
        """Lose the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.close()


def read_all(*clients: Client, until: Any) -> None:
    """Read for all of them until this is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client.socket, selectors.EVENT_READ, client)
        while not until():
            for key, _ in selector.select(0.05):
                key.data.read(wait=False)
            assert time.monotonic() < deadline, {each.name: (each.got[-3:], each.acked) for each in clients}

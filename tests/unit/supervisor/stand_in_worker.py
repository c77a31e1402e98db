"""A worker that speaks the supervisor's channel protocol and nothing else; argv: MODE STATE_DIRECTORY CHANNEL_FD.

Modes (several joined by "+"):
  healthy             ready, heartbeats, answers everything
  crash-at-start      exits with status 7 before it is ready
  fatal               says it cannot use the configuration
  silent              never becomes ready
  stop-heartbeats     stops its heartbeats once it is ready
  stopped             sends itself SIGSTOP once it is ready
  refuse-reload       answers every reload with `reload_failed`
  refuse-reload-N     only worker N refuses
  ignore-reload       does not answer a reload
  ignore-drain        never ends by itself
  garbage             sends a line that is no message once it is ready
  no-links            answers that it has no links
  accept              accepts connections and sends each one its own index and process, then closes it
  echo                accepts connections and sends back what they say
  once                all of the above except "healthy", "no-links" and "accept" only for the first process of an index

When it is told to hand over it says COMMIT to its successor, hears TAKEN, says that 5 connections have moved and 1 has
ended, and exits. As a predecessor:
  refuse-hand-over    says `hand_over_failed`
  ignore-hand-over    says nothing
  die-before-commit   exits with status 9 instead
  die-after-commit    kills itself when it has heard TAKEN
  end-slowly          never ends what could not move
As a successor, which it is when it is given a socket to take over on:
  successor-crash     exits with status 7 before it is ready
  successor-silent    never becomes ready
  successor-dies      exits with status 8 when it hears COMMIT
  successor-hangs     never says TAKEN
  successor-dies-late says that it took over, and exits with status 8

It writes what it was given to STATE_DIRECTORY as `worker-INDEX.jsonl`, one object for each message received.
"""

import json
import mmap
import os
import selectors
import signal
import socket
import sys
import time
from pathlib import Path

from megaphone.dispatch.counters import BOARD_BYTES, Board, Slot


class StandIn:
    def __init__(self, modes: set[str], directory: Path, channel: socket.socket) -> None:
        self.modes = modes
        self.directory = directory
        self.channel = channel
        self.selector = selectors.DefaultSelector()
        self.selector.register(channel, selectors.EVENT_READ, self.read_channel)
        self.pending = b""
        self.index = -1
        self.workers = 0
        self.board: Board | None = None
        self.listening: list[socket.socket] = []
        self.owns_board = True

    def say(self, **message: object) -> None:
        self.channel.sendall(json.dumps(message).encode() + b"\n")

    def run(self) -> None:
        while True:
            for key, _ in self.selector.select(0.05):
                key.data()
            if self.board is not None and self.owns_board and "stop-heartbeats" not in self.modes:
                self.board.set(Slot.HEARTBEAT_NS, time.monotonic_ns())

    def read_channel(self) -> None:
        data = self.channel.recv(1 << 20)
        if not data:
            os._exit(0)
        *lines, self.pending = (self.pending + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            getattr(self, "on_" + message["type"])(message)

    def note(self, message: dict) -> None:
        with (self.directory / f"worker-{self.index}.jsonl").open("a") as file:
            file.write(json.dumps({"pid": os.getpid()} | message) + "\n")

    def on_start(self, message: dict) -> None:
        self.index, self.workers = message["index"], message["workers"]
        started_before = (self.directory / f"worker-{self.index}.jsonl").exists()
        if "once" in self.modes and started_before:
            self.modes &= {"healthy", "no-links", "accept"}
        self.note(message)
        if "fatal" in self.modes:
            self.say(type="fatal", reason="certificate[0].chain: the key does not belong to the certificate")
            sys.exit(3)
        if "crash-at-start" in self.modes:
            sys.exit(7)
        if "silent" in self.modes:
            return
        self.board = Board(mmap.mmap(message["board_fd"], BOARD_BYTES))
        self.listening = [socket.socket(fileno=descriptor) for _, descriptor in message["listeners"]]
        if message["take_over_fd"] >= 0:
            self.wait_for_predecessor(socket.socket(fileno=message["take_over_fd"]))
        else:
            self.open()
        if "successor-silent" in self.modes and message["take_over_fd"] >= 0:
            return
        self.say(type="ready")
        if "stopped" in self.modes:
            os.kill(os.getpid(), signal.SIGSTOP)
        if "garbage" in self.modes:
            self.channel.sendall(b"this is not JSON\n")

    def open(self) -> None:
        self.owns_board = True
        self.board.add(Slot.GENERATION, 1)
        self.board.set(Slot.OPEN_AUTHENTICATED, 5)
        self.board.set(Slot.HEARTBEAT_NS, time.monotonic_ns())
        self.board.set(Slot.STARTED_NS, time.monotonic_ns())
        self.board.set(Board.upstream_slot(0, 0), 1)
        for listening in self.listening:
            if self.modes & {"accept", "echo"}:
                self.selector.register(listening, selectors.EVENT_READ, self.accept)

    def wait_for_predecessor(self, waiting: socket.socket) -> None:
        self.owns_board = False
        if "successor-crash" in self.modes:
            sys.exit(7)
        waiting.setblocking(True)

        def take_over() -> None:
            self.selector.unregister(waiting)
            predecessor, _ = waiting.accept()
            if predecessor.recv(100) != b"COMMIT":
                sys.exit(1)
            if "successor-dies" in self.modes:
                sys.exit(8)
            if "successor-hangs" in self.modes:
                self.selector.register(predecessor, selectors.EVENT_READ, lambda: time.sleep(0.05))
                return
            self.open()
            predecessor.send(b"TAKEN")
            self.say(type="took_over", moved=5)
            if "successor-dies-late" in self.modes:
                sys.exit(8)

        self.selector.register(waiting, selectors.EVENT_READ, take_over)

    def on_hand_over(self, message: dict) -> None:
        self.note(message)
        if "refuse-hand-over" in self.modes:
            self.say(type="hand_over_failed", reason="too old")
            return
        if "ignore-hand-over" in self.modes:
            return
        if "die-before-commit" in self.modes:
            sys.exit(9)
        successor = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        successor.connect(message["path"])
        if "accept" in self.modes:
            for listening in self.listening:
                self.selector.unregister(listening)
        successor.send(b"COMMIT")

        def hear() -> None:
            self.selector.unregister(successor)
            if successor.recv(100) != b"TAKEN":
                if "accept" in self.modes:
                    for listening in self.listening:
                        self.selector.register(listening, selectors.EVENT_READ, self.accept)
                self.say(type="hand_over_failed", reason="the successor has gone")
                return
            self.owns_board = False
            if "die-after-commit" in self.modes:
                os.kill(os.getpid(), signal.SIGKILL)
            if "end-slowly" not in self.modes:
                self.say(type="handed_over", moved=5, ended=1)
                sys.exit(0)

        self.selector.register(successor, selectors.EVENT_READ, hear)

    def accept(self) -> None:
        for listening in self.listening:
            try:
                connection, _ = listening.accept()
            except BlockingIOError:
                continue
            self.board.add(Slot.ACCEPTED, 1)
            if "echo" in self.modes:
                self.selector.register(connection, selectors.EVENT_READ, lambda: self.echo(connection))  # noqa: B023
                return
            connection.sendall(f"{self.index} {os.getpid()}\n".encode())
            connection.close()

    def echo(self, connection: socket.socket) -> None:
        if data := connection.recv(65_536):
            connection.sendall(data)
        else:
            self.selector.unregister(connection)
            connection.close()

    def on_reload(self, message: dict) -> None:
        self.note(message)
        if "ignore-reload" in self.modes:
            return
        if "refuse-reload" in self.modes or f"refuse-reload-{self.index}" in self.modes:
            self.say(type="reload_failed", reason="tls.ciphers: no usable cipher")
        else:
            self.say(type="reloaded")

    def on_ticket_keys(self, message: dict) -> None:
        self.note(message)

    def on_connections(self, message: dict) -> None:
        row = {
            "id": f"{self.index:016x}",
            "worker": self.index,
            "state": "authenticated",
            "address": "192.0.2.1",
            "port": 40_000 + self.index,
            "jid": f"user{self.index}@example.org/phone",
            "domain": "example.org",
            "tls": "TLSv1.3",
            "upstream": "first",
            "age_seconds": 10.0 - self.index,
            "bytes_in": 1000,
            "bytes_out": 2000,
            **({"round_trip_seconds": 0.000084} if self.index else {}),  # a worker of an older version says nothing
        }
        rows = [row] if message["jid"] in (None, row["jid"]) else []
        self.say(type="reply", id=message["id"], result=rows)

    def row_at(self, slot: int) -> dict:
        return {
            "id": f"{self.index << 54 | slot:016x}",
            "worker": self.index,
            "state": "authenticated",
            "address": "192.0.2.1",
            "port": 40_000 + slot,
            "jid": f"user{slot}@worker{self.index}",
            "bytes_in": 1000 + slot,
            "bytes_out": self.index,
        }

    def on_page(self, message: dict) -> None:
        matching = [slot for slot in range(10, 14) if message["search"] in f"user{slot}@worker{self.index}"]
        slots = [slot for slot in matching if slot >= message["from_slot"]]
        rest = slots[message["limit"] :]
        rows = [self.row_at(slot) for slot in slots[: message["limit"]]]
        self.say(type="reply", id=message["id"], result=rows, next_slot=rest[0] if rest else None)

    def on_talkers(self, message: dict) -> None:
        self.say(type="reply", id=message["id"], result=[self.row_at(slot) for slot in (13, 12, 11, 10)])

    def on_links(self, message: dict) -> None:
        row = {
            "worker": self.index,
            "upstream": "first",
            "peer": None,
            "name": f"edge/{self.index}/first/0",
            "state": "attached" if self.index else "broken",
            "since_seconds": 62.5,
            "streams": 7,
            "waiting": 3,
            "frames_in": 10,
            "frames_out": 11,
            "bytes_in": 1000,
            "bytes_out": 2000,
            "round_trip_seconds": 0.0015 if self.index else None,
            "kept_bytes": 300,
            "unsent_bytes": 200,
            "reattached": 1,
            "trouble": None if self.index else "Connection refused",
        }
        self.say(type="link_list", id=message["id"], links=[] if "no-links" in self.modes else [row])

    def on_nodes(self, message: dict) -> None:
        row = {"name": "north", "key": "ab" * 32, "since_ms": 1, "workers": 2, "own": True, "addresses": [], "new": 1}
        self.say(
            type="node_list",
            id=message["id"],
            up=self.index == 0,
            trouble="" if self.index == 0 else "refused",
            nodes=[row],
        )

    def on_kick(self, message: dict) -> None:
        self.note(message)
        self.say(type="reply", id=message["id"], result=int(message["jid"] == f"user{self.index}@example.org"))

    def on_drain(self, message: dict) -> None:
        self.note(message)
        for listening in self.listening:
            if "accept" in self.modes and self.owns_board:
                self.selector.unregister(listening)
            listening.close()
        self.listening.clear()
        if "ignore-drain" not in self.modes:
            self.say(type="drained", closed=5, cut=0)
            sys.exit(0)


if __name__ == "__main__":
    mode, state_directory, channel_descriptor = sys.argv[1:]
    StandIn(set(mode.split("+")), Path(state_directory), socket.socket(fileno=int(channel_descriptor))).run()

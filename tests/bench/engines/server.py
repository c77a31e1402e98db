"""A server on one epoll with one read buffer: answers the login of the load generator, then sends every byte back.

Usage: python -m tests.bench.engines.server ENGINE PORT CHAIN KEY
"""

import contextlib
import gc
import select
import socket
import sys
from pathlib import Path
from typing import Any

from tests.bench.engines.engines import MAKERS, READ_BYTES

HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
    b"from='bench.example' id='1' version='1.0'>"
)
# the end of what the client says, and the answer (tests/bench/swarm/xmpp.h)
LOGIN = (
    (b"version='1.0'>", HEADER + b"<stream:features></stream:features>"),
    (b"</auth>", b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"),
    (b"version='1.0'>", HEADER + b"<stream:features></stream:features>"),
    (b"</iq>", b"<iq type='result' id='bind1'></iq>"),
)


class Session:
    """One client."""

    __slots__ = ("engine", "socket", "step")

    def __init__(self, connection: socket.socket, engine: Any) -> None:
        self.socket = connection
        self.engine = engine
        self.step = 0

    def answer(self, data: bytes) -> bytes:
        """What the server says to `data`."""
        if self.step == len(LOGIN) or not data.endswith(LOGIN[self.step][0]):
            return data if self.step == len(LOGIN) else b""
        self.step += 1
        return LOGIN[self.step - 1][1]


def serve(name: str, port: int, chain: Path, key: Path) -> None:
    """Serve until killed."""
    make = MAKERS[name](chain, key)
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    poller = select.epoll()
    poller.register(listener, select.EPOLLIN)
    sessions: dict[int, Session] = {}
    buffer = bytearray(READ_BYTES)
    view = memoryview(buffer)
    gc.disable()  # engines are freed by reference counts; a full collection would be charged to whoever is measured
    while True:
        for descriptor, _ in poller.poll():
            if descriptor == listener.fileno():
                with contextlib.suppress(BlockingIOError):
                    while True:
                        connection, _ = listener.accept()
                        connection.setblocking(False)
                        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        sessions[connection.fileno()] = Session(connection, make())
                        poller.register(connection, select.EPOLLIN)
                continue
            session = sessions[descriptor]
            length = session.socket.recv_into(buffer)
            said = session.engine.take(view[:length]) if length else None
            if said is None:
                del sessions[descriptor]
                session.socket.close()
                continue
            if said and (answer := session.answer(said)):
                session.engine.say(answer)
            if ciphertext := session.engine.output():
                session.socket.send(ciphertext)


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))

"""`start_worker`: a real worker process in front of a scripted server; `connect`: a client with an open stream."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.edge.dialogue import ANSWER, FEATURES, HEADER
from tests.unit.worker.worker_under_test import CONFIG, Line, Node, WorkerUnderTest

StartWorker = Callable[..., WorkerUnderTest]
Connect = Callable[[], tuple[Line, Line]]


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node()
    yield made
    made.close()


@pytest.fixture
def upstream() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        listening.settimeout(20)
        yield listening


@pytest.fixture
def config(upstream: socket.socket) -> Callable[[str], str]:
    """The configuration with something added at its end."""
    return lambda more="": CONFIG.format(upstream=f"127.0.0.1:{upstream.getsockname()[1]}", more=more)


@pytest.fixture
def start_worker(node: Node, config: Callable[[str], str], upstream: socket.socket) -> Iterator[StartWorker]:
    """Start a worker and wait until it is ready (and its first health check has been and gone)."""
    made: list[WorkerUnderTest] = []

    def start(more: str = "", *, ready: bool = True, **options: Any) -> WorkerUnderTest:
        made.append(WorkerUnderTest(node, config(more), **options))
        if ready:
            made[-1].expect("ready")
            check, _ = upstream.accept()
            check.recv(65_536)
            check.sendall(ANSWER + FEATURES)
            check.close()
        return made[-1]

    yield start
    for worker in made:
        worker.close()


@pytest.fixture
def connect(node: Node, upstream: socket.socket) -> Iterator[Connect]:
    """A client with an open stream, and its server's end."""
    lines: list[Line] = []

    def make() -> tuple[Line, Line]:
        client = Line(socket.create_connection(node.address)).send(HEADER)
        server = Line(upstream.accept()[0]).expect(HEADER).send(ANSWER + FEATURES)
        client.expect(ANSWER + FEATURES)
        lines.extend((client, server))
        return client, server

    yield make
    for line in lines:
        line.close()

"""The fixtures of the edge, because an uplink is tested behind one, and a server side of links."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.edge.conftest import (
    certificate,
    certificates,
    make_edge,
    make_server,
    server,
    trusting_context,
)
from tests.unit.uplink.link_server import LinkServer

__all__ = ["certificate", "certificates", "make_edge", "make_server", "server", "trusting_context"]

MakeLinkServer = Callable[..., LinkServer]


@pytest.fixture
def make_link_server() -> Iterator[MakeLinkServer]:
    """Make a server side of links: on loopback, or on a Unix socket if there is a path."""
    made: list[LinkServer] = []

    def make(*arguments: Any, **settings: Any) -> LinkServer:
        made.append(LinkServer(*arguments, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def link_server(make_link_server: MakeLinkServer) -> LinkServer:
    return make_link_server()

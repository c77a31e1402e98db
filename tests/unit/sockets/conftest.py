"""The fixtures of the edge: sockets are tested under one."""

from tests.unit.edge.conftest import make_edge, make_server, server

__all__ = ["make_edge", "make_server", "server"]

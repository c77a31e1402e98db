"""The fixtures of the edge: the dispatcher's interface is compiled, so it is tested through real connections."""

from tests.unit.edge.conftest import make_edge, make_server, server

__all__ = ["make_edge", "make_server", "server"]

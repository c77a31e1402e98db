"""The fixtures of the edge: an uplink is tested behind one."""

from tests.unit.edge.conftest import make_edge, make_server, server

__all__ = ["make_edge", "make_server", "server"]

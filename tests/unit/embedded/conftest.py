"""The fixtures of the edge: streams and relays are tested through real connections."""

from tests.unit.edge.conftest import certificate, certificates, make_edge, make_server, trusting_context

__all__ = ["certificate", "certificates", "make_edge", "make_server", "trusting_context"]

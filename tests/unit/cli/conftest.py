"""The node of the supervisor's tests, for commands that ask one."""

from tests.unit.supervisor.conftest import directory, run_node, start

__all__ = ["directory", "run_node", "start"]

"""Which parts of several nodes are there: what a test needs and the tree does not have yet, skips it."""

from importlib.util import find_spec

import pytest

needs_rooms_over_nodes = pytest.mark.skipif(
    not all(find_spec(f"megaphone.embedded.{name}") for name in ("room_nodes", "history_nodes")),
    reason="rooms and their histories are not over several nodes yet",
)

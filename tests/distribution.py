"""Which process of pytest-xdist runs which tests: those that share a server stay together, the longest begin first.

Without `-n` nothing here has a say. With it the unit of work is a file, for a module's fixtures are started in each
process that runs one of its tests, with two exceptions: the conformance tests of links, which share a server side with
other files and not with the rest of theirs, and the tests of ALONE, which come last.
"""

import re
from collections import OrderedDict
from typing import Any

import pytest

ALONE = (
    # Thousands of clients must be answered in time.
    "tests/adversity/test_worker_killed.py",
    "tests/e2e/test_link_crowd.py",
    # A new Megaphone must be there before the old one's workers have gone.
    "tests/adversity/test_supervisor_killed.py",
    # It takes all time of a processor, and needs a little of it itself.
    "tests/unit/supervisor/test_supervisor.py::test_a_worker_that_gets_no_processor_is_left_alone",
    # A second is measured.
    "tests/unit/supervisor/test_supervisor.py::test_kill_minus_nine_is_replaced_within_a_second_and_nobody_is_refused",
)
"""Files, and tests of other files, that need the whole machine; `tests.alone` lets them have it."""

LONGEST = (
    "tests/e2e/test_cluster_nodes.py",
    "tests/link prosody",
    "tests/e2e/test_transcript.py",
    "tests/adversity/test_cluster_cut.py",
    "tests/e2e/test_million_small.py",
    "tests/bench/test_make_bench.py",
    "tests/e2e/test_upgrade_direct.py",
    "tests/e2e/test_loadtest_locust.py",
    "tests/link hub",
    "tests/e2e/test_ejabberd_link.py",
    "tests/link reference",
    "tests/adversity/test_link_outage.py",
    "tests/adversity/test_cluster_killed.py",
    "tests/e2e/test_loadtest_swarm.py",
    "tests/e2e/test_million_upgrade.py",
    "tests/e2e/test_cluster_chat.py",
    "tests/e2e/test_cluster_rooms.py",
    "tests/link ejabberd",
    "tests/e2e/test_upgrade_embedded.py",
    "tests/e2e/test_upgrade_link.py",
    "tests/e2e/test_signals.py",
    "tests/e2e/test_lan_chat.py",
    "tests/adversity/test_link_breaks.py",
    "tests/adversity/test_cluster_promise.py",
    "tests/e2e/test_cluster_histories.py",
    "tests/adversity/test_link_server_killed.py",
    "tests/e2e/test_web_clients.py",
    "tests/unit/bus/test_membership.py",
    "tests/e2e/test_upgrade.py",
    "tests/unit/supervisor/test_reexec.py",
    "tests/adversity/test_link_peers.py",
    "tests/e2e/test_cluster_users.py",
    "tests/e2e/test_link_servers.py",
    "tests/adversity/test_embedded_promise.py",
    "tests/fuzz/test_framer.py",
)
"""What begins first, longest first: what begins last should be short, so that all processes end together."""

SIDE = re.compile(r"tests/link/\w+\.py::\w+\[(reference|prosody|ejabberd|hub)\b")


def is_alone(nodeid: str) -> bool:
    """Whether this test runs while no other does."""
    return nodeid.partition("::")[0] in ALONE or nodeid.partition("[")[0] in ALONE


def unit_of_work(nodeid: str) -> str:
    """What this test is a part of; the parts of a unit run in one process, in their usual order."""
    if is_alone(nodeid):
        return "alone"
    if side := SIDE.match(nodeid):
        return f"tests/link {side[1]}"
    return nodeid.partition("::")[0]


def turn(unit: str) -> int:
    """The lower, the sooner."""
    if unit == "alone":
        return len(LONGEST) + 1
    return LONGEST.index(unit) if unit in LONGEST else len(LONGEST)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out the units above."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit_of_work(nodeid)

        def _assign_work_unit(self, node: Any) -> None:
            self.workqueue = OrderedDict(sorted(self.workqueue.items(), key=lambda item: turn(item[0])))
            super()._assign_work_unit(node)

    return Scheduling(config, log)

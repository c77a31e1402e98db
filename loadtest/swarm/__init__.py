"""Thousands of XMPP sessions in one process, compiled and non-blocking, for a load test to own.

    swarm = Swarm(Target(host="127.0.0.1", ports=(5222,), domain="example.org"), Accounts.anonymous())
    swarm.open(5000, at_once=64)
    while swarm.counters()["open"] < 5000:
        seconds = swarm.turn()          # handles what is ready, never blocks
        select.select([swarm], [], [], seconds)

A swarm belongs to one thread. It starts none, and makes no Python object per session or per event.
"""

from loadtest.swarm.accounts import Accounts, Mechanism
from loadtest.swarm.engine import Swarm
from loadtest.swarm.errors import AccountsError, DescriptorLimitError, SwarmError, TargetError
from loadtest.swarm.histogram import Histogram
from loadtest.swarm.settings import Behaviour, KeepAlive, Settings
from loadtest.swarm.target import Security, Target

__all__ = [
    "Accounts",
    "AccountsError",
    "Behaviour",
    "DescriptorLimitError",
    "Histogram",
    "KeepAlive",
    "Mechanism",
    "Security",
    "Settings",
    "Swarm",
    "SwarmError",
    "Target",
    "TargetError",
]

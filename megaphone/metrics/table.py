"""`METRICS` is the table of all metrics, in the order in which they are shown.

Nothing is counted here. Workers add to their boards in shared memory, the supervisor hands in what only it knows
(`NodeFacts`), and a scrape turns both into samples. Counters are per node unless the worker says something about them;
so a page grows by about 40 lines for each further worker.
"""

from typing import Final

from megaphone.dispatch.counters import Slot
from megaphone.metrics.edge import EDGE
from megaphone.metrics.node import OPERATORS, PROCESSES
from megaphone.metrics.service import SERVICE
from megaphone.metrics.upstreams import UPSTREAMS
from megaphone.metrics.web import WEB

METRICS: Final = (*PROCESSES, *EDGE, *WEB, *SERVICE, *UPSTREAMS, *OPERATORS)

INTERNAL_SLOTS: Final = {
    Slot.HEARTBEAT_NS: "what the supervisor watches",
    Slot.STARTED_NS: "the supervisor knows the start time",
    Slot.RSS_BYTES: "the supervisor reads it from /proc, also of a worker that hangs",
    Slot.GENERATION: "part of every ConnectionID",
}

"""The drain: sends every client away at a bounded pace, then waits for them to go, until a deadline."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from megaphone.dispatch.counters import Reason

if TYPE_CHECKING:
    from megaphone.dispatch.dispatcher import Dispatcher

_STEP_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Drained:
    """How a drain ended: connections that closed in order, and those cut at the deadline."""

    closed: int
    cut: int


async def drain(
    dispatcher: Dispatcher, condition: str, connections_per_second: float, deadline_seconds: float
) -> Drained:
    """End all connections of this worker (it must have stopped accepting) with the stream error of `condition`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + deadline_seconds
    waiting = dispatcher.connections()
    total = len(waiting)
    allowance = 0.0
    last = loop.time()
    while dispatcher.open_connections and loop.time() < deadline:
        now = loop.time()
        allowance = min(allowance + (now - last) * connections_per_second, max(1.0, connections_per_second))
        last = now
        while waiting and allowance >= 1:
            allowance -= 1
            connection = waiting.pop()
            if not connection.closing:
                connection.finish(condition, Reason.SYSTEM_SHUTDOWN)
        await asyncio.sleep(_STEP_SECONDS)
    cut = dispatcher.open_connections
    return Drained(closed=total - cut, cut=cut)

"""The heartbeat: tells the supervisor, through the counter board, that the event loop still turns, and how late."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from megaphone.dispatch.counters import Slot

if TYPE_CHECKING:
    from megaphone.dispatch.counters import Board

INTERVAL_SECONDS = 0.25


async def beat(board: Board) -> None:
    """Beat until cancelled."""
    lags: deque[int] = deque([0], maxlen=10)
    expected = time.monotonic_ns()
    while True:
        now = time.monotonic_ns()
        lags.append(max(0, now - expected))
        board.set(Slot.HEARTBEAT_NS, now)
        board.set(Slot.LOOP_LAG_NS, lags[-1])
        board.set(Slot.LOOP_LAG_MAX_NS, max(lags))
        expected = now + int(INTERVAL_SECONDS * 1e9)
        await asyncio.sleep(INTERVAL_SECONDS)

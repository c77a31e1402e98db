"""The node's connections for an operator: a page at a time, or those that carried the most."""

from collections.abc import Sequence
from typing import Any, Final

from megaphone.supervisor import channel
from megaphone.supervisor.asking import ASK_SECONDS, ask_all
from megaphone.supervisor.conversation import WorkerUnavailableError
from megaphone.supervisor.seat import Seat

PAGE_LIMIT: Final = 200
TALKERS_LIMIT: Final = 100
FIRST: Final = "0.0"


def place(text: str) -> tuple[int, int]:
    """Worker and slot that a page begins with, of "WORKER.SLOT"; ValueError for anything else."""
    worker, _, slot = text.partition(".")
    if not (worker.isascii() and worker.isdigit() and slot.isascii() and slot.isdigit() and len(text) <= 16):
        raise ValueError(f'a page begins with "{FIRST}" or what the page before names as next, not with "{text[:32]}"')
    return int(worker), int(slot)


async def page(
    seats: Sequence[Seat], *, search: str, state: str | None, begin: tuple[int, int], limit: int
) -> dict[str, Any]:
    """Up to `limit` connections that match, one worker after the other; `next` is null at the end.

    A worker looks at a bounded number of connections for one page, so one with few rows may still have a next.
    """
    first, slot = begin
    rows: list[channel.ConnectionRow] = []
    missing: list[int] = []
    following: str | None = None
    for seat in seats[first:]:
        if len(rows) >= limit:
            following = f"{seat.index}.0"
            break
        try:
            if seat.live is None:
                raise WorkerUnavailableError("the worker is gone")
            found, next_slot = await seat.live.conversation.page(
                search=search, state=state, from_slot=slot, limit=limit - len(rows), timeout_seconds=ASK_SECONDS
            )
        except WorkerUnavailableError:
            missing.append(seat.index)
        else:
            rows += found
            if next_slot is not None:
                following = f"{seat.index}.{next_slot}"
                break
        slot = 0
    return {"connections": rows, "next": following, "missing_workers": missing}


async def talkers(seats: Sequence[Seat], *, limit: int) -> dict[str, Any]:
    """The connections of all workers that have carried the most bytes since they were opened, most first."""
    answers, missing = await ask_all(seats, lambda worker: worker.talkers(limit=limit, timeout_seconds=ASK_SECONDS))
    rows = sorted(
        (row for rows in answers.values() for row in rows), key=lambda row: -(row.bytes_in + row.bytes_out)
    )
    return {"connections": rows[:limit], "missing_workers": missing}

"""Asks all workers of the node at once, and says which did not answer."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import trio

from megaphone.supervisor.conversation import Conversation, WorkerUnavailableError
from megaphone.supervisor.seat import Seat

ASK_SECONDS: Final = 2.0  # a worker that does not answer within this is reported as missing

T = TypeVar("T")


async def ask_all(
    seats: Sequence[Seat], ask: Callable[[Conversation], Awaitable[T]]
) -> tuple[dict[int, T], list[int]]:
    """The answers by worker, in order, and the workers that did not answer in time."""
    answers: dict[int, T] = {}

    async def ask_one(index: int, worker: Conversation) -> None:
        try:
            answers[index] = await ask(worker)
        except WorkerUnavailableError:
            return

    async with trio.open_nursery() as nursery:
        for seat in seats:
            if seat.live is not None:
                nursery.start_soon(ask_one, seat.index, seat.live.conversation)
    missing = [seat.index for seat in seats if seat.index not in answers]
    return dict(sorted(answers.items())), missing

"""One worker index of the node: its counter board, the process that fills it now, and what happened to earlier ones."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import get_args

import trio

from megaphone.supervisor.boards import SharedMemory, WorkerBoard
from megaphone.supervisor.child import Cause, Child, Exit, State
from megaphone.supervisor.state import Duplicate, SeatState


class Seat:
    """What stays when the process at this index is replaced."""

    def __init__(self, index: int, state: SeatState | None = None) -> None:
        self.index = index
        self.board = WorkerBoard(index, SharedMemory.adopt(state.board_fd) if state else None)
        self.child: Child | None = None
        self.successor: Child | None = None  # of `child`, until it has taken over
        self.predecessor: Child | None = None  # of `child`, while it ends what could not move
        self.restarts = Counter(dict.fromkeys(get_args(Cause), 0))  # a counter Prometheus sees from 0 on
        self.last_exit: Exit | None = None
        self.ended: Exit | None = None  # of a process that another program had; the restart policy has to be asked
        self.ready_once = False
        self._news = trio.Event()
        if state is not None:
            self.restarts.update(state.restarts)
            self.last_exit = None if state.last_exit is None else Exit(*state.last_exit)
            self.ended = None if state.ended is None else Exit(*state.ended)
            self.ready_once = True

    @property
    def state(self) -> State:
        """The state of the process here; GONE between two of them."""
        return self.child.state if self.child is not None else State.GONE

    @property
    def live(self) -> Child | None:
        """The process here, unless it is gone."""
        return self.child if self.child is not None and self.child.state is not State.GONE else None

    def processes(self) -> Iterator[Child]:
        """All processes of this index that are not gone: one, and in an upgrade two."""
        for child in (self.predecessor, self.child, self.successor):
            if child is not None and child.state is not State.GONE:
                yield child

    def process_ended(self, how: Exit) -> None:
        """Records the end and clears what was true of that process only."""
        self.ended = None
        self.last_exit = how
        self.board.clear_gauges()

    def successor_took_over(self) -> None:
        """The successor is the process here from now on."""
        self.predecessor, self.child, self.successor = self.child, self.successor, None
        self.restarts["upgrade"] += 1

    def changed(self) -> None:
        """Wakes up who waits in `until`."""
        self._news.set()
        self._news = trio.Event()

    async def until(self, condition: Callable[[], object], timeout_seconds: float = float("inf")) -> bool:
        """Waits for something that a process here says or does; whether it came true in time."""
        with trio.move_on_after(timeout_seconds):
            while not condition():
                await self._news.wait()
        return bool(condition())

    def close(self) -> None:
        """Closes what it holds; a process that was left goes on."""
        self.board.close()
        if self.live is not None:
            self.live.let_go()

    def keep(self, duplicate: Duplicate, node_text: str) -> SeatState:
        """What another program goes on with."""
        child, ended = self.live, self.ended
        if self.child is not None and self.child.how is not self.last_exit:
            ended = self.child.how
        return SeatState(
            board_fd=duplicate(self.board.descriptor),
            child=child.keep(duplicate, node_text) if child is not None and child.pid is not None else None,
            ended=None if ended is None else ended.pair(),
            restarts=dict(self.restarts),
            last_exit=None if self.last_exit is None else self.last_exit.pair(),
        )

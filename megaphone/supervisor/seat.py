"""One worker index of the node: its counter board, the process that fills it now, and what happened to earlier ones."""

from collections import Counter
from typing import get_args

from megaphone.supervisor.boards import WorkerBoard
from megaphone.supervisor.child import Cause, Child, Exit, State


class Seat:
    """What stays when the process at this index is replaced."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.board = WorkerBoard(index)
        self.child: Child | None = None
        self.restarts = Counter(dict.fromkeys(get_args(Cause), 0))  # a counter Prometheus sees from 0 on
        self.last_exit: Exit | None = None
        self.ready_once = False

    @property
    def state(self) -> State:
        """The state of the process here; GONE between two of them."""
        return self.child.state if self.child is not None else State.GONE

    @property
    def live(self) -> Child | None:
        """The process here, unless it is gone."""
        return self.child if self.child is not None and self.child.state is not State.GONE else None

    def process_ended(self, how: Exit) -> None:
        """Records the end and clears what was true of that process only."""
        self.last_exit = how
        self.board.clear_gauges()

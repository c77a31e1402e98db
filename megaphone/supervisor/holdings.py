"""What a supervisor holds for its workers' whole lives, over their crashes and over a change of its own program."""

import contextlib
import os
import secrets
import time
from collections import Counter
from typing import Final

from megaphone.config.schema import Config
from megaphone.edge.sketch import SEED_BYTES, sketch_bytes
from megaphone.supervisor.boards import SharedMemory
from megaphone.supervisor.bus_sockets import BusSockets
from megaphone.supervisor.control_socket import open_control_socket
from megaphone.supervisor.listeners import Bound, Listeners, adopt, open_address, open_listeners
from megaphone.supervisor.reload import Outcome
from megaphone.supervisor.restart import Restart
from megaphone.supervisor.seat import Seat
from megaphone.supervisor.state import NodeState
from megaphone.supervisor.tickets import TicketKeys

_ADMIN_BACKLOG: Final = 64


def worker_count(config: Config) -> int:
    """`node.workers`, or one per core this process may run on."""
    return config.node.workers or len(os.sched_getaffinity(0))


class Holdings:
    """Sockets, memory, keys and counts; either opened or, with what another program has left, adopted."""

    def __init__(self, config: Config, file: str) -> None:
        """Opens everything; ConfigError when an address cannot be."""
        with contextlib.ExitStack() as opened:
            # First of all: where another Megaphone is running, this is what says so most clearly.
            self.control: Bound | None = None
            if config.admin.socket:
                control = open_control_socket(config.admin.socket, file=file)
                self.control = Bound(0, f"unix:{control.path}", (control.listening,), control)
                opened.callback(self.control.close)
            self.admin: tuple[Bound, ...] = ()
            if config.admin.address:
                self.admin = open_address(
                    config.admin.address, key="admin.address", file=file, count=1, backlog=_ADMIN_BACKLOG
                )
                for bound in self.admin:
                    opened.callback(bound.close)
            workers = worker_count(config)
            self.listeners = open_listeners(config.listen, workers=workers, file=file)
            opened.callback(self.listeners.close)
            self.bus = BusSockets(workers)
            opened.pop_all()
        self.sketch = SharedMemory("megaphone-sketch", sketch_bytes(workers))
        self.sketch.memory[:SEED_BYTES] = secrets.token_bytes(SEED_BYTES)
        self.seats = tuple(Seat(index) for index in range(workers))
        self.ticket_keys = TicketKeys()
        self.started_at_seconds = time.time()
        self.history: tuple[Restart, ...] = ()  # that the restart policy looks at
        self.reloads = Counter(accepted=0, refused=0)
        self.last_reload: tuple[float, Outcome] | None = None  # Unix time, what came of it
        self.requests: Counter[tuple[str, str]] = Counter()  # of operators, by path and status

    @classmethod
    def adopt(cls, state: NodeState) -> "Holdings":
        """Those that another program of this process has left."""
        held = cls.__new__(cls)
        held.control = None if state.control is None else adopt(state.control)
        held.admin = tuple(adopt(each) for each in state.admin)
        held.listeners = Listeners([adopt(each) for each in state.listeners])
        held.bus = BusSockets.adopt(state.bus)
        held.sketch = SharedMemory.adopt(state.sketch_fd)
        held.seats = tuple(Seat(index, each) for index, each in enumerate(state.seats))
        held.ticket_keys = TicketKeys(state.ticket_keys, state.ticket_keys_made_seconds)
        held.started_at_seconds = state.started_at_seconds
        held.history = tuple(Restart(*each) for each in state.history)
        held.reloads = Counter(state.reloads)
        held.last_reload = None
        if state.last_reload is not None:
            at_seconds, reason, workers = state.last_reload
            held.last_reload = (at_seconds, Outcome(reason, workers))
        held.requests = Counter({(path, status): count for path, status, count in state.requests})
        return held

    def close(self, *, keep_files: bool = False) -> None:
        """Closes everything, and removes its files unless another program goes on with them."""
        for bound in (*self.admin, *filter(None, [self.control])):
            bound.close(keep_file=keep_files)
        self.listeners.close(keep_files=keep_files)
        self.sketch.close()
        self.bus.close(keep_directory=keep_files)
        for seat in self.seats:
            seat.close()

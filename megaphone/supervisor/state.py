"""What one program of the supervisor tells the next: everything it holds, in memory that only the two can reach.

    old program                                    new program, same process
    state -> memfd (sealed, never on a disk)  exec  memfd -> state
    descriptors: duplicates that exec keeps   --->  the same numbers
    children, their channels                        the same children

The bytes are MessagePack (msgspec.Struct as maps). The rules, which let neighbouring versions follow each other both
ways: a program ignores fields that it does not know; a field that is added has a default; what a field means never
changes. Where that is not enough `VERSION` grows, and an older program says that it cannot read it before anything has
happened. Times named `_seconds` and `_ns` without more are CLOCK_MONOTONIC, which an exec does not touch.

What is not in it begins anew: requests of operators that are being answered, and how a wait had got on.
"""

import fcntl
import os
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Struct

from megaphone.dispatch.counters import BOARD_BYTES
from megaphone.edge.sketch import sketch_bytes
from megaphone.errors import UpgradeError
from megaphone.supervisor.conversation import ConversationState
from megaphone.supervisor.process import Cause
from megaphone.supervisor.program import Program

VERSION: Final = 1
LIMIT_BYTES: Final = 256 * 1024 * 1024  # a configuration of 1 MiB waiting for each of many workers is far below

# What makes the descriptor in a state of one that we hold: itself, to see whether a program could read the state, or a
# duplicate, which stays open when ours is closed.
Duplicate = Callable[[int], int]

How = tuple[Cause, str]


class ChildState(Struct, frozen=True, kw_only=True):
    """One worker process."""

    pid: int
    channel_fd: int
    state: str
    conversation: ConversationState
    program: Program  # that it was started from
    started_at_seconds: float  # Unix time
    started_seconds: float
    ready_at_ns: int | None
    drain_deadline_seconds: float  # infinite while it does not drain
    drained: tuple[int, int] | None
    killed_for: How | None
    fatal_reason: str | None


class SeatState(Struct, frozen=True, kw_only=True):
    """One worker index."""

    board_fd: int
    child: ChildState | None
    ended: How | None  # how the last process ended, if the restart policy was not asked about it yet
    restarts: dict[str, int]
    last_exit: How | None


class ListeningState(Struct, frozen=True, kw_only=True):
    """The sockets of one address; `path` is that of a Unix socket."""

    listen_index: int
    address: str
    fds: list[int]
    path: str | None = None


class BusState(Struct, frozen=True, kw_only=True):
    """Where the workers reach each other; "" with one worker."""

    directory: str
    lock_fd: int
    fds: list[tuple[int, int]]


class UpgradeState(Struct, kw_only=True):
    """An upgrade that goes on in the next program, and what came of earlier ones."""

    number: int = 0
    of: Program | None = None  # the program before
    to: Program | None = None
    started_at_seconds: float = 0.0  # Unix time
    stage: str = "none"
    reason: str = ""
    replace: list[tuple[int, int]] = []  # (index, process) that get a successor
    counts: dict[str, int] = {}  # by result
    moved: int = 0
    ended: int = 0


class NodeState(Struct, frozen=True, kw_only=True):
    """The whole node."""

    version: int
    role: str
    program: Program  # that says this
    config_path: str
    config_text: str
    started_at_seconds: float  # Unix time
    seats: list[SeatState]
    listeners: list[ListeningState]
    admin: list[ListeningState]
    control: ListeningState | None
    board_bytes: int
    sketch_fd: int
    sketch_bytes: int
    bus: BusState
    ticket_keys: list[bytes]
    ticket_keys_made_seconds: float
    history: list[tuple[float, int]]  # restarts granted: when, worker
    reloads: dict[str, int]
    last_reload: tuple[float, str, dict[int, str]] | None  # Unix time, reason, workers
    requests: list[tuple[str, str, int]]  # answered by the operators' pages: path, status, how many
    upgrade: UpgradeState


class _Versioned(Struct):
    version: int
    program: dict[str, Any]


_encoder: Final = msgspec.msgpack.Encoder()


def write(state: NodeState) -> int:
    """The descriptor of a memory file that holds the state; nobody can change it."""
    descriptor = os.memfd_create("megaphone-state", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        data = memoryview(_encoder.encode(state))
        while data:
            data = data[os.write(descriptor, data) :]
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read(descriptor: int) -> NodeState:
    """The state in a memory file; UpgradeError says why this program cannot go on with it."""
    try:
        size = os.fstat(descriptor).st_size
        if size > LIMIT_BYTES:
            raise UpgradeError(f"a state of {size} bytes, more than {LIMIT_BYTES}")
        data = os.pread(descriptor, size, 0)
        head = msgspec.msgpack.decode(data, type=_Versioned)
        if head.version > VERSION:
            raise UpgradeError(
                f"the running Megaphone {head.program.get('version', '')} has a state of version {head.version}; "
                f"this program reads those up to {VERSION}"
            )
        return msgspec.msgpack.decode(data, type=NodeState)
    except OSError as error:
        raise UpgradeError(f"the state cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UpgradeError(f"the state cannot be understood: {error}") from None


def descriptors(state: NodeState) -> list[int]:
    """All that the state names."""
    found = [state.sketch_fd]
    for listening in (*state.listeners, *state.admin, *filter(None, [state.control])):
        found += listening.fds
    found += [descriptor for pair in state.bus.fds for descriptor in pair]
    if state.bus.lock_fd >= 0:
        found.append(state.bus.lock_fd)
    for seat in state.seats:
        found.append(seat.board_fd)
        if seat.child is not None:
            found.append(seat.child.channel_fd)
    return found


def check_memory(state: NodeState) -> None:
    """UpgradeError when this program lays out the memory that workers count in otherwise: they would misread it."""
    if state.board_bytes != BOARD_BYTES:
        raise UpgradeError(f"its counter boards have {BOARD_BYTES} bytes, the running ones {state.board_bytes}")
    if state.sketch_bytes != (size := sketch_bytes(len(state.seats))):
        raise UpgradeError(f"its address sketch has {size} bytes, the running one {state.sketch_bytes}")

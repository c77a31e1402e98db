"""The shared memory of each worker: its counter board, kept by the supervisor so that counters outlive a crash."""

import fcntl
import mmap
import os
from collections.abc import Iterator
from typing import Final

from megaphone.dispatch.counters import BOARD_BYTES, AdmissionSlot, Board, LinkSlot, Slot, UpstreamSlot

MAX_UPSTREAMS: Final = 64
MAX_LINKS: Final = 16

# What is true of a process only: false as soon as that process is gone.
PROCESS_GAUGES: Final = (
    Slot.HEARTBEAT_NS,
    Slot.STARTED_NS,
    Slot.LOOP_LAG_NS,
    Slot.LOOP_LAG_MAX_NS,
    Slot.RSS_BYTES,
    Slot.OPEN_NEGOTIATING,
    Slot.OPEN_CONNECTING,
    Slot.OPEN_RELAYING_PREAUTH,
    Slot.OPEN_AUTHENTICATED,
    Slot.OPEN_CLOSING,
    Slot.OPEN_RELAYING,
    Slot.MAILBOX_BYTES,
    Slot.SESSIONS,
    Slot.SESSIONS_WAITING,
    Slot.ROOMS,
    Slot.OCCUPANTS,
    Slot.STORE_WAITING,
    Slot.RELAYED_OPEN,
    Slot.PROMISES_WAITING,
    Slot.HUB_LINKS_ATTACHED,
    Slot.HUB_LINKS_WAITING,
    Slot.HUB_KEPT_BYTES,
    Slot.HUB_UNSENT_BYTES,
)
UPSTREAM_GAUGES: Final = (UpstreamSlot.UP_HEALTHY, UpstreamSlot.UP_OPEN, UpstreamSlot.UP_CHECK_NS)

ADMISSION_GAUGES: Final = (AdmissionSlot.AD_WAITING, AdmissionSlot.AD_OPENING)
LINK_GAUGES: Final = (
    LinkSlot.LI_STATE,
    LinkSlot.LI_STREAMS,
    LinkSlot.LI_ROUND_TRIP_NS,
    LinkSlot.LI_KEPT_BYTES,
    LinkSlot.LI_UNSENT_BYTES,
)


def _gauges() -> Iterator[int]:
    yield from PROCESS_GAUGES
    for upstream in range(MAX_UPSTREAMS):
        yield from (Board.upstream_slot(upstream, slot) for slot in UPSTREAM_GAUGES)
        yield from (Board.admission_slot(upstream, slot) for slot in ADMISSION_GAUGES)
        for link in range(MAX_LINKS):
            yield from (Board.link_slot(upstream, link, slot) for slot in LINK_GAUGES)


class SharedMemory:
    """A zero-filled memory file that children inherit by its descriptor and nobody can shrink under us."""

    def __init__(self, name: str, size_bytes: int) -> None:
        self.descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.descriptor, size_bytes)
        # A worker that truncated the file would make the supervisor's next read of a counter a SIGBUS.
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)
        self.memory = mmap.mmap(self.descriptor, size_bytes)

    @classmethod
    def adopt(cls, descriptor: int) -> "SharedMemory":
        """The memory file that another program of this process has made."""
        adopted = cls.__new__(cls)
        adopted.descriptor = descriptor
        adopted.memory = mmap.mmap(descriptor, 0)
        return adopted

    def close(self) -> None:
        """Closes the descriptor; the mapping goes when nothing looks at it any more."""
        os.close(self.descriptor)


class WorkerBoard:
    """One worker's board: made once per worker index, mapped by each process that fills that index in turn."""

    def __init__(self, index: int, adopted: SharedMemory | None = None) -> None:
        self._shared = adopted or SharedMemory(f"megaphone-board-{index}", BOARD_BYTES)
        self.counters = Board(self._shared.memory)

    @property
    def descriptor(self) -> int:
        """What the worker maps."""
        return self._shared.descriptor

    @property
    def size_bytes(self) -> int:
        """How much memory it is."""
        return len(self._shared.memory)

    def clear_gauges(self) -> None:
        """Forgets what was true of the process that has just died; counters stay."""
        for slot in _gauges():
            self.counters.set(slot, 0)

    def close(self) -> None:
        """Closes the descriptor."""
        self._shared.close()

"""The shared memory of each worker: its counter board, kept by the supervisor so that counters outlive a crash."""

import fcntl
import mmap
import os

from megaphone.dispatch.counters import BOARD_BYTES, Board
from megaphone.dispatch.gauges import gauge_slots


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
        for slot in gauge_slots():
            self.counters.set(slot, 0)

    def close(self) -> None:
        """Closes the descriptor."""
        self._shared.close()

"""The counter board: one array of 64-bit counters per worker, in memory shared with the supervisor.

A worker adds to its own board with plain stores: no lock, no system call, no Python object. The supervisor
maps the same memory and reads it when Prometheus asks, so a scrape costs the worker nothing, a worker that
hangs can still be measured, and counters survive the worker that counted (its successor goes on adding).
"""

from cpython.buffer cimport PyBUF_WRITABLE, PyObject_GetBuffer, PyBuffer_Release

BOARD_BYTES = BOARD_SLOTS * 8


cdef class Board:
    """A view of `BOARD_BYTES` writable bytes as named counters (`Slot`, `Reason`, `Kind`, `UpstreamSlot`, `AdmissionSlot`, `LinkSlot`)."""

    def __cinit__(self, memory):
        self.use(memory)

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)

    cpdef use(self, memory):
        """Counts in this memory from now on, with what is in there; ValueError, and nothing has changed, if it is too short."""
        cdef Py_buffer view
        PyObject_GetBuffer(memory, &view, PyBUF_WRITABLE)
        if view.len < BOARD_SLOTS * 8:
            length = view.len
            PyBuffer_Release(&view)
            raise ValueError(f"a board needs {BOARD_SLOTS * 8} bytes, got {length}")
        if self.held:
            PyBuffer_Release(&self.view)
        self.view = view
        self.held = True
        self.slots = <uint64_t*> self.view.buf

    cpdef void add(self, int slot, uint64_t amount):
        """Adds to one slot; wraps at 2**64 (a gauge goes down by adding 2**64 - n)."""
        if 0 <= slot < BOARD_SLOTS:
            self.slots[slot] += amount

    cpdef void set(self, int slot, uint64_t value):
        """Sets one slot."""
        if 0 <= slot < BOARD_SLOTS:
            self.slots[slot] = value

    cpdef uint64_t get(self, int slot):
        """Reads one slot (0 for a slot that does not exist)."""
        return self.slots[slot] if 0 <= slot < BOARD_SLOTS else 0

    @staticmethod
    def upstream_slot(int upstream, int slot):
        """The board slot of one `UpstreamSlot` of the upstream with this index in config order (0..63)."""
        return UPSTREAM_BLOCKS + upstream * UPSTREAM_BLOCK + slot

    @staticmethod
    def admission_slot(int upstream, int slot):
        """The board slot of one `AdmissionSlot` of this upstream (0..63)."""
        return ADMISSION_BLOCKS + upstream * UPSTREAM_BLOCK + slot

    @staticmethod
    def link_slot(int upstream, int link, int slot):
        """The board slot of one `LinkSlot` of a link (0..15) to this upstream (0..63)."""
        return LINK_BLOCKS + (upstream * MAX_LINKS + link) * LINK_BLOCK + slot

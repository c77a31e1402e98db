"""The address sketch: how many connections an address or prefix has on the whole node, in fixed shared memory.

A count-min sketch (Cormode and Muthukrishnan, 2005) in memory that all workers map. Each worker writes only its own
rows and reads everybody's, so there is no lock; when a worker dies its successor clears its rows. An estimate is never
too low; it is too high by the connections of strangers that share all four cells of an address. With 65,536 cells a row
that is at least 10 only beyond some 650,000 open connections (see docs/explanation/decisions/0004-address-limits.md).

    node head (64 bytes): secret seed, written once by the supervisor
    per worker: head (64 bytes: the second its newest window counts)
                open[4 rows][65536 cells], 32-bit
                rate[2 windows][4 rows][65536 cells], 16-bit

Rates are sliding windows: this second's count plus the last second's, weighted by what is left of it.
"""

from cpython.buffer cimport PyBUF_WRITABLE, PyObject_GetBuffer, PyBuffer_Release
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

cdef enum:
    ROWS = 4
    CELLS = 65536
    OPEN_BYTES = ROWS * CELLS * 4
    RATE_BYTES = ROWS * CELLS * 2
    HEAD_BYTES = 64
    WORKER_BYTES = HEAD_BYTES + OPEN_BYTES + 2 * RATE_BYTES


SEED_BYTES = 8      # at the start of the shared memory; the supervisor fills them with random bytes


def sketch_bytes(int workers):
    """The size of the shared memory for this many workers (2 MiB each); its first 8 bytes are the secret seed."""
    return HEAD_BYTES + workers * WORKER_BYTES


cdef uint64_t hash_key(const uint8_t* key, size_t length, uint64_t seed) noexcept nogil:
    """A keyed 64-bit hash (multiply and fold); the seed is secret, so that nobody can aim at a stranger's cells."""
    cdef uint64_t value = seed ^ (length * <uint64_t> 0x9E3779B97F4A7C15u)
    cdef size_t i
    for i in range(length):
        value = (value ^ key[i]) * <uint64_t> 0xFF51AFD7ED558CCDu
        value ^= value >> 32
    value = (value ^ seed) * <uint64_t> 0xC4CEB9FE1A85EC53u
    return value ^ value >> 29


cdef class Sketch:
    """One worker's view of the shared sketch (`sketch_bytes(workers)` bytes, writable).

    Its own rows are cleared, or with `keep` gone on with.
    """

    def __cinit__(self, memory, int worker, int workers, bint keep=False):
        PyObject_GetBuffer(memory, &self.view, PyBUF_WRITABLE)
        self.held = True
        if self.view.len < HEAD_BYTES + workers * WORKER_BYTES or not 0 <= worker < workers:
            raise ValueError(f"{workers} workers need {HEAD_BYTES + workers * WORKER_BYTES} bytes, got {self.view.len}")
        self.start = <uint8_t*> self.view.buf
        self.worker = worker
        self.workers = workers
        self.seed = (<uint64_t*> self.start)[0]
        if not keep:
            memset(self.own(worker), 0, WORKER_BYTES)

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)

    cdef uint8_t* own(self, int worker) noexcept:
        return self.start + HEAD_BYTES + worker * <size_t> WORKER_BYTES

    cdef uint32_t* open_counts(self, int worker) noexcept:
        return <uint32_t*> (self.own(worker) + HEAD_BYTES)

    cdef uint16_t* rate_counts(self, int worker, int window) noexcept:
        return <uint16_t*> (self.own(worker) + HEAD_BYTES + OPEN_BYTES + window * RATE_BYTES)

    cdef void add(self, const uint8_t* key, size_t length, int amount) noexcept:
        """Counts one more (1) or one less (-1) open connection under this key."""
        cdef uint64_t value = hash_key(key, length, self.seed)
        cdef uint32_t* counts = self.open_counts(self.worker)
        cdef int row
        for row in range(ROWS):
            counts[row * CELLS + (value >> (16 * row) & 0xFFFF)] += amount

    cdef uint32_t count(self, const uint8_t* key, size_t length) noexcept:
        """Open connections under this key on the whole node; never too low."""
        cdef uint64_t value = hash_key(key, length, self.seed)
        cdef uint32_t least = 0xFFFFFFFF, total
        cdef int row, worker
        for row in range(ROWS):
            total = 0
            for worker in range(self.workers):
                total += self.open_counts(worker)[row * CELLS + (value >> (16 * row) & 0xFFFF)]
            if total < least:
                least = total
        return least

    cdef uint32_t hit(self, const uint8_t* key, size_t length, uint64_t now_ms) noexcept:
        """Counts one event under this key and returns the events of the last second on the whole node."""
        cdef uint64_t value = hash_key(key, length, self.seed)
        cdef uint64_t second = now_ms // 1000, theirs
        cdef uint64_t* own_second = <uint64_t*> self.own(self.worker)
        cdef int window = second & 1, row, worker
        cdef uint32_t least = 0xFFFFFFFF, now, before, rate
        cdef uint32_t left = 1000 - now_ms % 1000
        cdef size_t cell
        cdef uint16_t* counts = self.rate_counts(self.worker, window)
        if second != own_second[0]:
            memset(counts, 0, RATE_BYTES)
            if second != own_second[0] + 1:
                memset(self.rate_counts(self.worker, 1 - window), 0, RATE_BYTES)
            own_second[0] = second
        for row in range(ROWS):
            cell = row * CELLS + (value >> (16 * row) & 0xFFFF)
            if counts[cell] < 0xFFFF:
                counts[cell] += 1
            now = before = 0
            for worker in range(self.workers):
                # a worker that accepted nothing lately has not turned its windows: what is older does not count
                theirs = (<uint64_t*> self.own(worker))[0]
                if theirs == second or theirs == second + 1:    # or it looked at its clock a moment later
                    now += self.rate_counts(worker, window)[cell]
                if theirs == second or theirs + 1 == second:
                    before += self.rate_counts(worker, 1 - window)[cell]
            rate = now + before * left // 1000
            if rate < least:
                least = rate
        return least

    def opened(self, bytes key):
        """Counts one open connection; returns how many there are now."""
        self.add(key, len(key), 1)
        return self.count(key, len(key))

    def closed(self, bytes key):
        """Counts one connection less; returns how many there are now."""
        self.add(key, len(key), -1)
        return self.count(key, len(key))

    def rate(self, bytes key, uint64_t now_ms):
        """Counts one event at this time (ms, never going back); returns the events of the last second."""
        return self.hit(key, len(key), now_ms)

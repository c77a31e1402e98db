# The address sketch's compiled interface.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef class Sketch:
    cdef Py_buffer view
    cdef bint held
    cdef uint8_t* start
    cdef int worker
    cdef int workers
    cdef uint64_t seed

    cdef uint8_t* own(self, int worker) noexcept
    cdef uint32_t* open_counts(self, int worker) noexcept
    cdef uint16_t* rate_counts(self, int worker, int window) noexcept
    cdef void add(self, const uint8_t* key, size_t length, int amount) noexcept
    cdef uint32_t count(self, const uint8_t* key, size_t length) noexcept
    cdef uint32_t hit(self, const uint8_t* key, size_t length, uint64_t now_ms) noexcept

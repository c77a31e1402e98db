# Outline of the retained ring: what one end of a link has said and the other has not acknowledged yet.
from libc.stdint cimport uint8_t, uint64_t
from posix.uio cimport iovec

cdef enum:
    RING_LIMIT_BYTES = 4194304

# Positions count the bytes of a session from its beginning: acknowledged <= sent <= end, sent <= written <= end.
cdef struct Ring:
    uint8_t* data
    size_t capacity         # a power of 2, or 0
    uint64_t acknowledged   # the first byte that is kept
    uint64_t sent           # the first byte that the present socket has not taken
    uint64_t written        # the first byte that no socket has taken
    uint64_t end            # one after the last byte
    size_t peak             # most bytes kept since the last `ring_shrink`

cdef void ring_free(Ring* ring) noexcept nogil                                      # also: begin anew at 0
cdef bint ring_reserve(Ring* ring, size_t length) noexcept nogil                    # room for `length` more, or False
cdef void ring_put(Ring* ring, const uint8_t* data, size_t length) noexcept nogil   # after ring_reserve
cdef bint ring_acknowledge(Ring* ring, uint64_t received) noexcept nogil            # False: never sent so much
cdef bint ring_resume(Ring* ring, uint64_t received) noexcept nogil                 # False: not kept, or never written
cdef int ring_regions(Ring* ring, iovec* regions) noexcept nogil                    # 0, 1 or 2 regions to send
cdef void ring_shrink(Ring* ring) noexcept nogil

cdef inline size_t ring_kept(Ring* ring) noexcept nogil:
    return ring.end - ring.acknowledged

# State in bytes for another process: numbers in network byte order and runs of bytes, one behind the other.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef struct StateWriter:        # all zero at the beginning; `state_finish` frees it
    uint8_t* data
    size_t length
    size_t capacity
    bint failed                 # there was no memory

cdef struct StateReader:
    const uint8_t* at
    const uint8_t* end
    bint failed                 # more was asked for than was there: that and all later reads give 0, NULL and b""

cdef uint8_t* state_room(StateWriter* writer, size_t length) noexcept     # `length` more bytes, to be filled; NULL: no memory
cdef void state_put(StateWriter* writer, uint64_t value, int bytes) noexcept    # a number of 1 to 8 bytes
cdef void state_put_bytes(StateWriter* writer, bytes data)                      # with its length, which has 4 bytes
cdef bytes state_finish(StateWriter* writer)                                    # MemoryError if something would not fit

cdef void state_read(StateReader* reader, bytes state) noexcept                 # `state` must outlive the reader
cdef uint64_t state_get(StateReader* reader, int bytes) noexcept
cdef const uint8_t* state_get_run(StateReader* reader, size_t length) noexcept
cdef bytes state_get_bytes(StateReader* reader)

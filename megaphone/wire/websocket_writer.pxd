# The C interface for writing a server's WebSocket frames, none of them masked or fragmented (RFC 6455 section 5.1).
from libc.stdint cimport uint8_t, uint16_t, uint64_t

cpdef enum:
    HEADER_LIMIT_BYTES = 10     # what `write_header` needs at most
    CONTROL_FRAME_BYTES = 127   # what `write_control` and `write_close` need at most

cdef size_t write_header(uint8_t* into, uint8_t opcode, uint64_t length) noexcept nogil
cdef size_t write_control(uint8_t* into, uint8_t opcode, const uint8_t* payload, size_t length) noexcept nogil
cdef size_t write_close(uint8_t* into, uint16_t code, const uint8_t* reason, size_t length) noexcept nogil

"""State in bytes for another process: written one number behind the other, read back with every bound checked.

Who moves thousands of small things within milliseconds has no time for an object per number. Each such state says its
own version first; what it means is described where it is written.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

cdef enum:
    LEAST_BYTES = 4096


cdef uint8_t* state_room(StateWriter* writer, size_t length) noexcept:
    """Room for `length` more bytes, which count as written."""
    cdef size_t capacity = writer.capacity if writer.capacity else LEAST_BYTES
    cdef uint8_t* data
    while capacity < writer.length + length:
        capacity *= 2
    if capacity != writer.capacity:
        data = <uint8_t*> realloc(writer.data, capacity)
        if data == NULL:
            writer.failed = True
            return NULL
        writer.data = data
        writer.capacity = capacity
    data = writer.data + writer.length
    writer.length += length
    return data


cdef void state_put(StateWriter* writer, uint64_t value, int bytes) noexcept:
    """A number in network byte order."""
    cdef uint8_t* to = state_room(writer, bytes)
    cdef int i
    if to != NULL:
        for i in range(bytes):
            to[i] = <uint8_t> (value >> 8 * (bytes - 1 - i))


cdef void state_put_bytes(StateWriter* writer, bytes data):
    """Bytes behind their length."""
    cdef uint8_t* to
    state_put(writer, len(data), 4)
    to = state_room(writer, len(data))
    if to != NULL:
        memcpy(to, PyBytes_AS_STRING(data), len(data))


cdef bytes state_finish(StateWriter* writer):
    """What was written; the writer is empty again."""
    cdef bint failed = writer.failed
    cdef bytes state = b""
    try:
        if not failed and writer.length:
            state = PyBytes_FromStringAndSize(<const char*> writer.data, writer.length)
    finally:
        free(writer.data)
        memset(writer, 0, sizeof(StateWriter))
    if failed:
        raise MemoryError("no memory for a state")
    return state


cdef void state_read(StateReader* reader, bytes state) noexcept:
    """Begins at the first byte."""
    reader.at = <const uint8_t*> PyBytes_AS_STRING(state)
    reader.end = reader.at + len(state)
    reader.failed = False


cdef const uint8_t* state_get_run(StateReader* reader, size_t length) noexcept:
    """The next `length` bytes, or NULL."""
    cdef const uint8_t* at = reader.at
    if reader.failed or <size_t> (reader.end - at) < length:
        reader.failed = True
        return NULL
    reader.at += length
    return at


cdef uint64_t state_get(StateReader* reader, int bytes) noexcept:
    """The next number."""
    cdef const uint8_t* at = state_get_run(reader, bytes)
    cdef uint64_t value = 0
    cdef int i
    if at != NULL:
        for i in range(bytes):
            value = value << 8 | at[i]
    return value


cdef bytes state_get_bytes(StateReader* reader):
    """The next bytes that stand behind their length."""
    cdef size_t length = state_get(reader, 4)
    cdef const uint8_t* at = state_get_run(reader, length)
    return b"" if at == NULL else PyBytes_FromStringAndSize(<const char*> at, length)

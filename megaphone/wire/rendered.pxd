# Outline of the rendered stanza: written once, sent to many.
from libc.stdint cimport uint8_t

from megaphone.wire.start_tag cimport Slice


cdef class Rendered:
    cdef readonly bint replaces_id
    cdef bytes _text                # all that recipients share
    cdef const uint8_t* _bytes
    cdef size_t _head               # "<" and the name
    cdef size_t _tail               # all else

    # Bytes that `write_into` writes for the same arguments.
    cdef size_t length(self, const Slice* to, const Slice* from_, const Slice* id) noexcept nogil
    # Writes the stanza to one recipient and returns its length. The values are escaped (`writer.escape`); NULL, or one
    # whose `data` is NULL, leaves the attribute out. `id` is NULL unless `replaces_id`.
    cdef size_t write_into(self, uint8_t* buffer, const Slice* to, const Slice* from_, const Slice* id) noexcept nogil

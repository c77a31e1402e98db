# A server's XML stream as WebSocket messages, compiled interface.
from libc.stdint cimport uint8_t

cdef enum:
    LEAD_BYTES = 10         # a frame's header

# One frame to send, in up to four regions: they point into what was given, into constants, or into the ToMessages.
cdef struct Pieces:
    uint8_t lead[10]
    size_t lead_length
    const uint8_t* name     # "<" and the element's name
    size_t name_length
    const uint8_t* declared # what has to be declared behind it
    size_t declared_length
    const uint8_t* rest
    size_t rest_length

cdef class ToMessages:
    cdef bint under_way         # the first fragment of a message has been sent
    cdef bytes held             # of a header or start tag that a read has split
    cdef bytes text             # what `Pieces` point into, until the next call
    cdef list declarations      # of an unusual header: (name, what declares it); None: RFC 6120's own
    cdef bytes inserted

    cdef bint put(self, int event, const uint8_t* data, size_t length, Pieces* pieces) except -1
    cdef bint put_text(self, bytes text, Pieces* pieces)
    cdef bint put_stanza(self, const uint8_t* data, size_t length, bint whole, Pieces* pieces) except -1
    cdef bint go_on(self, const uint8_t* data, size_t length, bint final, Pieces* pieces)
    cdef bint declare(self, const uint8_t* data, size_t length, bint whole, Pieces* pieces) except -1
    cdef bint put_header(self, bytes text, Pieces* pieces) except -1

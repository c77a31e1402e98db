# STARTTLS offered beside what the server offers, compiled interface.
from libc.stdint cimport uint8_t
from megaphone.edge.messaging cimport MessagingConnection

cdef size_t behind_white_space(const uint8_t* data, size_t length) noexcept nogil

cdef class OfferingConnection(MessagingConnection):
    cdef readonly bytes pending             # bytes from the client that wait for a decision
    cdef bytes held                         # the server's first bytes, until its features are complete
    cdef public bint header_sent            # the edge has answered this stream's header itself
    cdef bint offering                      # the client has not chosen yet

    cdef void withdraw_offer(self)
    cdef void choose(self, const uint8_t* data, size_t length) except *
    cdef int hold(self, const uint8_t* data, size_t length) except? -1
    cdef void pass_on(self, bytes data)

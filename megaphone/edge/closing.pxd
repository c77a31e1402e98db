# How a client connection ends, compiled interface.
from libc.stdint cimport uint32_t
from megaphone.edge.offer cimport OfferingConnection

cdef class ClosableConnection(OfferingConnection):
    cdef uint32_t opened_ticks
    cdef uint32_t deadline_ticks            # of CLOSING, or of an end that has to wait
    cdef public bint admitted               # counted in the address sketch
    cdef bint client_ended
    cdef str upstream                       # name of the last upstream, for people

    cdef void limit_end(self)
    cdef bint inject(self, str condition)
    cdef void detach(self)
    cdef void start_closing(self)
    cdef void close_now(self)

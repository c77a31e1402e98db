# A link at the hub's end, compiled interface.
from libc.stdint cimport uint64_t
from megaphone.hub.shared cimport Hub
from megaphone.hub.socket cimport CarriedLink

cdef class HubLink(CarriedLink):
    cdef readonly Hub hub
    cdef uint64_t counted_in                # frames that are on the counter board already
    cdef uint64_t counted_out
    cdef uint64_t counted_bytes             # of what sockets have taken, each byte once

    cdef void count(self)

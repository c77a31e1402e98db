# A listening socket, compiled interface.
from libc.stdint cimport uint8_t, uint16_t
from megaphone.edge.clients cimport Clients
from megaphone.edge.limits cimport ListenerFacts
from megaphone.sockets.poller cimport Pollable

cdef class Listener(Pollable):
    cdef Clients clients
    cdef public ListenerFacts facts
    cdef list proxy_ranges
    cdef void take(self, int fd, const uint8_t* address, uint16_t port)
    cdef void accept_some(self)

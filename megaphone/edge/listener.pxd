# A listening socket, compiled interface.
from megaphone.edge.clients cimport Clients
from megaphone.edge.limits cimport ListenerFacts
from megaphone.sockets.poller cimport Pollable

cdef class Listener(Pollable):
    cdef Clients clients
    cdef public ListenerFacts facts
    cdef list proxy_ranges
    cdef bytes refusal
    cdef void take(self, int fd, const unsigned char* address, unsigned short port)
    cdef void accept_some(self)

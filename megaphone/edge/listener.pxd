# The listener, compiled interface.
from megaphone.edge.clients cimport Clients
from megaphone.edge.limits cimport ListenerFacts
from megaphone.sockets.address cimport Address
from megaphone.sockets.listening cimport ListeningSocket

cdef class Listener(ListeningSocket):
    cdef Clients clients
    cdef public ListenerFacts facts
    cdef list proxy_ranges
    cdef void take(self, int fd, Address* address)

# One client connection, compiled interface.
from libc.stdint cimport uint8_t, uint16_t
from megaphone.edge.clients cimport Clients
from megaphone.edge.limits cimport ListenerFacts
from megaphone.edge.moving cimport MovableConnection

cdef class ClientConnection(MovableConnection):
    cdef void begin(self)
    cdef bint tell_apart(self, const uint8_t* data, size_t length) except -1
    cdef void open_bytes(self, const uint8_t* data, size_t length) except *

cdef ClientConnection accept_connection(Clients clients, ListenerFacts listener, int fd, const uint8_t* address, uint16_t port)
